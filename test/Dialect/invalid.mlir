// Each rule of docs/Spec.md is broken once; the verifier must name its label.
// RUN: tacq-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{shape.dims: 'a +' is not a symbolic expression}}
func.func private @f(tensor<?xf32, #tacq.shape<["a +"]>>)

// -----
// expected-error @+1 {{mixed.shape}}
func.func private @f(!tacq.mixed<0x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>)

// -----
// expected-error @+1 {{mixed.bits: codes have 2, 3, 4 or 8 bits, not 5}}
func.func private @f(!tacq.mixed<4x4, bits = 5, group = 0, decode = #tacq.affine<scale = f16>>)

// -----
// expected-error @+1 {{mixed.group}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = -1, decode = #tacq.affine<scale = f16>>)

// -----
// expected-error @+1 {{mixed.group: a group is at most 4 columns, or 0 for a whole row, not 8}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 8, decode = #tacq.affine<scale = f16>>)

// -----
// expected-error @+1 {{mixed.decode: expected #tacq.affine or #tacq.codebook, not f16}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = f16>)

// -----
// expected-error @+1 {{mixed.metadata: scales and zero points are f16, bf16, f32 or unsigned integers of 2 to 8 bits, not 'i8'}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = i8>>)

// -----
// expected-error @+1 {{mixed.metadata: scales and zero points are f16, bf16, f32 or unsigned integers of 2 to 8 bits, not 'f64'}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = f64>>)

// -----
// expected-error @+1 {{mixed.span}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16 span = 4>>)

// -----
// expected-error @+1 {{mixed.codebook: levels are f16, bf16, f32 or ui8, not 'ui4'}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.codebook<row, levels = ui4, scale = f16>>)

// -----
// expected-error @+1 {{mixed.codebook: levels that are integers need a scale}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.codebook<row, levels = ui8>>)

// -----
// expected-error @+1 {{mixed.circuit: the count is between 0 and 16, not 17}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16>, circuit = <scattered, count = 17, exact>>)

// -----
// expected-error @+1 {{mixed.circuit: the count is between 0 and 4, not 5}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16>, circuit = <uniform, count = 5, exact>>)

// -----
// expected-error @+1 {{mixed.exact}}
func.func private @f(!tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = f16>, circuit = <slots, count = 1, exact>>)

// -----
// expected-error @+1 {{layout.tile}}
func.func private @f() attributes {l = #tacq.layout<tile = 0x16, planes = [2], interleave = 4, align = 64, rows = natural, circuit = none, little>}

// -----
// expected-error @+1 {{layout.planes}}
func.func private @f() attributes {l = #tacq.layout<tile = 16x128, planes = [3], interleave = 4, align = 64, rows = natural, circuit = none, little>}

// -----
// expected-error @+1 {{layout.interleave: the 128 columns of a tile are no multiple of 8/2 times 5}}
func.func private @f() attributes {l = #tacq.layout<tile = 16x128, planes = [2], interleave = 5, align = 64, rows = natural, circuit = none, little>}

// -----
// expected-error @+1 {{layout.align: 48 is no power of two}}
func.func private @f() attributes {l = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 48, rows = natural, circuit = none, little>}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 3, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{layout.bits: the planes hold 2 bits, codes have 3}}
  %y = tacq.linear %x, weights(%w) {weight_layouts = [#tacq.layout<tile = 4x128, planes = [2], interleave = 4, align = 64, rows = natural, circuit = none, little>], weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 3, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{layout.group: neither of the group's 64 and the tile's 96 columns is a multiple of the other}}
  %y = tacq.linear %x, weights(%w) {weight_layouts = [#tacq.layout<tile = 4x96, planes = [2], interleave = 4, align = 64, rows = natural, circuit = none, little>], weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>, circuit = <scattered, count = 1, exact>>) {
  // expected-error @+1 {{layout.circuit: this circuit is stored as 'list', not 'tiles'}}
  %y = tacq.linear %x, weights(%w) {weight_layouts = [#tacq.layout<tile = 4x128, planes = [2], interleave = 4, align = 64, rows = natural, circuit = tiles, little>], weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>, circuit = <scattered, count = 1, exact>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>, circuit = <uniform, count = 65, exact>>) {
  // expected-error @+1 {{layout.slots: a tile of 64 columns has no room for 65 slots}}
  %y = tacq.linear %x, weights(%w) {weight_layouts = [#tacq.layout<tile = 4x64, planes = [2], interleave = 4, align = 64, rows = natural, circuit = tiles, little>], weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>, circuit = <uniform, count = 65, exact>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<128x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.mixed_order}}
  %y = tacq.linear %x, weights(%w) {weight_order = [1 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<128x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x128xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.mixed_layout: a mixed-precision weight is stored in #tacq.layout, not #tacq.panel<16, f32>}}
  %y = tacq.linear %x, weights(%w) {weight_layouts = [#tacq.panel<16, f32>], weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x64, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.columns: the input has 128 features, the weight takes 64}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x64, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.rows: the result has 5 features, the weight gives 4}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xf32>, !tacq.mixed<4x128, bits = 2, group = 64, decode = #tacq.affine<scale = f16>>) -> tensor<2x5xf32>
  return
}

// -----
tacq.param @w : tensor<4x8xf32> from <"w.bin", 0, 128>
func.func @f() {
  // expected-error @+1 {{get_param.type: the parameter 'w' has type 'tensor<4x8xf32>', the weight is 4x4}}
  %0 = tacq.get_param @w : !tacq.mixed<4x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>
  return
}

// -----
tacq.param @w : tensor<4x8xf32> from <"w.bin", 0, 128>
func.func @f() {
  // expected-error @+1 {{get_param.layout: a mixed-precision weight is stored in #tacq.layout, not #tacq.panel<16, f32>}}
  %0 = tacq.get_param @w {layout = #tacq.panel<16, f32>} : !tacq.mixed<8x4, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>
  return
}

// -----
func.func @f(%x: tensor<2x128xi8>, %w: tensor<4x128xf32>) {
  // expected-error @+1 {{linear.x_scales: an input of type i8 has x_scales}}
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xi8>, tensor<4x128xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xi8>, %s: tensor<2x1xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.x_scales: an input with x_scales is an i8 tensor, and they are f32 [..., blocks, 2]}}
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xi8>, tensor<2x1xf32>, !tacq.mixed<4x128, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xi8>, %s: tensor<2x1x2xf32>, %w: tensor<4x128xf32>) {
  // expected-error @+1 {{linear.x_scales: with x_scales all weights are of mixed precision}}
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xi8>, tensor<2x1x2xf32>, tensor<4x128xf32>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x100xi8>, %s: tensor<2x1x2xf32>, %w: !tacq.mixed<4x100, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.columns: the input has 100 columns, a weight of 100 takes 128}}
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x100xi8>, tensor<2x1x2xf32>, !tacq.mixed<4x100, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xi8>, %s: tensor<2x3x2xf32>, %w: !tacq.mixed<4x100, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.x_scales: no block size gives 3 blocks for 100 columns}}
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xi8>, tensor<2x3x2xf32>, !tacq.mixed<4x100, bits = 2, group = 0, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x128xi8>, %s: tensor<2x2x2xf32>, %w: !tacq.mixed<4x128, bits = 2, group = 32, decode = #tacq.affine<scale = f16>>) {
  // expected-error @+1 {{linear.x_scales: blocks of 64 columns do not divide the weight's groups of 32}}
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "n"} : (tensor<2x128xi8>, tensor<2x2x2xf32>, !tacq.mixed<4x128, bits = 2, group = 32, decode = #tacq.affine<scale = f16>>) -> tensor<2x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x100xf32>) {
  // expected-error @+1 {{quantize_rows.block: a block has 32, 64 or 128 columns, not 16}}
  %q, %s = tacq.quantize_rows %x {block = 16 : i64, node_name = "n"} : (tensor<2x100xf32>) -> (tensor<2x128xi8>, tensor<2x7x2xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x100xf32>) {
  // expected-error @+1 {{quantize_rows.bits: an integer has 8 or 16 bits, not 12}}
  %q, %s = tacq.quantize_rows %x {bits = 12 : i64, node_name = "n"} : (tensor<2x100xf32>) -> (tensor<2x128xi8>, tensor<2x1x2xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x100xf32>) {
  // expected-error @+1 {{quantize_rows.type: the integers are i8, with the columns rounded up to a multiple of 128, twice if they have 16 bits, not 'tensor<2x128xi8>'}}
  %q, %s = tacq.quantize_rows %x {bits = 16 : i64, node_name = "n"} : (tensor<2x100xf32>) -> (tensor<2x128xi8>, tensor<2x2x2xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x?xf32>) {
  // expected-error @+1 {{quantize_rows.input}}
  %q, %s = tacq.quantize_rows %x {node_name = "n"} : (tensor<2x?xf32>) -> (tensor<2x128xi8>, tensor<2x1x2xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x100xf32>) {
  // expected-error @+1 {{quantize_rows.type: the integers are i8, with the columns rounded up to a multiple of 128, twice if they have 16 bits, not 'tensor<2x100xi8>'}}
  %q, %s = tacq.quantize_rows %x {node_name = "n"} : (tensor<2x100xf32>) -> (tensor<2x100xi8>, tensor<2x1x2xf32>)
  return
}

// -----
func.func @f(%x: tensor<2x100xf32>) {
  // expected-error @+1 {{quantize_rows.type: the scales are f32 [..., 2, 2], not 'tensor<2x1x2xf32>'}}
  %q, %s = tacq.quantize_rows %x {block = 64 : i64, node_name = "n"} : (tensor<2x100xf32>) -> (tensor<2x128xi8>, tensor<2x1x2xf32>)
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{get_param.symbol: there is no parameter 'w'}}
  %0 = tacq.get_param @w : tensor<4xf32>
  return
}

// -----
tacq.param @w : tensor<8xf32> from <"w.bin", 0, 32>
func.func @f() {
  // expected-error @+1 {{get_param.type: the parameter 'w' has type 'tensor<8xf32>'}}
  %0 = tacq.get_param @w : tensor<4xf32>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{constant.type: the value has type 'tensor<2xi64>', the result 'tensor<3xi64>'}}
  %0 = "tacq.constant"() <{value = dense<1> : tensor<2xi64>}> : () -> tensor<3xi64>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{symbolic.type: elements are integers, not 'f32'}}
  %0 = tacq.symbolic ["1"] : tensor<1xf32>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{symbolic.count: 1 expressions for elements of 'tensor<2xi64>'}}
  %0 = tacq.symbolic ["1"] : tensor<2xi64>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{symbolic.values: 'a +' is not a symbolic expression}}
  %0 = tacq.symbolic ["a +"] : tensor<1xi64>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{require.condition: '*' is not a symbolic expression}}
  tacq.require "a", "*", "never"
  return
}

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
  "tacq.linear"(%x) <{weight_order = [], node_name = "n", operandSegmentSizes = array<i32: 1, 0, 0, 0, 0>}> : (tensor<2x8xf32>) -> ()
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
  // expected-error @+1 {{attention_grad.rank}}
  %g:3 = tacq.attention_grad %q of %q, %q, %q to %q {scale = 1.0 : f64, node_name = "n"} : (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>) -> (tensor<1x4x8xf32>, tensor<1x4x8xf32>, tensor<1x4x8xf32>)
  return
}

// -----
func.func @f(%q: tensor<1x4x2x8xf16>) {
  // expected-error @+1 {{attention_grad.type}}
  %g:3 = tacq.attention_grad %q of %q, %q, %q to %q {scale = 1.0 : f64, node_name = "n"} : (tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>) -> (tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>, tensor<1x4x2x8xf16>)
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
// expected-error @+1 {{kernel.tilings: tasks have as many rows for all weights and targets}}
tacq_rt.kernel @k attributes {tilings = [
    #tacq.tiling<"a", !tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>, task_rows = 96, prefetch = [0, 0, 0]>,
    #tacq.tiling<"b", !tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>, task_rows = 48, prefetch = [0, 0, 0]>]} {
^bb0(%x: tensor<4xf32>):
  tacq.yield %x : tensor<4xf32>
}

// -----
// expected-error @+1 {{tiling.weight: 'f32' is no type of a mixed-precision weight}}
module attributes {test.tiling = #tacq.tiling<"a", f32, task_rows = 96, prefetch = [0, 0, 0]>} {}

// -----
// expected-error @+1 {{tiling.numbers: a task has at least one row, and there are three distances of prefetching, none of them negative}}
module attributes {test.tiling = #tacq.tiling<"a", !tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>, task_rows = 96, prefetch = [0, 1]>} {}

// -----
// expected-error @+1 {{tiling.numbers: a task has at least one row}}
module attributes {test.tiling = #tacq.tiling<"a", !tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>, task_rows = 0, prefetch = [0, 0, 0]>} {}

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

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{dispatch.nodes}}
  %0 = tacq_rt.dispatch @k(%x) nodes ["a"] ops [] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{dispatch.kernel: there is no kernel 'k'}}
  %0 = tacq_rt.dispatch @k(%x) nodes [] ops [] : (tensor<4xf32>) -> tensor<4xf32>
  return
}

// -----
tacq_rt.kernel @k {
^bb0(%x: tensor<8xf32>):
  tacq.yield %x : tensor<8xf32>
}
func.func @f(%x: tensor<4xf32>) {
  // expected-error @+1 {{dispatch.inputs: the kernel 'k' takes other types}}
  %0 = tacq_rt.dispatch @k(%x) nodes [] ops [] : (tensor<4xf32>) -> tensor<8xf32>
  return
}

// -----
tacq_rt.kernel @k {
^bb0(%x: tensor<8xf32>):
  tacq.yield %x : tensor<8xf32>
}
func.func @f(%x: tensor<8xf32>) {
  // expected-error @+1 {{dispatch.outputs: the kernel 'k' gives other types}}
  %0 = tacq_rt.dispatch @k(%x) nodes [] ops [] : (tensor<8xf32>) -> tensor<4xf32>
  return
}

// -----
tacq_rt.schedule @main {
  %a = tacq_rt.buffer transient 0 size "32" of f32
  // expected-error @+1 {{launch.kernel: there is no kernel 'k'}}
  tacq_rt.launch @k reads(%a) writes(%a) nodes [] ops []
}

// -----
tacq_rt.kernel @k {
^bb0(%x: tensor<8xf32>):
  tacq.yield %x : tensor<8xf32>
}
tacq_rt.schedule @main {
  %a = tacq_rt.buffer transient 0 size "32" of f32
  // expected-error @+1 {{launch.reads: 2 buffers for the 1 inputs of the kernel 'k'}}
  tacq_rt.launch @k reads(%a, %a) writes(%a) nodes [] ops []
}

// -----
tacq_rt.kernel @k {
^bb0(%x: tensor<8xf32>):
  tacq.yield %x : tensor<8xf32>
}
tacq_rt.schedule @main {
  %a = tacq_rt.buffer transient 0 size "32" of f32
  // expected-error @+1 {{launch.writes: 0 buffers for the 1 outputs of the kernel 'k'}}
  tacq_rt.launch @k reads(%a) writes() nodes [] ops []
}

// -----
tacq_rt.schedule @main {
  // expected-error @+1 {{buffer.constant}}
  %a = tacq_rt.buffer constant 0 size "32" of f32
}

// -----
tacq_rt.schedule @main {
  tacq_rt.input 0 "x" : tensor<8xf32>
  // expected-error @+1 {{buffer.constant}}
  %a = tacq_rt.buffer input 0 size "32" of f32 param @w
}

// -----
tacq_rt.schedule @main {
  // expected-error @+1 {{buffer.size: '32*' is not a symbolic expression}}
  %a = tacq_rt.buffer transient 0 size "32*" of f32
}

// -----
tacq_rt.schedule @main {
  %a = tacq_rt.buffer transient 0 size "32" of f32
  // expected-error @+1 {{copy.size: '' is not a symbolic expression}}
  tacq_rt.copy %a to %a size ""
}

// -----
tacq_rt.schedule @main {
  // expected-error @+1 {{require.condition: 'a b' is not a symbolic expression}}
  tacq_rt.require "a b", "1", "never"
}

// -----
tacq_rt.schedule @main {
  // expected-error @+1 {{if.condition: '(' is not a symbolic expression}}
  tacq_rt.if "(" {
  } else {
  }
}

// -----
tacq_rt.schedule @main {
  tacq_rt.input 0 "x" : tensor<8xf32>
  // expected-error @+1 {{schedule.index: number 0 is declared twice}}
  tacq_rt.input 0 "y" : tensor<8xf32>
}

// -----
tacq_rt.schedule @main {
  // expected-error @+1 {{schedule.index: number 1 of 1 is out of range}}
  tacq_rt.output 1 "y" : tensor<8xf32>
}

// -----
tacq_rt.schedule @main {
  tacq_rt.input 0 "x" : tensor<8xf32>
  // expected-error @+1 {{schedule.state}}
  tacq_rt.state 0 "s" input 0 output 0 axis 0
}

// -----
tacq_rt.schedule @main {
  tacq_rt.output 0 "y" : tensor<8xf32>
  // expected-error @+1 {{schedule.buffer: there is no output 1}}
  %a = tacq_rt.buffer output 1 size "32" of f32
}

// -----
tacq_rt.kernel @k {
^bb0(%x: tensor<8xf32>):
  tacq.yield %x : tensor<8xf32>
}
tacq_rt.schedule @main {
  %a = tacq_rt.buffer transient 0 size "32" of f32
  // expected-error @+1 {{schedule.capacity: there is no state 0 in place}}
  tacq_rt.launch @k reads(%a) writes(%a) nodes [] ops [] capacity_of 0
}
