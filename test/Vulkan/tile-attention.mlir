// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" | FileCheck %s
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" \
// RUN:   --tacq-vulkan-entry-points=profile=nvidia-hopper --tacq-vulkan-expand-math \
// RUN:   --tacq-vulkan-narrow-types --canonicalize --cse --tacq-vulkan-to-spirv \
// RUN:   | FileCheck %s --check-prefix=SPIRV

!q = tensor<?x?x8x64xf16, #tacq.shape<["batch", "count", "8", "64"]>>
!kv = tensor<?x?x2x64xf16, #tacq.shape<["batch", "count", "2", "64"]>>

// The largest score of a query is known before weights are made, so that sums stay as they are.
// CHECK-LABEL: func.func @attention
// CHECK-SAME: tacq.workgroup = 128 : i32
// CHECK: gpu.subgroup_mma_load_matrix {{.*}} -> !gpu.mma_matrix<16x16xf16, "AOp">
// CHECK: scf.for {{.*}} -> (f32)
// CHECK: gpu.subgroup_mma_compute
// CHECK: arith.maxnumf
// CHECK: spirv.GroupNonUniformShuffleXor
// CHECK: scf.for {{.*}} -> (f32, !gpu.mma_matrix<16x16xf32, "COp">
// CHECK: arith.truncf {{.*}} : f32 to f16
// CHECK: gpu.subgroup_mma_load_matrix {{.*}} : memref<2560xf16, #spirv.storage_class<Workgroup>> -> !gpu.mma_matrix<16x16xf16, "AOp">
// CHECK: gpu.subgroup_mma_store_matrix
// SPIRV: spirv.module @__spv__attention Logical Vulkan
// SPIRV: spirv.KHR.CooperativeMatrixMulAdd
func.func @attention(%q: !q, %k: !kv, %v: !kv) -> !q {
  %y = tacq.attention %q, %k, %v {node_name = "attention", causal, scale = 0.125 : f64}
    : (!q, !kv, !kv) -> !q
  return %y : !q
}
