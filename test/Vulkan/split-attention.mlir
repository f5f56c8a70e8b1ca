// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper capacity=c variants=4" \
// RUN:   | FileCheck %s --check-prefix=CHUNKS
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper capacity=c variants=3" \
// RUN:   | FileCheck %s --check-prefix=SUMS
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=generic capacity=c variants=4" \
// RUN:   | FileCheck %s --check-prefix=GENERIC

!q = tensor<1x?x4x64xf16, #tacq.shape<["1", "s", "4", "64"]>>
!kv = tensor<1x?x2x64xf16, #tacq.shape<["1", "s", "2", "64"]>>
!past = tensor<1x2x?x64xf16, #tacq.shape<["1", "2", "p", "64"]>>
!present = tensor<1x2x?x64xf16, #tacq.shape<["1", "2", "p + s", "64"]>>

// A workgroup has 256 keys, and leaves a maximum, a denominator and sums behind the workspace's first
// page. The new key is the last chunk's.
// CHUNKS-LABEL: func.func @cached
// CHUNKS-SAME: tacq.workgroup = 512 : i32
// CHUNKS: arith.muli %{{.*}}, %c256
// CHUNKS: scf.for
// CHUNKS: spirv.GroupNonUniformShuffleXor
// CHUNKS: gpu.barrier
// CHUNKS: arith.muli %{{.*}}, %c66
// CHUNKS: arith.addi %{{.*}}, %c1024
// CHUNKS: memref.store %{{.*}} : memref<?xf32>

// A task puts the chunks of a feature together, scaled by how far their maxima are below the largest.
// SUMS-LABEL: func.func @cached
// SUMS-NOT: tacq.workgroup
// SUMS: arith.maxnumf
// SUMS: scf.for {{.*}} -> (f32, f32)
// SUMS: arith.divf
// SUMS: arith.truncf %{{.*}} : f32 to f16

// An invocation has 64 keys.
// GENERIC-LABEL: func.func @cached
// GENERIC-NOT: tacq.workgroup
// GENERIC: arith.muli %{{.*}}, %c64
func.func @cached(%q: !q, %k: !kv, %v: !kv, %pk: !past, %pv: !past) -> (!q, !present, !present) {
  %y:3 = tacq.attention %q, %k, %v past(%pk, %pv) {scale = 0.25 : f64, causal,
    resultSegmentSizes = array<i32: 1, 1, 1>, node_name = "y"}
    : (!q, !kv, !kv, !past, !past) -> (!q, !present, !present)
  return %y#0, %y#1, %y#2 : !q, !present, !present
}
