// Code generation for a processor in a stock mlir-opt.
// REQUIRES: tacq-plugin
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(tacq-emit-cpu-kernels{target=x86-64-v3})' | FileCheck %s

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
