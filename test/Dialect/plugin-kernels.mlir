// Code generation in a stock mlir-opt: for a processor and for a shader.
// REQUIRES: tacq-plugin
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(tacq-tile-kernels{targets=x86-64-v3},tacq-emit-cpu-kernels{target=x86-64-v3})' | FileCheck %s
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(tacq-emit-vulkan-kernels,tacq-vulkan-entry-points,tacq-vulkan-expand-math,tacq-vulkan-narrow-types,canonicalize,cse,tacq-vulkan-to-spirv)' | FileCheck %s --check-prefix=SHADER

// SHADER: spirv.module @__spv__linear

!x = tensor<?x256xf32, #tacq.shape<["rows", "256"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>

// CHECK: func.func @linear
// CHECK-SAME: tacq.tasks
// CHECK: math.fma
// CHECK-NOT: tacq.linear
func.func @linear(%x: !x, %w: tensor<64x256xf32>) -> !y {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], weight_layouts = [#tacq.panel<16, f32>], node_name = "y"} : (!x, tensor<64x256xf32>) -> !y
  return %y : !y
}
