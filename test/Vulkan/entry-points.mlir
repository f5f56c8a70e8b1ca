// RUN: tacq-opt %s --tacq-vulkan-entry-points=profile=intel-xe | FileCheck %s
// RUN: tacq-opt %s --tacq-vulkan-entry-points=profile=nvidia-hopper | FileCheck %s --check-prefix=ORDERED
// RUN: not tacq-opt %s --tacq-vulkan-entry-points=profile=toaster 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: there is no Vulkan profile 'toaster'

// The symbols and the status are buffers behind the bindings; unused symbols are not loaded.
// CHECK: gpu.module @scale attributes {spirv.target_env = #spirv.target_env<#spirv.vce<v1.3, [Shader, Int64
// CHECK: gpu.func @main(%[[X:[^:]*]]: memref<?xf32, #spirv.storage_class<StorageBuffer>>,
// CHECK-SAME: %[[Y:[^:]*]]: memref<?xf32, #spirv.storage_class<StorageBuffer>>,
// CHECK-SAME: %[[SYMBOLS:[^:]*]]: memref<?xi64, #spirv.storage_class<StorageBuffer>>,
// CHECK-SAME: memref<?xi32, #spirv.storage_class<StorageBuffer>>)
// CHECK-SAME: kernel
// CHECK-SAME: workgroup_size = [128, 1, 1]
// CHECK: %[[ONE:.*]] = arith.constant 1 : index
// CHECK: %[[RAW:.*]] = memref.load %[[SYMBOLS]][%[[ONE]]]
// CHECK: %[[COUNT:.*]] = arith.index_cast %[[RAW]] : i64 to index
// CHECK-NOT: memref.load %[[SYMBOLS]]
// CHECK: %[[FIRST:.*]] = gpu.global_id  x
// CHECK: %[[GROUPS:.*]] = gpu.grid_dim  x
// CHECK: %[[STRIDE:.*]] = arith.muli %[[GROUPS]]
// CHECK: scf.for %[[I:.*]] = %[[FIRST]] to %[[COUNT]] step %[[STRIDE]]
// CHECK: memref.load %[[X]][%[[I]]]

// Where workgroups begin in order, there are flags behind the status, and three numbers in front of the
// symbols. One invocation polls the first flag until it has the count, but not for ever; whoever sees the
// count on the other one sees what was stored before.
// ORDERED: gpu.func @main(
// ORDERED-SAME: %[[SYMBOLS:[^:]*]]: memref<?xi64, #spirv.storage_class<StorageBuffer>>,
// ORDERED-SAME: %[[STATUS:[^:]*]]: memref<?xi32, #spirv.storage_class<StorageBuffer>>,
// ORDERED-SAME: %[[FLAGS:[^:]*]]: memref<?xi32, #spirv.storage_class<StorageBuffer>>)
// ORDERED: %[[FOUR:.*]] = arith.constant 4 : index
// ORDERED: memref.load %[[SYMBOLS]][%[[FOUR]]]
// ORDERED: scf.if
// ORDERED: scf.while
// ORDERED: memref.load %[[FLAGS]]
// ORDERED: scf.condition
// ORDERED: %[[LATE:.*]] = arith.constant 7 : index
// ORDERED: memref.store %{{.*}}, %[[STATUS]][%[[LATE]]]
// ORDERED: spirv.MemoryBarrier <Device>, <AcquireRelease|UniformMemory>
// ORDERED: spirv.ControlBarrier <Workgroup>, <Workgroup>, <AcquireRelease|UniformMemory|WorkgroupMemory>
// ORDERED: scf.for
// ORDERED: spirv.ControlBarrier <Workgroup>, <Workgroup>
// ORDERED: spirv.MemoryBarrier <Device>, <AcquireRelease|UniformMemory>
// ORDERED: memref.atomic_rmw addi %{{.*}}, %[[FLAGS]]
func.func @scale(%x: memref<?xf32>, %y: memref<?xf32>, %unused: index, %count: index,
                 %begin: index, %end: index, %status: memref<?xi32>) {
  %one = arith.constant 1 : index
  scf.for %i = %begin to %count step %one {
    %v = memref.load %x[%i] : memref<?xf32>
    memref.store %v, %y[%i] : memref<?xf32>
  }
  return
}
