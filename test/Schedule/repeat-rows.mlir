// RUN: tacq-opt %s --tacq-form-dispatches="fuse-rows repeat-rows" --split-input-file | FileCheck %s

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// The dispatch that quantizes stays; behind the product, its kernel has what makes its input.
// CHECK-LABEL: func.func @product
// CHECK: %[[Q:.*]]:2 = tacq_rt.dispatch @[[QUANTIZE:.*]](%[[X:.*]], %[[G:.*]]) nodes ["n", "q"]
// CHECK: tacq_rt.dispatch @[[LINEAR:.*]](%[[Q]]#0, %[[Q]]#1, %{{.*}}, %[[X]], %[[G]]) nodes ["y"]
// CHECK: tacq_rt.kernel @[[QUANTIZE]]
// CHECK: tacq.quantize_rows {{.*}} {{{.*}}repeated_rows
// CHECK: tacq_rt.kernel @[[LINEAR]]
// CHECK: ^bb0(%[[OWN:.*]]: !tacq{{.*}}, %[[SCALES:.*]]: tensor
// CHECK: %[[Y:.*]] = tacq.linear
// CHECK: %[[NORM:.*]] = tacq.norm rms
// CHECK: tacq.quantize_rows %[[NORM]] {{{.*}}repeated_rows
// CHECK: tacq.yield %[[Y]]
tacq.param @w : tensor<64x256xf16> from <"w.bin", 0, 32768>
func.func @product(%x: !x, %g: tensor<256xf16>) -> !y {
  %n = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "n"} : (!x, tensor<256xf16>) -> !x
  %q, %s = tacq.quantize_rows %n {node_name = "q"} : (!x) -> (!q, !s)
  %w = tacq.get_param @w {layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>} : !w
  %y = tacq.linear %q x_scales(%s), weights(%w) {
    node_name = "y", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!q, !s, !w) -> !y
  return %y : !y
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// Nodes that are computed inside of the quantization's kernel are inside of the product's, too.
// CHECK-LABEL: func.func @gated
// CHECK: %[[Q:.*]]:2 = tacq_rt.dispatch @[[QUANTIZE:.*]](%[[X:.*]], %[[U:.*]]) nodes ["s", "m", "g", "q"]
// CHECK: tacq_rt.dispatch @[[LINEAR:.*]](%[[Q]]#0, %[[Q]]#1, %{{.*}}, %[[X]], %[[U]]) nodes ["y"]
// CHECK: tacq_rt.kernel @[[LINEAR]]
// CHECK: tacq.linear
// CHECK: tacq.node "Sigmoid"
// CHECK: tacq.node "Mul"
// CHECK: %[[G:.*]] = tacq.node "Mul"
// CHECK: tacq.quantize_rows %[[G]] {{{.*}}repeated_rows
tacq.param @w : tensor<64x256xf16> from <"w.bin", 0, 32768>
func.func @gated(%x: !x, %u: !x) -> !y {
  %s = tacq.node "Sigmoid" opset 23 (%x) named "s" : (!x) -> !x
  %m = tacq.node "Mul" opset 23 (%x, %s) named "m" : (!x, !x) -> !x
  %g = tacq.node "Mul" opset 23 (%m, %u) named "g" : (!x, !x) -> !x
  %q, %scales = tacq.quantize_rows %g {node_name = "q"} : (!x) -> (!q, !s)
  %w = tacq.get_param @w {layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>} : !w
  %y = tacq.linear %q x_scales(%scales), weights(%w) {
    node_name = "y", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!q, !s, !w) -> !y
  return %y : !y
}

// -----

// A row is made again as long as all of its planes have a place in a workgroup's memory.
!x = tensor<2x8192xf32>
!q8 = tensor<2x8192xi8>
!s8 = tensor<2x64x2xf32>
!w = !tacq.mixed<64x8192, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!y = tensor<2x64xf32>
#layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>
tacq.param @w : tensor<64x8192xf16> from <"w.bin", 0, 1048576>

// CHECK-LABEL: func.func @one_plane
// CHECK: tacq_rt.kernel
// CHECK: tacq_rt.kernel
// CHECK: tacq.linear
// CHECK-NEXT: tacq.quantize_rows {{.*}}repeated_rows
func.func @one_plane(%x: !x) -> !y {
  %q, %scales = tacq.quantize_rows %x {node_name = "q"} : (!x) -> (!q8, !s8)
  %w = tacq.get_param @w {layout = #layout} : !w
  %y = tacq.linear %q x_scales(%scales), weights(%w) {node_name = "y", weight_order = [0 : i32], weight_layouts = [#layout]} : (!q8, !s8, !w) -> !y
  return %y : !y
}

// -----

!x = tensor<2x8192xf32>
!q16 = tensor<2x16384xi8>
!s16 = tensor<2x128x2xf32>
!w = !tacq.mixed<64x8192, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!y = tensor<2x64xf32>
#layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>
tacq.param @w : tensor<64x8192xf16> from <"w.bin", 0, 1048576>

// CHECK-LABEL: func.func @two_planes
// CHECK-NOT: repeated_rows
func.func @two_planes(%x: !x) -> !y {
  %q, %scales = tacq.quantize_rows %x {bits = 16 : i64, node_name = "q"} : (!x) -> (!q16, !s16)
  %w = tacq.get_param @w {layout = #layout} : !w
  %y = tacq.linear %q x_scales(%scales), weights(%w) {node_name = "y", weight_order = [0 : i32], weight_layouts = [#layout]} : (!q16, !s16, !w) -> !y
  return %y : !y
}
