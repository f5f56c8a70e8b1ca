// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper capacity=c" | FileCheck %s
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels="profile=nvidia-hopper capacity=c append" | FileCheck %s --check-prefix=APPEND

!q = tensor<1x?x4x64xf16, #tacq.shape<["1", "s", "4", "64"]>>
!kv = tensor<1x?x2x64xf16, #tacq.shape<["1", "s", "2", "64"]>>
!t = tensor<1x?x32xf16, #tacq.shape<["1", "s", "32"]>>
!past = tensor<1x2x?x64xf16, #tacq.shape<["1", "2", "p", "64"]>>
!present = tensor<1x2x?x64xf16, #tacq.shape<["1", "2", "p + s", "64"]>>

// A single query is rotated where it attends; the first subgroup rotates its key, and stores it.
// CHECK-LABEL: func.func @rotated
// CHECK-SAME: tacq.workgroup = 512 : i32
// CHECK: %[[SINGLE:.*]] = arith.cmpi sle
// CHECK: scf.if %[[SINGLE]]
// CHECK: scf.for
// CHECK: %[[FIRST:.*]] = arith.andi %[[SINGLE]]
// CHECK: scf.if %[[FIRST]]
// CHECK: memref.store

// The kernel that appends has nothing to do then.
// APPEND-LABEL: func.func @rotated
// APPEND-NOT: tacq.workgroup
// APPEND: memref.store
func.func @rotated(%q: !q, %k: !kv, %v: !kv, %c: !t, %s: !t, %pk: !past, %pv: !past) -> (!q, !present, !present, !q) {
  %rq = tacq.rope %q, %c, %s {node_name = "rq"} : (!q, !t, !t) -> !q
  %rk = tacq.rope %k, %c, %s {node_name = "rk"} : (!kv, !t, !t) -> !kv
  %y:3 = tacq.attention %rq, %rk, %v past(%pk, %pv) {scale = 0.25 : f64, causal,
    resultSegmentSizes = array<i32: 1, 1, 1>, node_name = "y"}
    : (!q, !kv, !kv, !past, !past) -> (!q, !present, !present)
  return %y#0, %y#1, %y#2, %rq : !q, !present, !present, !q
}
