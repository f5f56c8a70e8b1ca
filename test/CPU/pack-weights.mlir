// RUN: tacq-opt %s --tacq-pack-weights | FileCheck %s

tacq.param @w : tensor<8x4xf16> from #tacq.source<"w.bin", 0, 64>

// A weight that something else reads as well keeps its plain form there.
// CHECK-LABEL: func.func @shared
// CHECK: %[[PLAIN:.*]] = tacq.get_param @w : tensor<8x4xf16>
// CHECK: %[[PACKED:.*]] = tacq.get_param @w {layout = #tacq.panel<16, f16>} : tensor<8x4xf16>
// CHECK: tacq.linear %arg0, weights(%[[PACKED]]) {{.*}}weight_layouts = [#tacq.panel<16, f16>]
// CHECK: tacq.node "Gather" {{.*}}(%[[PLAIN]], %arg1)
func.func @shared(%x: tensor<2x4xf16>, %i: tensor<3xi64>) -> (tensor<2x8xf16>, tensor<3x4xf16>) {
  %w = tacq.get_param @w : tensor<8x4xf16>
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"}
    : (tensor<2x4xf16>, tensor<8x4xf16>) -> tensor<2x8xf16>
  %z = tacq.node "Gather" opset 18 (%w, %i) : (tensor<8x4xf16>, tensor<3xi64>) -> tensor<3x4xf16>
  return %y, %z : tensor<2x8xf16>, tensor<3x4xf16>
}

// A weight that is computed stays as it is.
// CHECK-LABEL: func.func @computed
// CHECK-NOT: weight_layouts
// CHECK: return
func.func @computed(%x: tensor<2x4xf16>, %w: tensor<8x4xf16>) -> tensor<2x8xf16> {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"}
    : (tensor<2x4xf16>, tensor<8x4xf16>) -> tensor<2x8xf16>
  return %y : tensor<2x8xf16>
}
