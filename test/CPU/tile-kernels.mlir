// RUN: tacq-opt %s --split-input-file --tacq-tile-kernels=targets=x86-64-v4,aarch64 | FileCheck %s
// RUN: tacq-opt %s --split-input-file --tacq-tile-kernels | FileCheck %s --check-prefix=NONE
// NONE-NOT: {{[^.]}}tilings

!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!v = !tacq.mixed<32x256, bits = 3, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>

// By the cost model. A type that is there twice has one entry for each target.
// CHECK-LABEL: tacq_rt.kernel @model
// CHECK-SAME: tilings = [#tacq.tiling<"x86-64-v4", !tacq.mixed<64x256,
// CHECK-SAME: task_rows = 96, prefetch = [2048, 8192, 512]>, #tacq.tiling<"aarch64",
// CHECK-SAME: task_rows = 96, prefetch = [0, 0, 0]>]
tacq_rt.kernel @model {
^bb0(%x: tensor<4xf32>, %w: !w, %w2: !w):
  tacq.yield %x : tensor<4xf32>
}

// CHECK-LABEL: tacq_rt.kernel @dense {
tacq_rt.kernel @dense {
^bb0(%x: tensor<4xf32>):
  tacq.yield %x : tensor<4xf32>
}

// -----

!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!v = !tacq.mixed<32x256, bits = 3, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>

// What was measured has precedence, and the first weight decides on the rows for all.
// CHECK-LABEL: tacq_rt.kernel @measured
// CHECK-SAME: tilings = [#tacq.tiling<"x86-64-v4", !tacq.mixed<64x256,
// CHECK-SAME: task_rows = 192, prefetch = [512, 0, 64]>, #tacq.tiling<"x86-64-v4", !tacq.mixed<32x256,
// CHECK-SAME: task_rows = 192, prefetch = [0, 4096, 0]>, #tacq.tiling<"aarch64", !tacq.mixed<64x256,
// CHECK-SAME: task_rows = 192, prefetch = [0, 0, 0]>, #tacq.tiling<"aarch64", !tacq.mixed<32x256,
// CHECK-SAME: task_rows = 192, prefetch = [0, 0, 0]>]
module attributes {tacq.tilings = [#tacq.tiling<"x86-64-v4", !w, task_rows = 192, prefetch = [512, 0, 64]>,
                                   #tacq.tiling<"x86-64-v4", !v, task_rows = 96, prefetch = [0, 4096, 0]>]} {
  tacq_rt.kernel @measured {
  ^bb0(%x: tensor<4xf32>, %w: !w, %v: !v):
    tacq.yield %x : tensor<4xf32>
  }
}
