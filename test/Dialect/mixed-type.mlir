// Mixed-precision types and layouts go through text, the generic form and bytecode unchanged.
// RUN: tacq-opt %s | FileCheck %s
// RUN: tacq-opt %s -emit-bytecode | tacq-opt | FileCheck %s
// RUN: tacq-opt %s -mlir-print-op-generic | tacq-opt | FileCheck %s

// CHECK: @a(!tacq.mixed<4096x4096, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui2>, circuit = <slots, count = 4096, exact>>)
func.func private @a(!tacq.mixed<4096x4096, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui2>, circuit = #tacq.circuit<slots, count = 4096, exact>>)
// CHECK: @b(!tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>) -> tensor<?x8xf32, #tacq.shape<["2*batch + 1", "8"]>>
func.func private @b(!tacq.mixed<8x16, bits = 3, group = 0, decode = #tacq.affine<scale = f32>>) -> tensor<?x8xf32, #tacq.shape<["2*batch + 1", "8"]>>
// CHECK: @c(!tacq.mixed<8x64, bits = 4, group = 16, decode = #tacq.affine<scale = ui6, zero = f16 span = 2>, circuit = <scattered, count = 3, difference>>)
func.func private @c(!tacq.mixed<8x64, bits = 4, group = 16, decode = #tacq.affine<scale = ui6, zero = f16 span = 2>, circuit = <scattered, count = 3, difference>>)
// CHECK: @d(!tacq.mixed<8x64, bits = 8, group = 16, decode = #tacq.codebook<tensor, levels = f16>, circuit = <uniform, count = 1, exact>>)
func.func private @d(!tacq.mixed<8x64, bits = 8, group = 16, decode = #tacq.codebook<tensor, levels = f16>, circuit = <uniform, count = 1, exact>>)
// CHECK: @e(!tacq.mixed<8x64, bits = 2, group = 16, decode = #tacq.codebook<row, levels = bf16, scale = ui4 span = 4>>)
func.func private @e(!tacq.mixed<8x64, bits = 2, group = 16, decode = #tacq.codebook<row, levels = bf16, scale = ui4 span = 4>>)

// A product with a mixed-precision weight, stored in planes of 2 bits and 1 bit.
// CHECK-LABEL: func.func @linear
// CHECK: tacq.linear %arg0, weights(%arg1)
// CHECK-SAME: weight_layouts = [#tacq.layout<tile = 16x128, planes = [2, 1], interleave = 4, align = 64, rows = sorted, circuit = tiles, little>]
!w = !tacq.mixed<64x256, bits = 3, group = 128, decode = #tacq.affine<scale = f16>, circuit = <slots, count = 2, exact>>
func.func @linear(%x: tensor<2x256xf32>, %w: !w) -> tensor<2x64xf32> {
  %y = tacq.linear %x, weights(%w) {node_name = "n", weight_order = [0 : i32], weight_layouts = [#tacq.layout<tile = 16x128, planes = [2, 1], interleave = 4, align = 64, rows = sorted, circuit = tiles, little>]} : (tensor<2x256xf32>, !w) -> tensor<2x64xf32>
  return %y : tensor<2x64xf32>
}
