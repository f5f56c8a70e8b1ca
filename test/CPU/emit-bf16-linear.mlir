// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4+amx | FileCheck %s --check-prefixes=CHECK,AMX
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4 | FileCheck %s --check-prefixes=CHECK,V4 --implicit-check-not=llvm.call_intrinsic
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4+amx | tacq-translate - --kernels-to-assembly --target=x86-64-v4+amx | FileCheck %s --check-prefix=CODE

!x = tensor<?x320xf32, #tacq.shape<["rows", "320"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>

// As many tasks on every target. One row is a product of vectors; more go through tiles, a piece of
// 256 columns and one of 64: first what is rounded, then two by two tiles at a time.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: tacq.tasks = "floordiv(rows + 95, 96)"
// CHECK: scf.if
// CHECK: math.fma
// CHECK: } else {
// V4: math.fma
// AMX: llvm.x86.ldtilecfg
// AMX: scf.for
// AMX-COUNT-5: llvm.x86.avx512bf16.cvtne2ps2bf16.512
// AMX-COUNT-4: llvm.x86.tileloadd64
// AMX: scf.for
// AMX-COUNT-4: llvm.x86.tdpbf16ps
// AMX: llvm.x86.tilestored64
// AMX: llvm.x86.avx512bf16.cvtne2ps2bf16.512
// AMX: llvm.x86.tilerelease
// CODE: vcvtne2ps2bf16
// CODE: vpermw
// CODE: tdpbf16ps
func.func @linear(%x: !x, %w: tensor<64x320xf32>) -> !y {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], allow_bf16,
    weight_layouts = [#tacq.panel<16, f32>], node_name = "y"} : (!x, tensor<64x320xf32>) -> !y
  return %y : !y
}

!odd = tensor<?x40xf32, #tacq.shape<["rows", "40"]>>

// Tiles take 32 columns at a time.
// CHECK-LABEL: func.func @odd
// AMX-NOT: tdpbf16ps
func.func @odd(%x: !odd, %w: tensor<64x40xf32>) -> !y {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], allow_bf16,
    weight_layouts = [#tacq.panel<16, f32>], node_name = "y"} : (!odd, tensor<64x40xf32>) -> !y
  return %y : !y
}
