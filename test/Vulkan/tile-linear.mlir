// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" \
// RUN:   | FileCheck %s --check-prefix=PRODUCT
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=2" \
// RUN:   | FileCheck %s --check-prefix=DECODE
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" \
// RUN:   --tacq-vulkan-entry-points=profile=nvidia-hopper --tacq-vulkan-expand-math \
// RUN:   --tacq-vulkan-narrow-types --canonicalize --cse --tacq-vulkan-to-spirv \
// RUN:   | FileCheck %s --check-prefix=SPIRV
// RUN: not tacq-opt %s --tacq-emit-vulkan-kernels="profile=lavapipe variants=2"

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A step is read while the one before is multiplied: 4 by 2 matrices of a subgroup, two in depth.
// There are few features, and so tiles of 64 rows.
// PRODUCT-LABEL: func.func @linear
// PRODUCT-SAME: tacq.workgroup = 128 : i32
// PRODUCT: memref.alloc() : memref<960xvector<4xi32>, #spirv.storage_class<Workgroup>>
// PRODUCT: scf.for {{.*}} iter_args({{.*}}) -> (!gpu.mma_matrix<16x16xf32, "COp">
// PRODUCT: memref.load {{.*}} : memref<?xvector<4xi32>, #spirv.storage_class<StorageBuffer>>
// PRODUCT: gpu.subgroup_mma_load_matrix {{.*}} {leadDimension = 5 : index} : {{.*}} -> !gpu.mma_matrix<16x16xf16, "AOp">
// PRODUCT: gpu.subgroup_mma_load_matrix {{.*}} {leadDimension = 5 : index, transpose} : {{.*}} -> !gpu.mma_matrix<16x16xf16, "BOp">
// PRODUCT-COUNT-16: gpu.subgroup_mma_compute
// PRODUCT-NOT: gpu.subgroup_mma_compute
// PRODUCT: gpu.barrier
// PRODUCT: gpu.subgroup_mma_store_matrix
// PRODUCT: gpu.barrier

// Codes stay where they are in a byte, as bits of 1024, which a fused multiplication and addition takes
// away exactly; the counts of the slots before are added up by
// the invocations of a panel.
// DECODE-LABEL: func.func @linear
// DECODE: spirv.GroupNonUniformShuffleXor
// DECODE: arith.andi %{{.*}}, %c196611_i32
// DECODE: arith.ori %{{.*}}, %c1677747200_i32
// DECODE: spirv.Bitcast %{{.*}} : i32 to vector<2xf16>
// DECODE: spirv.GL.Fma %{{.*}} : vector<2xf16>
// DECODE: arith.mulf %{{.*}} : vector<2xf16>
// DECODE: arith.andi %{{.*}}, %c786444_i32
// DECODE-NOT: gpu.subgroup_mma

// Shared memory is accessed, and barriers are, as the Vulkan memory model asks for.
// SPIRV: spirv.module @__spv__linear Logical Vulkan
// SPIRV: spirv.Variable : !spirv.ptr<!spirv.coopmatrix<16x16xf32, Subgroup, MatrixAcc>, Function>
// SPIRV: spirv.KHR.CooperativeMatrixLoad %{{.*}}, %{{.*}}, <RowMajor>, <NonPrivatePointer> : !spirv.ptr<vector<4xi32>, Workgroup>, i32 -> !spirv.coopmatrix<16x16xf16, Subgroup, MatrixA>
// SPIRV: spirv.KHR.CooperativeMatrixLoad %{{.*}}, %{{.*}}, <ColumnMajor>, <NonPrivatePointer>
// SPIRV: spirv.KHR.CooperativeMatrixMulAdd
// SPIRV: spirv.ControlBarrier <Workgroup>, <Workgroup>, <AcquireRelease|WorkgroupMemory|MakeAvailable|MakeVisible>
// SPIRV: spirv.Store "Workgroup" %{{.*}}, %{{.*}} ["NonPrivatePointer"] : vector<4xi32>
// SPIRV: spirv.KHR.CooperativeMatrixStore
func.func @linear(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "linear", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x, !s, !w) -> !y
  return %y : !y
}
