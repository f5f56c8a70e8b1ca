// RUN: tacq-opt %s --tacq-pack-weights=activations=int8 | FileCheck %s
// RUN: tacq-opt %s --tacq-pack-weights | FileCheck %s --check-prefix=AUTO
// RUN: tacq-opt %s --tacq-pack-weights=activations=int16 | FileCheck %s --check-prefix=WIDE

tacq.param @w : tensor<8x4xf16> from #tacq.source<"w.bin", 0, 64>

// A table that is a weight, too, is stored once; what else reads it has its plain form.
// CHECK-LABEL: func.func @shared
// CHECK: %[[TABLE:.*]] = tacq.get_param @w {layout = #tacq.panel<16, f16>} : tensor<8x4xf16>
// CHECK: %[[PLAIN:.*]] = tacq.get_param @w : tensor<8x4xf16>
// CHECK: %[[PACKED:.*]] = tacq.get_param @w {layout = #tacq.panel<16, f16>} : tensor<8x4xf16>
// CHECK: tacq.linear %arg0, weights(%[[PACKED]]) {{.*}}weight_layouts = [#tacq.panel<16, f16>]
// CHECK: tacq.node "Gather" {{.*}}(%[[TABLE]], %arg1) {panel_width = 16 : i64}
// CHECK: tacq.node "Gather" {{.*}}(%[[PLAIN]], %arg1)
func.func @shared(%x: tensor<2x4xf16>, %i: tensor<3xi64>)
    -> (tensor<2x8xf16>, tensor<3x4xf16>, tensor<8x3xf16>) {
  %w = tacq.get_param @w : tensor<8x4xf16>
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"}
    : (tensor<2x4xf16>, tensor<8x4xf16>) -> tensor<2x8xf16>
  %z = tacq.node "Gather" opset 18 (%w, %i) : (tensor<8x4xf16>, tensor<3xi64>) -> tensor<3x4xf16>
  %c = tacq.node "Gather" opset 18 (%w, %i) {axis = 1 : i64}
    : (tensor<8x4xf16>, tensor<3xi64>) -> tensor<8x3xf16>
  return %y, %z, %c : tensor<2x8xf16>, tensor<3x4xf16>, tensor<8x3xf16>
}

