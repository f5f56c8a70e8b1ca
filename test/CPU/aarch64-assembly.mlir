// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=aarch64-v8.2+dotprod | tacq-translate - --kernels-to-assembly --target=aarch64-v8.2+dotprod > %t.s
// RUN: FileCheck %s --input-file=%t.s --implicit-check-not='{{(ldr|ldp|str|stp)[[:space:]]+q.*\[sp}}'
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=aarch64 | tacq-translate - --kernels-to-assembly --target=aarch64 | FileCheck %s --check-prefix=NEON

!x = tensor<1x4096xi8>
!s = tensor<1x32x2xf32>
!y = tensor<1x4096xf32>
!w = !tacq.mixed<4096x4096, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A tile of 16 by 128 codes: 128 products, each of four columns of four rows, with a quad of a
// register. No register is spilled; neither codes nor columns are loaded one by one; codes of two
// parts, and columns of the input, come in pairs of registers.
// CHECK-LABEL: k.body:
// CHECK: ldp {{q[0-9]+, q[0-9]+}}
// CHECK-NOT: {{(ldrsb|smov|umov|ld1)}}
// CHECK-COUNT-128: sdot {{v[0-9]+\.4s, v[0-9]+\.16b, v[0-9]+\.4b\[[0-3]\]}}
// CHECK-NOT: sdot
// The slots' columns are looked up in the registers of the input.
// CHECK: tbl v{{[0-9]+}}.16b, { v{{[0-9]+}}.16b, v{{[0-9]+}}.16b, v{{[0-9]+}}.16b, v{{[0-9]+}}.16b }
// CHECK-NOT: {{(ldrsb|smov|umov|ld1)}}
// CHECK: tbx
// CHECK: scvtf
// CHECK: fmla
// CHECK: ret
// The baseline has no such products: of eight bytes, added in pairs.
// NEON-LABEL: k.body:
// NEON-NOT: {{(sdot|usdot)}}
// NEON: smull2
// NEON: addp
// NEON: sadalp
func.func @k(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = sorted, circuit = tiles, little>]}
    : (!x, !s, !w) -> !y
  return %y : !y
}
