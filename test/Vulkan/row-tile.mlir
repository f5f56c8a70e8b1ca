// RUN: tacq-opt %s --split-input-file --tacq-emit-vulkan-kernels="profile=lavapipe variants=1" \
// RUN:   | FileCheck %s
// RUN: tacq-opt %s --split-input-file --tacq-emit-vulkan-kernels="profile=generic variants=1" \
// RUN:   | FileCheck %s --check-prefix=GENERIC
// RUN: tacq-opt %s --split-input-file --tacq-emit-vulkan-kernels="profile=intel-xe variants=1" \
// RUN:   --tacq-vulkan-entry-points=profile=intel-xe --tacq-vulkan-expand-math \
// RUN:   --tacq-vulkan-narrow-types --canonicalize --cse --tacq-vulkan-to-spirv \
// RUN:   | FileCheck %s --check-prefix=SPIRV
// RUN: not tacq-opt %s --split-input-file --tacq-emit-vulkan-kernels="profile=lavapipe variants=2"

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A tile of 64 features and 128 columns in memory, beside 16 rows; an invocation makes four by four of
// their products, in integers.
// CHECK-LABEL: func.func @mixed
// CHECK-SAME: tacq.workgroup = 64 : i32
// CHECK-DAG: memref.alloc() : memref<2048xi32, #spirv.storage_class<Workgroup>>
// CHECK-DAG: memref.alloc() : memref<528xi32, #spirv.storage_class<Workgroup>>
// CHECK: arith.andi %{{.*}}, %c50529027_i32
// CHECK: gpu.barrier
// CHECK-COUNT-16: spirv.SUDot
// CHECK-NOT: spirv.SUDot
// CHECK: gpu.barrier
// CHECK: memref.store {{.*}} : memref<?xf32>

// Without integer dot products the bytes are multiplied one by one.
// GENERIC-LABEL: func.func @mixed
// GENERIC: arith.shrsi
// GENERIC-NOT: spirv.SUDot
// GENERIC: gpu.barrier

// SPIRV: spirv.module @__spv__mixed Logical GLSL450
// SPIRV: spirv.ControlBarrier <Workgroup>, <Workgroup>
// SPIRV: spirv.SUDot
func.func @mixed(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "mixed", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x, !s, !w) -> !y
  return %y : !y
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = tensor<64x256xf16>

// 32 columns of dense factors, in f32.
// CHECK-LABEL: func.func @dense
// CHECK-SAME: tacq.workgroup = 64 : i32
// CHECK-DAG: memref.alloc() : memref<2048xf32, #spirv.storage_class<Workgroup>>
// CHECK-DAG: memref.alloc() : memref<528xf32, #spirv.storage_class<Workgroup>>
// CHECK: gpu.barrier
// CHECK-COUNT-16: arith.mulf
// CHECK: gpu.barrier
// GENERIC-LABEL: func.func @dense
// SPIRV: spirv.module @__spv__dense Logical GLSL450
func.func @dense(%x: !x, %w: !w) -> !y {
  %y = tacq.linear %x, weights(%w) {
    node_name = "dense", weight_order = [0 : i32], weight_layouts = [#tacq.panel<16, f16>]
  } : (!x, !w) -> !y
  return %y : !y
}