// The rows of a transposed weight are not the panels'.
tacq.param @t : tensor<8x4xf16> from #tacq.source<"t.bin", 0, 64>
// CHECK-LABEL: func.func @transposed
// CHECK: tacq.node "Gather"
// CHECK-NOT: panel_width
// CHECK: return
func.func @transposed(%x: tensor<2x8xf16>, %i: tensor<3xi64>) -> (tensor<2x4xf16>, tensor<3x4xf16>) {
  %w = tacq.get_param @t : tensor<8x4xf16>
  %y = tacq.linear %x, weights(%w) {weight_order = [1 : i32], node_name = "y"}
    : (tensor<2x8xf16>, tensor<8x4xf16>) -> tensor<2x4xf16>
  %z = tacq.node "Gather" opset 18 (%w, %i) : (tensor<8x4xf16>, tensor<3xi64>) -> tensor<3x4xf16>
  return %y, %z : tensor<2x4xf16>, tensor<3x4xf16>
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

// Mixed-precision weights are stored in tiles, and their input is quantized once for all of them, in
// blocks that no group of them straddles.
tacq.param @q : tensor<64x256xf16> from #tacq.source<"q.bin", 0, 32768>
tacq.param @k : tensor<256x32xf16> from #tacq.source<"k.bin", 0, 16384>
!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!y64 = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!y32 = tensor<?x32xf16, #tacq.shape<["rows", "32"]>>
!q = !tacq.mixed<64x256, bits = 2, group = 64, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 9, exact>>
!k = !tacq.mixed<32x256, bits = 3, group = 0, decode = #tacq.codebook<row, levels = ui8, scale = f16>, circuit = <scattered, count = 9, exact>>

// CHECK-LABEL: func.func @mixed
// CHECK: %[[Q:.*]], %[[S:.*]] = tacq.quantize_rows %arg0 {block = 64 : i64, node_name = "y"} : (tensor<?x256xf16, #tacq.shape<["rows", "256"]>>) -> (tensor<?x256xi8, #tacq.shape<["rows", "256"]>>, tensor<?x4x2xf32, #tacq.shape<["rows", "4", "2"]>>)
// CHECK-DAG: tacq.get_param @q {layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = sorted, circuit = tiles, little>}
// CHECK-DAG: tacq.get_param @k {layout = #tacq.layout<tile = 16x128, planes = [2, 1], interleave = 4, align = 16, rows = natural, circuit = list, little>}
// CHECK: tacq.linear %[[Q]] x_scales(%[[S]]), weights(%{{.*}}, %{{.*}})
// CHECK-NOT: tacq.quantize_rows
// CHECK: tacq.linear %[[Q]] x_scales(%[[S]]), weights(%{{.*}})
// Small weights have an input of 16 bits, in twice as many columns and blocks, if nothing is said.
// AUTO-LABEL: func.func @mixed
// AUTO: tacq.quantize_rows %arg0 {bits = 16 : i64, block = 64 : i64, node_name = "y"} : (tensor<?x256xf16, #tacq.shape<["rows", "256"]>>) -> (tensor<?x512xi8, #tacq.shape<["rows", "512"]>>, tensor<?x8x2xf32, #tacq.shape<["rows", "8", "2"]>>)
// AUTO-NOT: tacq.quantize_rows
// AUTO: return
func.func @mixed(%x: !x) -> (!y64, !y32, !y64) {
  %q = tacq.get_param @q : !q
  %k = tacq.get_param @k : !k
  %y:2 = tacq.linear %x, weights(%q, %k) {weight_order = [0 : i32, 0 : i32], node_name = "y"}
    : (!x, !q, !k) -> (!y64, !y32)
  %z = tacq.linear %x, weights(%q) {weight_order = [0 : i32], node_name = "z"} : (!x, !q) -> !y64
  return %y#0, %y#1, %z : !y64, !y32, !y64
}

// A weight of 2^20 elements has an input of 8 bits, and what is multiplied with it and a small one.
tacq.param @l : tensor<4096x256xf16> from #tacq.source<"l.bin", 0, 2097152>
!large = !tacq.mixed<4096x256, bits = 2, group = 64, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 9, exact>>
!y4096 = tensor<?x4096xf16, #tacq.shape<["rows", "4096"]>>
// AUTO-LABEL: func.func @large
// AUTO: tacq.quantize_rows %arg0 {block = 64 : i64, node_name = "y"} :
// AUTO-NOT: tacq.quantize_rows
// AUTO: return
// WIDE-LABEL: func.func @large
// WIDE: tacq.quantize_rows %arg0 {bits = 16 : i64, block = 64 : i64, node_name = "y"} :
func.func @large(%x: !x) -> (!y64, !y4096) {
  %q = tacq.get_param @q : !q
  %l = tacq.get_param @l : !large
  %y:2 = tacq.linear %x, weights(%q, %l) {weight_order = [0 : i32, 0 : i32], node_name = "y"}
    : (!x, !q, !large) -> (!y64, !y4096)
  return %y#0, %y#1 : !y64, !y4096
}

// A weight that was left dense has a product of its own.
// CHECK-LABEL: func.func @some_dense
// CHECK: tacq.linear %arg0, weights(%{{.*}}) {{.*}}weight_layouts = [#tacq.panel<16, f16>]
// CHECK: tacq.linear %{{.*}} x_scales(%{{.*}}), weights(%{{.*}})
func.func @some_dense(%x: !x) -> (!y64, !y32) {
  %q = tacq.get_param @q : tensor<64x256xf16>
  %k = tacq.get_param @k : !k
  %y:2 = tacq.linear %x, weights(%q, %k) {weight_order = [0 : i32, 0 : i32], node_name = "y"}
    : (!x, tensor<64x256xf16>, !k) -> (!y64, !y32)
  return %y#0, %y#1 : !y64, !y32
}

// The two factors of a gated result are in different tasks if rows are sorted.
// CHECK-LABEL: func.func @gated
// CHECK: %[[Y:.*]]:2 = tacq.linear %{{.*}} x_scales(%{{.*}}), weights(%{{.*}}, %{{.*}})
// CHECK-NOT: gated
// CHECK: %[[SIGMOID:.*]] = tacq.node "Sigmoid" {{.*}}(%[[Y]]#0)
// CHECK: %[[SILU:.*]] = tacq.node "Mul" {{.*}}(%[[Y]]#0, %[[SIGMOID]])
// CHECK: %[[PRODUCT:.*]] = tacq.node "Mul" {{.*}}(%[[SILU]], %[[Y]]#1)
// CHECK: tacq.node "Add" {{.*}}(%[[PRODUCT]], %arg1)
func.func @gated(%x: !x, %r: !y64) -> !y64 {
  %q = tacq.get_param @q : !q
  %y = tacq.linear %x, weights(%q, %q) residual(%r) {weight_order = [0 : i32, 0 : i32], gated,
    activation = 1 : i32, node_name = "y"} : (!x, !q, !q, !y64) -> !y64
  return %y : !y64
}

!narrow = !tacq.mixed<64x256, bits = 2, group = 0, decode = #tacq.codebook<row, levels = ui8, scale = f16>>
!wide = !tacq.mixed<64x256, bits = 3, group = 0, decode = #tacq.codebook<row, levels = ui8, scale = f16>>
tacq.param @narrow : tensor<64x256xf16> from #tacq.source<"s.bin", 0, 32768>
tacq.param @wide : tensor<64x256xf16> from #tacq.source<"s.bin", 0, 32768>
// So are factors of different forms.
// CHECK-LABEL: func.func @gated_forms
// CHECK: tacq.linear {{.*}} {activation = 1 : i32, gated,
// CHECK-NOT: gated,
// CHECK: tacq.node "Mul"
func.func @gated_forms(%x: !x) -> (!y64, !y64) {
  %narrow = tacq.get_param @narrow : !narrow
  %wide = tacq.get_param @wide : !wide
  %y = tacq.linear %x, weights(%narrow, %narrow) {weight_order = [0 : i32, 0 : i32], gated,
    activation = 1 : i32, node_name = "y"} : (!x, !narrow, !narrow) -> !y64
  %z = tacq.linear %x, weights(%narrow, %wide) {weight_order = [0 : i32, 0 : i32], gated,
    activation = 1 : i32, node_name = "z"} : (!x, !narrow, !wide) -> !y64
  return %y, %z : !y64, !y64
}

// A parameter that is read in both orders is packed in two ways.
tacq.param @s : tensor<16x16xf16> from #tacq.source<"s.bin", 0, 512>
// CHECK-LABEL: func.func @both_orders
// CHECK: tacq.get_param @s {layout = #tacq.panel<16, f16>} :
// CHECK: tacq.get_param @s {layout = #tacq.panel<16, f16>, tacq.weight_order = "kn"} :
func.func @both_orders(%x: tensor<2x16xf16>) -> (tensor<2x16xf16>, tensor<2x16xf16>) {
  %s = tacq.get_param @s : tensor<16x16xf16>
  %y = tacq.linear %x, weights(%s) {weight_order = [0 : i32], node_name = "y"}
    : (tensor<2x16xf16>, tensor<16x16xf16>) -> tensor<2x16xf16>
  %z = tacq.linear %x, weights(%s) {weight_order = [1 : i32], node_name = "z"}
    : (tensor<2x16xf16>, tensor<16x16xf16>) -> tensor<2x16xf16>
  return %y, %z : tensor<2x16xf16>, tensor<2x16xf16>
}
