// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper | FileCheck %s
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=generic | FileCheck %s --check-prefix=GENERIC

!row = tensor<?x32000xf16, #tacq.shape<["rows", "32000"]>>
!wide = tensor<?x4096xf32, #tacq.shape<["rows", "4096"]>>
!short = tensor<?x100xf32, #tacq.shape<["rows", "100"]>>
!place = tensor<?xi64, #tacq.shape<["rows"]>>

// A workgroup has a row: eight loads before the first comparison, the best value of a subgroup by
// shuffles, and then the first place that has it.
// CHECK-LABEL: func.func @argmax
// CHECK-SAME: tacq.workgroup = 1024 : i32
// CHECK: gpu.thread_id
// CHECK: scf.for
// CHECK-COUNT-8: memref.load
// CHECK: arith.cmpf
// CHECK: spirv.GroupNonUniformShuffleXor
// CHECK: gpu.barrier
// CHECK: arith.minsi
// CHECK: memref.store %{{.*}}, %arg1
func.func @argmax(%x: !row) -> !place {
  %y = tacq.node "ArgMax" opset 13 (%x) named "argmax" {axis = 1 : i64, keepdims = 0 : i64} : (!row) -> !place
  return %y : !place
}

// An invocation for eight elements, but no more than any device has.
// CHECK-LABEL: func.func @wide
// CHECK-SAME: tacq.workgroup = 512 : i32
// GENERIC-LABEL: func.func @wide
// GENERIC-SAME: tacq.workgroup = 128 : i32
// GENERIC-COUNT-2: memref.alloc() : memref<128x{{.*}}, #spirv.storage_class<Workgroup>>
func.func @wide(%x: !wide) -> !place {
  %y = tacq.node "ArgMax" opset 13 (%x) named "wide" {axis = 1 : i64, keepdims = 0 : i64} : (!wide) -> !place
  return %y : !place
}

// Of equals the last: whoever is not worse replaces, and the greatest place is kept.
// CHECK-LABEL: func.func @last
// CHECK: arith.maxsi
func.func @last(%x: !row) -> !place {
  %y = tacq.node "ArgMin" opset 13 (%x) named "argmin" {axis = -1 : i64, keepdims = 0 : i64, select_last_index = 1 : i64} : (!row) -> !place
  return %y : !place
}

// CHECK-LABEL: func.func @short
// CHECK-NOT: tacq.workgroup
func.func @short(%x: !short) -> !place {
  %y = tacq.node "ArgMax" opset 13 (%x) named "argmax" {axis = 1 : i64, keepdims = 0 : i64} : (!short) -> !place
  return %y : !place
}
