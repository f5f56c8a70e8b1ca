// RUN: tacq-opt %s --split-input-file --tacq-differentiate='parameters=w' | FileCheck %s

!x = tensor<?x4xf32, #tacq.shape<["b", "4"]>>

// The product with the parameter and what follows is differentiated; what comes before it is not, and
// other results go.
tacq.param @v : tensor<4x4xf32> from <"w.bin", 0, 64>
tacq.param @w : tensor<4x4xf32> from <"w.bin", 64, 64>

// CHECK: func.func @main(%arg0: {{.*}}) -> (tensor<f32> {tacq.name = "loss"}, tensor<4x4xf32> {tacq.name = "gradient:w"})
// CHECK: %[[V:.*]] = tacq.get_param @v
// CHECK: %[[W:.*]] = tacq.get_param @w
// CHECK: %[[H:.*]] = tacq.linear %arg0, weights(%[[V]])
// CHECK: %[[T:.*]] = tacq.node "Tanh" opset 18 (%[[H]])
// CHECK: %[[Y:.*]] = tacq.linear %[[T]], weights(%[[W]])
// CHECK: %[[LOSS:.*]] = tacq.node "ReduceMean" opset 18 (%[[Y]])
// CHECK-NOT: tacq.linear
// CHECK: %[[G:.*]] = tacq.node "Expand"
// CHECK-NOT: tacq.linear
// CHECK: %[[GT:.*]] = tacq.node "Transpose" opset 21 (%[[G]]) named "gradient of y" {perm = array<i64: 1, 0>}
// CHECK: %[[GW:.*]] = tacq.node "MatMul" opset 21 (%[[GT]], %[[T]]) named "gradient of y"
// CHECK-NOT: tacq.linear
// CHECK: return %[[LOSS]], %[[GW]]
func.func @main(%x: !x {tacq.name = "x"}) -> (!x {tacq.name = "y"}, tensor<f32> {tacq.name = "loss"}) {
  %v = tacq.get_param @v : tensor<4x4xf32>
  %w = tacq.get_param @w : tensor<4x4xf32>
  %h = tacq.linear %x, weights(%v) {node_name = "h", weight_order = [0 : i32]} : (!x, tensor<4x4xf32>) -> !x
  %t = tacq.node "Tanh" opset 18 (%h) named "t" : (!x) -> !x
  %y = tacq.linear %t, weights(%w) {node_name = "y", weight_order = [0 : i32]} : (!x, tensor<4x4xf32>) -> !x
  %loss = tacq.node "ReduceMean" opset 18 (%y) named "m" {keepdims = 0 : i64} : (!x) -> tensor<f32>
  return %y, %loss : !x, tensor<f32>
}

// -----

!x = tensor<?x4xf32, #tacq.shape<["b", "4"]>>

tacq.param @w : tensor<4x4xf32> from <"w.bin", 0, 64>
tacq.param @u : tensor<4x4xf32> from <"w.bin", 64, 64>

// The gradient of an input of a linear operation is a product with the same parameter read the other
// way; gradients that meet are added by its residual.
// CHECK: func.func @main
// CHECK-DAG: %[[W:.*]] = tacq.get_param @w
// CHECK-DAG: %[[U:.*]] = tacq.get_param @u
// CHECK: %[[GU:.*]] = tacq.linear %{{.*}}, weights(%[[U]]) {node_name = "gradient of b", weight_order = [0 : i32]}
// CHECK: tacq.linear %{{.*}}, weights(%[[U]]) residual(%[[GU]]) {node_name = "gradient of a", weight_order = [1 : i32]}
// CHECK: return %{{.*}}, %{{.*}}
func.func @main(%x: !x {tacq.name = "x"}) -> (tensor<f32> {tacq.name = "loss"}) {
  %w = tacq.get_param @w : tensor<4x4xf32>
  %u = tacq.get_param @u : tensor<4x4xf32>
  %h = tacq.linear %x, weights(%w) {node_name = "h", weight_order = [0 : i32]} : (!x, tensor<4x4xf32>) -> !x
  %a = tacq.linear %h, weights(%u) {node_name = "a", weight_order = [0 : i32]} : (!x, tensor<4x4xf32>) -> !x
  %b = tacq.linear %h, weights(%u) {node_name = "b", weight_order = [1 : i32]} : (!x, tensor<4x4xf32>) -> !x
  %y = tacq.node "Mul" opset 18 (%a, %b) named "y" : (!x, !x) -> !x
  %loss = tacq.node "ReduceSum" opset 18 (%y) named "s" {keepdims = 0 : i64} : (!x) -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

tacq.param @w : tensor<4xf16> from <"w.bin", 0, 8>

// A gradient is f32 whatever its parameter is, and has the parameter's shape.
// CHECK: func.func @main(%arg0: {{.*}}) -> (tensor<f32> {tacq.name = "loss"}, tensor<4xf32> {tacq.name = "gradient:w"})
// CHECK: tacq.node "ReduceSum" opset 21 (%{{.*}}, %{{.*}}) named "gradient of y" {keepdims = 1 : i64
func.func @main(%x: tensor<3x4xf32> {tacq.name = "x"}) -> (tensor<f32> {tacq.name = "loss"}) {
  %w = tacq.get_param @w : tensor<4xf16>
  %wide = tacq.node "Cast" opset 18 (%w) named "c" {to = 1 : i64} : (tensor<4xf16>) -> tensor<4xf32>
  %y = tacq.node "Mul" opset 18 (%x, %wide) named "y" : (tensor<3x4xf32>, tensor<4xf32>) -> tensor<3x4xf32>
  %loss = tacq.node "ReduceSum" opset 18 (%y) named "s" {keepdims = 0 : i64} : (tensor<3x4xf32>) -> tensor<f32>
  return %loss : tensor<f32>
}
