// RUN: tacq-opt %s --tacq-differentiate='taps keep-results=y' | FileCheck %s

!x = tensor<?x?x4xf32, #tacq.shape<["b", "s", "4"]>>
!y = tensor<?x?x6xf32, #tacq.shape<["b", "s", "6"]>>

tacq.param @a : tensor<6x4xf32> from <"w.bin", 0, 96>
tacq.param @b : tensor<4x6xf32> from <"w.bin", 96, 96>
tacq.param @c : tensor<6x4xf32> from <"w.bin", 192, 96>

// The first two read one input. Nothing is propagated below them, and the gradient of an input is not
// computed for its own sake. A weight with two uses has two taps.
// CHECK: func.func @main(%arg0: {{.*}}) -> (tensor<f32> {tacq.name = "loss"}, {{.*}} {tacq.name = "y"}, tensor<?x4xf32, #tacq.shape<["b*s", "4"]>> {tacq.name = "input:a"}, tensor<?x6xf32, #tacq.shape<["b*s", "6"]>> {tacq.name = "output_gradient:a"}, tensor<?x6xf32, #tacq.shape<["b*s", "6"]>> {tacq.name = "output_gradient:b"}, {{.*}} {tacq.name = "input:c"}, {{.*}} {tacq.name = "output_gradient:c"}, {{.*}} {tacq.name = "output_gradient:c#2"})
// CHECK-SAME: tacq.taps = [{columns = 4 : i64, input = "input:a", order = "nk", output_gradient = "output_gradient:a", parameter = "a", rows = 6 : i64},
// CHECK-SAME: {columns = 4 : i64, input = "input:a", order = "kn", output_gradient = "output_gradient:b", parameter = "b", rows = 6 : i64},
// CHECK-SAME: {columns = 4 : i64, input = "input:c", order = "nk", output_gradient = "output_gradient:c", parameter = "c", rows = 6 : i64},
// CHECK-SAME: {columns = 4 : i64, input = "input:c", order = "nk", output_gradient = "output_gradient:c#2", parameter = "c", rows = 6 : i64}]
// CHECK-NOT: tacq.linear %{{.*}} {node_name = "gradient of a, b"
func.func @main(%x: !x {tacq.name = "x"}) -> (!y {tacq.name = "y"}, tensor<f32> {tacq.name = "loss"}) {
  %a = tacq.get_param @a : tensor<6x4xf32>
  %b = tacq.get_param @b : tensor<4x6xf32>
  %c = tacq.get_param @c : tensor<6x4xf32>
  %h:2 = tacq.linear %x, weights(%a, %b) {node_name = "a, b", weight_order = [0 : i32, 1 : i32]} : (!x, tensor<6x4xf32>, tensor<4x6xf32>) -> (!y, !y)
  %s = tacq.node "Exp" opset 18 (%x) named "e" : (!x) -> !x
  %i = tacq.linear %s, weights(%c) {node_name = "c", weight_order = [0 : i32]} : (!x, tensor<6x4xf32>) -> !y
  %j = tacq.linear %s, weights(%c) {activation = 1 : i32, node_name = "d", weight_order = [0 : i32]} : (!x, tensor<6x4xf32>) -> !y
  %p = tacq.node "Mul" opset 18 (%h#0, %h#1) named "p" : (!y, !y) -> !y
  %q = tacq.node "Mul" opset 18 (%i, %j) named "q" : (!y, !y) -> !y
  %y = tacq.node "Add" opset 18 (%p, %q) named "y" : (!y, !y) -> !y
  %loss = tacq.node "ReduceSum" opset 18 (%y) named "s" {keepdims = 0 : i64} : (!y) -> tensor<f32>
  return %y, %loss : !y, tensor<f32>
}
