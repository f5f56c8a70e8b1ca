// RUN: tacq-opt %s --tacq-allow-bf16 --tacq-allow-bf16 | FileCheck %s

!x = tensor<3x4xf32>
!mixed = !tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = ui8>>

// CHECK-LABEL: func.func @main(
func.func @main(%x: !x, %w: tensor<4x4xf16>, %m: !mixed) -> (!x, !x) {
  // CHECK: tacq.linear %{{.*}}, weights(%{{.*}}) {allow_bf16, node_name = "plain"
  %y = tacq.linear %x, weights(%w) {node_name = "plain", weight_order = [0 : i32]} : (!x, tensor<4x4xf16>) -> !x
  // What is of mixed precision has products of its own.
  // CHECK: tacq.linear %{{.*}}, weights(%{{.*}}) {node_name = "mixed"
  %z = tacq.linear %y, weights(%m) {node_name = "mixed", weight_order = [0 : i32]} : (!x, !mixed) -> !x
  return %y, %z : !x, !x
}
