// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" | FileCheck %s
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" \
// RUN:   --tacq-vulkan-entry-points=profile=nvidia-hopper --tacq-vulkan-expand-math \
// RUN:   --tacq-vulkan-narrow-types --canonicalize --cse --tacq-vulkan-to-spirv \
// RUN:   | FileCheck %s --check-prefix=SPIRV

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = tensor<64x256xf16>

// Panels have the features of a column side by side, and so are loaded by columns; nothing is decoded.
// CHECK-LABEL: func.func @dense(
// CHECK-NOT: memref<?xi32>, %{{.*}}: index
// CHECK-SAME: tacq.workgroup = 128 : i32
// CHECK: memref.alloc() : memref<960xvector<4xi32>, #spirv.storage_class<Workgroup>>
// CHECK: gpu.subgroup_mma_load_matrix {{.*}} {leadDimension = 18 : index, transpose} : {{.*}} -> !gpu.mma_matrix<16x16xf16, "AOp">
// CHECK: gpu.subgroup_mma_load_matrix {{.*}} {leadDimension = 5 : index, transpose} : {{.*}} -> !gpu.mma_matrix<16x16xf16, "BOp">
// CHECK-COUNT-16: gpu.subgroup_mma_compute
// SPIRV: spirv.KHR.CooperativeMatrixLoad %{{.*}}, %{{.*}}, <ColumnMajor>, <NonPrivatePointer> : !spirv.ptr<vector<4xi32>, Workgroup>, i32 -> !spirv.coopmatrix<16x16xf16, Subgroup, MatrixA>
func.func @dense(%x: !x, %w: !w) -> !y {
  %y = tacq.linear %x, weights(%w) {
    node_name = "dense", weight_order = [0 : i32], weight_layouts = [#tacq.panel<16, f16>]
  } : (!x, !w) -> !y
  return %y : !y
}
