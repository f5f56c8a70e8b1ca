// RUN: not tacq-opt %s --tacq-differentiate='parameters=x' 2>&1 | FileCheck %s

!x = tensor<2x4xf32>

// All nodes that cannot be differentiated, but not those that gradients do not reach.
// CHECK: error: unsupported nodes cannot be differentiated:
// CHECK-NEXT: node 'first' (Mod): this operator has no derivative here
// CHECK-NEXT: node 'second' (Pow): its exponent depends on a parameter
// CHECK-NOT: node 'apart'
func.func @main(%x: !x {tacq.name = "x"}, %p: tensor<f32> {tacq.name = "p"}) -> (tensor<f32> {tacq.name = "loss"}) {
  %a = tacq.node "Mod" opset 18 (%x, %x) named "first" {fmod = 1 : i64} : (!x, !x) -> !x
  %b = tacq.node "Pow" opset 18 (%a, %a) named "second" : (!x, !x) -> !x
  %c = tacq.node "Mod" opset 18 (%p, %p) named "apart" {fmod = 1 : i64} : (tensor<f32>, tensor<f32>) -> tensor<f32>
  %d = tacq.node "Mul" opset 18 (%b, %c) named "d" : (!x, tensor<f32>) -> !x
  %loss = tacq.node "ReduceSum" opset 18 (%d) named "s" {keepdims = 0 : i64} : (!x) -> tensor<f32>
  return %loss : tensor<f32>
}
