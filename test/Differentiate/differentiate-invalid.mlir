// RUN: tacq-opt %s --split-input-file --verify-diagnostics --tacq-differentiate='parameters=x'

!q = tensor<2x4x2x8xf32>
!past = tensor<2x2x3x8xf32>
!present = tensor<2x2x7x8xf32>
// expected-error @+1 {{node 'a' (tacq.attention): it has a cache; run tacq-drop-caches first}}
func.func @main(%q: !q {tacq.name = "x"}, %k: !past {tacq.name = "k"}, %v: !past {tacq.name = "v"}) -> (tensor<f32> {tacq.name = "loss"}) {
  %out, %present:2 = tacq.attention %q, %q, %q past(%k, %v) {causal, node_name = "a", scale = 0.5 : f64} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  %loss = tacq.node "ReduceSum" opset 18 (%out) named "s" {keepdims = 0 : i64} : (!q) -> tensor<f32>
  return %loss : tensor<f32>
}

// -----

// expected-error @+1 {{there is no result 'loss' to differentiate; results are 'y'}}
func.func @main(%x: tensor<4xf32> {tacq.name = "x"}) -> (tensor<4xf32> {tacq.name = "y"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @+1 {{the result 'loss' is 'tensor<4xf32>'; only one f32 number is differentiated}}
func.func @main(%x: tensor<4xf32> {tacq.name = "x"}) -> (tensor<4xf32> {tacq.name = "loss"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @+1 {{there is no parameter or input 'x' to compute a gradient of}}
func.func @main(%y: tensor<f32> {tacq.name = "y"}) -> (tensor<f32> {tacq.name = "loss"}) {
  return %y : tensor<f32>
}

// -----

// expected-error @+1 {{the input 'x' holds no floating-point numbers: it has no gradient}}
func.func @main(%x: tensor<4xi64> {tacq.name = "x"}, %y: tensor<f32> {tacq.name = "y"}) -> (tensor<f32> {tacq.name = "loss"}) {
  return %y : tensor<f32>
}

// -----

// expected-error @+1 {{the result 'loss' does not depend on any of the parameters whose gradients are asked for}}
func.func @main(%x: tensor<4xf32> {tacq.name = "x"}, %y: tensor<f32> {tacq.name = "y"}) -> (tensor<f32> {tacq.name = "loss"}) {
  return %y : tensor<f32>
}
