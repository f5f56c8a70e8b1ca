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
