// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4 | tacq-translate - --kernels-to-assembly --target=x86-64-v4 > %t.v4
// RUN: FileCheck %s --check-prefix=V4 --input-file=%t.v4 --implicit-check-not='{{gather|hadd|pinsrb|pextrb}}'
// RUN: FileCheck %s --check-prefixes=STACK,WIDE --input-file=%t.v4
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v3+avxvnni | tacq-translate - --kernels-to-assembly --target=x86-64-v3+avxvnni > %t.vnni
// RUN: FileCheck %s --check-prefix=VNNI --input-file=%t.vnni --implicit-check-not='{{gather|hadd|pinsrb}}'
// RUN: FileCheck %s --check-prefixes=STACK,NARROW --input-file=%t.vnni
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v3 | tacq-translate - --kernels-to-assembly --target=x86-64-v3 > %t.v3
// RUN: FileCheck %s --check-prefix=V3 --input-file=%t.v3 --implicit-check-not='{{gather|hadd|pinsrb}}'
// RUN: FileCheck %s --check-prefixes=STACK,NARROW --input-file=%t.v3

!x = tensor<1x4096xi8>
!s = tensor<1x32x2xf32>
!y = tensor<1x4096xf32>
!plain = !tacq.mixed<4096x4096, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!slots = !tacq.mixed<4096x4096, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// Products with one row: those of a tile once, neither gathers nor sums across lanes nor single
// bytes.
// V4-COUNT-32: vpdpbusd
// V4-NOT: vpdpbusd
// V4-LABEL: slots.body:
// V4-COUNT-32: vpdpbusd
// V4: {{vperm[it]2b}}
// VNNI-COUNT-64: vpdpbusd
// VNNI-NOT: vpdpbusd
// VNNI-LABEL: slots.body:
// VNNI-COUNT-4: vpshufb
// V3-COUNT-64: vpmaddubsw
// V3-NOT: vpmaddubsw
// V3-LABEL: slots.body:
// V3-COUNT-4: vpshufb

// The loop over tiles begins with asking for codes; nothing in it is on the stack.
// STACK-LABEL: plain.body:
// STACK: prefetcht
// STACK-NOT: (%rsp)
// STACK: {{j[a-z]+[[:space:]]+\.LBB0_}}
// STACK-LABEL: slots.body:
// With slots, those of a tile are the innermost loop. 32 registers are enough for both.
// WIDE: prefetcht
// WIDE-NOT: (%rsp)
// WIDE: {{vperm[it]2b}}
// WIDE-NOT: (%rsp)
// WIDE: {{j[a-z]+[[:space:]]+\.LBB2_}}
// NARROW: vpshufb
// NARROW-NOT: (%rsp)
// NARROW: {{j[a-z]+[[:space:]]+\.LBB}}
func.func @plain(%x: !x, %s: !s, %w: !plain) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>]}
    : (!x, !s, !plain) -> !y
  return %y : !y
}
func.func @slots(%x: !x, %s: !s, %w: !slots) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = sorted, circuit = tiles, little>]}
    : (!x, !s, !slots) -> !y
  return %y : !y
}
