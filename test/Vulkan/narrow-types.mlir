// RUN: tacq-opt %s --tacq-vulkan-narrow-types --canonicalize --cse --split-input-file | FileCheck %s

!bytes = memref<?xi8, #spirv.storage_class<StorageBuffer>>
!halves = memref<?xf16, #spirv.storage_class<StorageBuffer>>

gpu.module @m {
  // A byte is a quarter of a word; it is extended as it is used, and stored with two atomics.
  // CHECK-LABEL: gpu.func @bytes
  // CHECK-SAME: (%[[X:.*]]: memref<?xi32, #spirv.storage_class<StorageBuffer>>, %[[I:.*]]: index)
  // CHECK: %[[WORD:.*]] = arith.shrui %[[I]], %c2
  // CHECK: %[[LOW:.*]] = arith.index_cast %[[I]] : index to i32
  // CHECK: %[[BYTE:.*]] = arith.andi %[[LOW]], %c3_i32
  // CHECK: %[[SHIFT:.*]] = arith.shli %[[BYTE]], %c3_i32
  // CHECK: %[[RAW:.*]] = memref.load %[[X]][%[[WORD]]]
  // CHECK: %[[VALUE:.*]] = arith.shrui %[[RAW]], %[[SHIFT]]
  // CHECK: %[[UP:.*]] = arith.shli %[[VALUE]], %c24_i32
  // CHECK: %[[SIGNED:.*]] = arith.shrsi %[[UP]], %c24_i32
  // CHECK: arith.divsi %[[SIGNED]],
  // CHECK: memref.atomic_rmw andi
  // CHECK: memref.atomic_rmw ori
  // CHECK-NOT: i8
  gpu.func @bytes(%x: !bytes, %i: index) {
    %v = memref.load %x[%i] : !bytes
    %c3 = arith.constant 3 : i8
    %d = arith.divsi %v, %c3 : i8
    memref.store %d, %x[%i] : !bytes
    gpu.return
  }

  // CHECK-LABEL: gpu.func @halves
  // CHECK-NOT: f16
  // CHECK: arith.bitcast %{{.*}} : i32 to f32
  // CHECK: arith.bitcast %{{.*}} : f32 to i32
  // CHECK-NOT: f16
  gpu.func @halves(%x: !halves, %i: index) {
    %v = memref.load %x[%i] : !halves
    %w = arith.extf %v : f16 to f32
    %s = arith.addf %w, %w : f32
    %n = arith.truncf %s : f32 to f16
    memref.store %n, %x[%i] : !halves
    gpu.return
  }

  // What a model indexes with may not fit an index.
  // CHECK-LABEL: gpu.func @index
  // CHECK: arith.maxsi %{{.*}}, %c-2147483648_i64
  // CHECK: arith.minsi %{{.*}}, %c2147483647_i64
  // CHECK: arith.trunci %{{.*}} : i64 to i32
  gpu.func @index(%x: memref<?xi64, #spirv.storage_class<StorageBuffer>>, %i: index) {
    %v = memref.load %x[%i] : memref<?xi64, #spirv.storage_class<StorageBuffer>>
    %at = arith.index_cast %v : i64 to index
    memref.store %v, %x[%at] : memref<?xi64, #spirv.storage_class<StorageBuffer>>
    gpu.return
  }
}

// -----

// What the target computes with and stores stays; bf16, which it does not, is in words.
gpu.module @native attributes {spirv.target_env = #spirv.target_env<#spirv.vce<v1.3, [Shader, Int8, StorageBuffer8BitAccess, Float16, Int16, StorageBuffer16BitAccess], []>, #spirv.resource_limits<>>} {
  // CHECK-LABEL: gpu.func @native
  // CHECK-SAME: memref<?xi8, #spirv.storage_class<StorageBuffer>>, %{{.*}}: memref<?xf16, #spirv.storage_class<StorageBuffer>>, %{{.*}}: memref<?xi32, #spirv.storage_class<StorageBuffer>>
  // CHECK: memref.load %{{.*}} : memref<?xi8
  // CHECK: memref.store %{{.*}} : memref<?xf16
  // CHECK-NOT: atomic_rmw
  // CHECK: gpu.return
  gpu.func @native(%x: memref<?xi8, #spirv.storage_class<StorageBuffer>>,
                   %y: memref<?xf16, #spirv.storage_class<StorageBuffer>>,
                   %z: memref<?xbf16, #spirv.storage_class<StorageBuffer>>, %i: index) {
    %v = memref.load %x[%i] : memref<?xi8, #spirv.storage_class<StorageBuffer>>
    %w = memref.load %z[%i] : memref<?xbf16, #spirv.storage_class<StorageBuffer>>
    %e = arith.extf %w : bf16 to f32
    %f = arith.sitofp %v : i8 to f32
    %s = arith.addf %e, %f : f32
    %h = arith.truncf %s : f32 to f16
    memref.store %h, %y[%i] : memref<?xf16, #spirv.storage_class<StorageBuffer>>
    gpu.return
  }
}
