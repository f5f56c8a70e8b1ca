// RUN: tacq-opt %s --split-input-file --verify-diagnostics --tacq-append-loss

// expected-error @+1 {{there is no function @main}}
module {}

// -----

// expected-error @+1 {{the model has no output 'logits' to compute a loss of; its outputs are 'y', 'z'}}
func.func @main(%x: tensor<2x3x8xf32> {tacq.name = "x"}) -> (tensor<2x3x8xf32> {tacq.name = "y"}, tensor<2x3x8xf32> {tacq.name = "z"}) {
  return %x, %x : tensor<2x3x8xf32>, tensor<2x3x8xf32>
}

// -----

// expected-error @+1 {{the output 'logits' has 2 dimensions; cross-entropy needs [batch, sequence, classes]: choose another output or mse}}
func.func @main(%x: tensor<3x8xf32> {tacq.name = "x"}) -> (tensor<3x8xf32> {tacq.name = "logits"}) {
  return %x : tensor<3x8xf32>
}

// -----

// expected-error @+1 {{the output 'logits' is 'tensor<2x3x8xi64>'; a loss needs a floating-point tensor of known rank}}
func.func @main(%x: tensor<2x3x8xi64> {tacq.name = "x"}) -> (tensor<2x3x8xi64> {tacq.name = "logits"}) {
  return %x : tensor<2x3x8xi64>
}

// -----

// expected-error @+1 {{the model has an input or output 'labels' already, which is the name that its loss needs}}
func.func @main(%x: tensor<2x3x8xf32> {tacq.name = "labels"}) -> (tensor<2x3x8xf32> {tacq.name = "logits"}) {
  return %x : tensor<2x3x8xf32>
}
