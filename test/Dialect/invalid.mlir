// Each rule of docs/Spec.md is broken once; the verifier must name its label.
// RUN: tacq-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{shape.dims: 'a +' is not a symbolic expression}}
func.func private @f(tensor<?xf32, #tacq.shape<["a +"]>>)

// -----
// expected-error @+1 {{mixed.shape}}
func.func private @f(!tacq.mixed<0x4, bits = 2, group = 0>)

// -----
// expected-error @+1 {{mixed.bits: codes have 2, 3, 4 or 8 bits, not 5}}
func.func private @f(!tacq.mixed<4x4, bits = 5, group = 0>)

// -----
// expected-error @+1 {{mixed.group}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = -1>)

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{node.op_type}}
  %y = "tacq.node"(%x) <{op_type = "", domain = "", opset = 17 : i64, node_name = "n", attrs = {}}> : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{node.opset: the opset version must be positive, not 0}}
  %y = "tacq.node"(%x) <{op_type = "Relu", domain = "", opset = 0 : i64, node_name = "n", attrs = {}}> : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----
func.func @f(%c: tensor<i1>) {
  // expected-error @+1 {{node.body}}
  %y = "tacq.node"(%c) <{op_type = "If", domain = "", opset = 17 : i64, node_name = "n", attrs = {}}> ({
    %0 = tacq.none
  }) : (tensor<i1>) -> tensor<4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>) {
  // expected-error @+1 {{linear.weights}}
  "tacq.linear"(%x) <{weight_order = [], node_name = "n", operandSegmentSizes = array<i32: 1, 0, 0, 0>}> : (tensor<2x8xf32>) -> ()
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{linear.weight_order}}
  %y = tacq.linear %x, weights(%w) {weight_order = [], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{linear.weight_layouts}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], weight_layouts = [], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>, %b: tensor<4xf32>) {
  // expected-error @+1 {{linear.biases}}
  %y:2 = tacq.linear %x, weights(%w, %w) biases(%b) {weight_order = [0 : i32, 0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{linear.results: expected 2 results}}
  %y = tacq.linear %x, weights(%w, %w) {weight_order = [0 : i32, 0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{linear.gated}}
  %y = tacq.linear %x, weights(%w) {gated, weight_order = [0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>, %r: tensor<2x4xf32>) {
  // expected-error @+1 {{linear.residual}}
  %y:2 = tacq.linear %x, weights(%w, %w) residual(%r) {weight_order = [0 : i32, 0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<2x4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  return
}

// -----
func.func @f(%x: tensor<f32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{linear.rank}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<f32>, tensor<4x8xf32>) -> tensor<4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x2x4xf32>) {
  // expected-error @+1 {{linear.weight_rank}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x2x4xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %w: tensor<4x9xf32>) {
  // expected-error @+1 {{linear.columns: the input has 8 features, the weight takes 9}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x8xf32>, tensor<4x9xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>, %g: tensor<8xf32>) {
  // expected-error @+1 {{norm.bias}}
  %y = tacq.norm rms %x gain(%g) bias(%g) {epsilon = 1.0e-05 : f64, node_name = "n"} : (tensor<2x8xf32>, tensor<8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return
}

// -----
func.func @f(%x: tensor<f32>) {
  // expected-error @+1 {{norm.rank}}
  %y = tacq.norm rms %x {epsilon = 1.0e-05 : f64, node_name = "n"} : (tensor<f32>) -> tensor<f32>
  return
}

// -----
func.func @f(%x: tensor<2x8xf32>) {
  // expected-error @+1 {{norm.type}}
  %y = tacq.norm layer %x {epsilon = 1.0e-05 : f64, node_name = "n"} : (tensor<2x8xf32>) -> tensor<2x8xf16>
  return
}

// -----
func.func @f(%x: tensor<2x4x8xf32>, %t: tensor<1x4x4xf32>) {
  // expected-error @+1 {{rope.rank}}
  %y = tacq.rope %x, %t, %t {node_name = "n"} : (tensor<2x4x8xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> tensor<2x4x8xf32>
  return
}

// -----
func.func @f(%x: tensor<2x4x3x8xf32>, %t: tensor<4x4xf32>) {
  // expected-error @+1 {{rope.table}}
  %y = tacq.rope %x, %t, %t {node_name = "n"} : (tensor<2x4x3x8xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<2x4x3x8xf32>
  return
}

// -----
func.func @f(%x: tensor<2x4x3x8xf32>, %t: tensor<1x4x4xf32>) {
  // expected-error @+1 {{rope.type}}
  %y = tacq.rope %x, %t, %t {node_name = "n"} : (tensor<2x4x3x8xf32>, tensor<1x4x4xf32>, tensor<1x4x4xf32>) -> tensor<2x4x3x9xf32>
  return
}

// -----
func.func @f(%q: tensor<1x4x8xf32>) {
  // expected-error @+1 {{attention.rank}}
  %y = "tacq.attention"(%q, %q, %q) <{scale = 1.0 : f64, node_name = "n", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0>}> : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> tensor<1x4x8xf32>
  return
}

// -----
func.func @f(%q: tensor<1x4x2x8xf32>, %p: tensor<1x2x3x8xf32>) {
  // expected-error @+1 {{attention.past}}
  %y = "tacq.attention"(%q, %q, %q, %p) <{scale = 1.0 : f64, node_name = "n", operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0>}> : (tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x4x2x8xf32>
  return
}

// -----
func.func @f(%q: tensor<1x4x2x8xf32>, %p: tensor<1x2x3x8xf32>) {
  // expected-error @+1 {{attention.present}}
  %y = "tacq.attention"(%q, %q, %q, %p, %p) <{scale = 1.0 : f64, node_name = "n", operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0>}> : (tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>) -> tensor<1x4x2x8xf32>
  return
}

// -----
func.func @f(%q: tensor<1x4x3x8xf32>, %k: tensor<1x4x2x8xf32>) {
  // expected-error @+1 {{attention.heads: 3 query heads are no multiple of 2 key heads}}
  %y = "tacq.attention"(%q, %k, %k) <{scale = 1.0 : f64, node_name = "n", operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0>, resultSegmentSizes = array<i32: 1, 0, 0>}> : (tensor<1x4x3x8xf32>, tensor<1x4x2x8xf32>, tensor<1x4x2x8xf32>) -> tensor<1x4x3x8xf32>
  return
}

// -----
// expected-error @+1 {{kernel.yield}}
tacq_rt.kernel @k {
^bb0(%x: tensor<4xf32>):
  %0 = tacq.none
}

// -----
// expected-error @+1 {{kernel.inputs}}
tacq_rt.kernel @k {
^bb0(%x: tensor<*xf32>):
  tacq.yield
}

// -----
// expected-error @+1 {{kernel.outputs}}
tacq_rt.kernel @k {
^bb0(%x: tensor<4xf32>):
  %0 = tacq.none
  tacq.yield %0 : none
}
