// RUN: tacq-opt %s --tacq-emit-vulkan-kernels | FileCheck %s

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// Scalar code with a task for each result; the bytes of input and weight are read by the word.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xi8>, %[[S:[^:]*]]: memref<?xf32>, %[[W:[^:]*]]: memref<?xi8>, %[[Y:[^:]*]]: memref<?xf32>, %[[TASKS:[^:]*]]: index,
// CHECK-NOT: vector
// CHECK: builtin.unrealized_conversion_cast %[[X]] : memref<?xi8> to memref<?xi32, #spirv.storage_class<StorageBuffer>>
// CHECK: scf.for
// CHECK: arith.divui %{{.*}}, %c64
// CHECK: memref.store %{{.*}}, %[[Y]]
func.func @linear(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "linear", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x, !s, !w) -> !y
  return %y : !y
}
