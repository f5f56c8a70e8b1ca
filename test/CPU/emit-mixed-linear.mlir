// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4 | FileCheck %s --check-prefixes=CHECK,V4
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v3 | FileCheck %s --check-prefixes=CHECK,V3

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// Four rows of tiles, two for a task. The weight is bytes.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xi8>, %[[S:[^:]*]]: memref<?xf32>, %[[W:[^:]*]]: memref<?xi8>, %[[Y:[^:]*]]: memref<?xf32>,
// CHECK-SAME: tacq.tasks = "2*floordiv(rows + 95, 96)"
// One row: the codes of a tile are multiplied in registers, where they are in their bytes; the
// slots' columns are looked up.
// CHECK: scf.if
// CHECK: memref.prefetch %[[W]]
// V4-COUNT-32: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
// V4-NOT: vpdpbusd
// V3-COUNT-64: llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"
// CHECK: scf.for
// V4: llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.qi.512"
// V3-COUNT-4: llvm.call_intrinsic "llvm.x86.avx2.pshuf.b"
// CHECK: vector.scatter %[[Y]]
// CHECK: } else {
// Several rows: decoded tiles on the stack; sums of twelve rows by two panels (v4), of three by one
// panel of two halves (v3).
// V4: scf.for {{.*}} -> (vector<16xi32>
// V4-COUNT-48: vpdpbusd
// V4: scf.yield
// V3: scf.for {{.*}} -> (vector<8xi32>
// V3-COUNT-12: pmadd.ub.sw
// V3: scf.yield
// CHECK: vector.scatter %[[Y]]
func.func @linear(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {weight_order = [0 : i32], node_name = "y",
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = sorted, circuit = tiles, little>]}
    : (!x, !s, !w) -> !y
  return %y : !y
}

!f = tensor<?x300xf16, #tacq.shape<["rows", "300"]>>
!q = tensor<?x384xi8, #tacq.shape<["rows", "384"]>>
!t = tensor<?x5x2xf32, #tacq.shape<["rows", "5", "2"]>>

// A row a task: four whole blocks and one of 44 columns; zeros from 304 on.
// CHECK-LABEL: func.func @quantize
// CHECK-SAME: tacq.tasks = "rows"
// CHECK: vector.reduction <maxui>
// CHECK-COUNT-4: math.roundeven
// CHECK: vector.reduction <add>
// CHECK: vector.maskedload
func.func @quantize(%x: !f) -> (!q, !t) {
  %q, %s = tacq.quantize_rows %x {block = 64 : i64, node_name = "q"} : (!f) -> (!q, !t)
  return %q, %s : !q, !t
}
