// RUN: tacq-opt %s --tacq-emit-vulkan-kernels | FileCheck %s

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A workgroup for 16 results, an invocation for half of one's columns; the bytes of input and
// weight are read by the word.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xi8>, %[[S:[^:]*]]: memref<?xf32>, %[[W:[^:]*]]: memref<?xi8>, %[[Y:[^:]*]]: memref<?xf32>, %[[TASKS:[^:]*]]: index,
// CHECK-SAME: tacq.workgroup = 32
// CHECK-NOT: vector
// CHECK: %[[MEMORY:.*]] = memref.alloc() : memref<32xf32, #spirv.storage_class<Workgroup>>
// CHECK: builtin.unrealized_conversion_cast %[[X]] : memref<?xi8> to memref<?xi32, #spirv.storage_class<StorageBuffer>>
// CHECK: scf.for
// CHECK: %[[PART:.*]] = arith.divui %thread_id_x{{.*}}, %c16
// CHECK: scf.for %{{.*}} = %[[PART]] to
// CHECK: memref.store %{{.*}}, %[[MEMORY]][%thread_id_x
// CHECK-NEXT: gpu.barrier
// CHECK-COUNT-2: memref.load %[[MEMORY]]
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}}, %[[Y]]
func.func @linear(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "linear", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x, !s, !w) -> !y
  return %y : !y
}

// Input that is not quantized is multiplied with codes less their zero point, in f32.
// CHECK-LABEL: func.func @float_input
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xf32>, %[[W:[^:]*]]: memref<?xi8>,
// CHECK: %[[INPUT:.*]] = memref.load %[[X]]
// CHECK: %[[FACTOR:.*]] = arith.subf
// CHECK: arith.mulf %[[FACTOR]], %{{.*}} : f32
func.func @float_input(%x: tensor<?x256xf32, #tacq.shape<["rows", "256"]>>, %w: !w) -> !y {
  %y = tacq.linear %x, weights(%w) {
    node_name = "linear", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (tensor<?x256xf32, #tacq.shape<["rows", "256"]>>, !w) -> !y
  return %y : !y
}
