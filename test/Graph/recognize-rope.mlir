// RUN: tacq-opt %s --tacq-recognize-rope=remarks --tacq-cleanup-views 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

!f = tensor<?x?x32xf32, #tacq.shape<["b", "s", "32"]>>
!bshd = tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>>
!bhsd = tensor<?x4x?x8xf32, #tacq.shape<["b", "4", "s", "8"]>>
!half = tensor<?x4x?x4xf32, #tacq.shape<["b", "4", "s", "4"]>>
!angle = tensor<?x?x4xf32, #tacq.shape<["b", "s", "4"]>>
!table = tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>>
!wide = tensor<?x1x?x8xf32, #tacq.shape<["b", "1", "s", "8"]>>

// The transposition of x is undone, the tables are halved, their head axis goes.
// CHECK-LABEL: func.func @rotate_half
// CHECK-SAME: %[[X:.*]]: tensor<?x?x32xf32, {{.*}}, %[[A:.*]]: tensor<?x?x4xf32
// CHECK-DAG: %[[C:.*]] = tacq.node "Cos" {{.*}} (%[[A]])
// CHECK-DAG: %[[S:.*]] = tacq.node "Sin" {{.*}} (%[[A]])
// CHECK-DAG: %[[Q:.*]] = tacq.node "Reshape" {{.*}} (%[[X]], %{{.*}}) {{.*}} -> tensor<?x?x4x8xf32
// CHECK: %[[R:.*]] = tacq.rope %[[Q]], %[[C]], %[[S]] {node_name = "sum"}
// CHECK: %[[T:.*]] = tacq.node "Transpose" {{.*}} (%[[R]]) {{.*}}{perm = array<i64: 0, 2, 1, 3>}
// CHECK-NEXT: return %[[T]]
func.func @rotate_half(%f: !f, %a: !angle) -> !bhsd {
  %shape = tacq.symbolic ["b", "s", "4", "8"] : tensor<4xi64>
  %zero = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %one = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %three = tacq.constant dense<3> : tensor<1xi64> : tensor<1xi64>
  %four = tacq.constant dense<4> : tensor<1xi64> : tensor<1xi64>
  %end = tacq.constant dense<9223372036854775807> : tensor<1xi64> : tensor<1xi64>
  %twice = tacq.node "Concat" opset 18 (%a, %a) {axis = -1 : i64} : (!angle, !angle) -> !table
  %cos = tacq.node "Cos" opset 18 (%twice) : (!table) -> !table
  %sin = tacq.node "Sin" opset 18 (%twice) : (!table) -> !table
  %c = tacq.node "Unsqueeze" opset 18 (%cos, %one) : (!table, tensor<1xi64>) -> !wide
  %s = tacq.node "Unsqueeze" opset 18 (%sin, %one) : (!table, tensor<1xi64>) -> !wide
  %r = tacq.node "Reshape" opset 18 (%f, %shape) : (!f, tensor<4xi64>) -> !bshd
  %x = tacq.node "Transpose" opset 18 (%r) {perm = array<i64: 0, 2, 1, 3>} : (!bshd) -> !bhsd
  %0 = tacq.node "Mul" opset 18 (%x, %c) : (!bhsd, !wide) -> !bhsd
  %lo = tacq.node "Slice" opset 18 (%x, %zero, %four, %three, %one) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %hi = tacq.node "Slice" opset 18 (%x, %four, %end, %three, %one) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %neg = tacq.node "Neg" opset 18 (%hi) : (!half) -> !half
  %rot = tacq.node "Concat" opset 18 (%neg, %lo) {axis = -1 : i64} : (!half, !half) -> !bhsd
  %1 = tacq.node "Mul" opset 18 (%rot, %s) : (!bhsd, !wide) -> !bhsd
  %2 = tacq.node "Add" opset 18 (%0, %1) named "sum" : (!bhsd, !bhsd) -> !bhsd
  return %2 : !bhsd
}

// CHECK-LABEL: func.func @unknown_halves
// CHECK-NOT: tacq.rope
// REMARK: no rotary embedding at node 'unknown': the two halves of a table are not known to be equal
func.func @unknown_halves(%x: !bhsd, %c: !wide, %s: !wide) -> !bhsd {
  %zero = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %three = tacq.constant dense<3> : tensor<1xi64> : tensor<1xi64>
  %four = tacq.constant dense<4> : tensor<1xi64> : tensor<1xi64>
  %end = tacq.constant dense<8> : tensor<1xi64> : tensor<1xi64>
  %0 = tacq.node "Mul" opset 18 (%x, %c) : (!bhsd, !wide) -> !bhsd
  %lo = tacq.node "Slice" opset 18 (%x, %zero, %four, %three) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %hi = tacq.node "Slice" opset 18 (%x, %four, %end, %three) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %neg = tacq.node "Neg" opset 18 (%hi) : (!half) -> !half
  %rot = tacq.node "Concat" opset 18 (%neg, %lo) {axis = 3 : i64} : (!half, !half) -> !bhsd
  %1 = tacq.node "Mul" opset 18 (%rot, %s) : (!bhsd, !wide) -> !bhsd
  %2 = tacq.node "Add" opset 18 (%1, %0) named "unknown" : (!bhsd, !bhsd) -> !bhsd
  return %2 : !bhsd
}

// The halves are swapped without a sign: this is no rotation.
// CHECK-LABEL: func.func @no_sign
// CHECK-NOT: tacq.rope
func.func @no_sign(%x: !bhsd, %c: !wide, %s: !wide) -> !bhsd {
  %zero = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %three = tacq.constant dense<3> : tensor<1xi64> : tensor<1xi64>
  %four = tacq.constant dense<4> : tensor<1xi64> : tensor<1xi64>
  %end = tacq.constant dense<8> : tensor<1xi64> : tensor<1xi64>
  %0 = tacq.node "Mul" opset 18 (%x, %c) : (!bhsd, !wide) -> !bhsd
  %lo = tacq.node "Slice" opset 18 (%x, %zero, %four, %three) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %hi = tacq.node "Slice" opset 18 (%x, %four, %end, %three) : (!bhsd, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !half
  %rot = tacq.node "Concat" opset 18 (%hi, %lo) {axis = 3 : i64} : (!half, !half) -> !bhsd
  %1 = tacq.node "Mul" opset 18 (%rot, %s) : (!bhsd, !wide) -> !bhsd
  %2 = tacq.node "Add" opset 18 (%1, %0) : (!bhsd, !bhsd) -> !bhsd
  return %2 : !bhsd
}

// CHECK-LABEL: func.func @node
// CHECK: %[[C:.*]] = tacq.node "Gather" {{.*}} (%arg1, %arg3)
// CHECK: %[[S:.*]] = tacq.node "Gather" {{.*}} (%arg2, %arg3)
// CHECK: %[[X:.*]] = tacq.node "Reshape" {{.*}} (%arg0, %{{.*}}) {{.*}} -> tensor<?x?x4x8xf32
// CHECK: %[[R:.*]] = tacq.rope %[[X]], %[[C]], %[[S]] {interleaved
// CHECK: tacq.node "Reshape" {{.*}} (%[[R]], %{{.*}}) {{.*}} -> tensor<?x?x32xf32
func.func @node(%x: !f, %c: tensor<64x4xf32>, %s: tensor<64x4xf32>, %p: tensor<?x?xi64, #tacq.shape<["b", "s"]>>) -> !f {
  %0 = tacq.node "RotaryEmbedding" opset 23 (%x, %c, %s, %p) {interleaved = 1 : i64, num_heads = 4 : i64} : (!f, tensor<64x4xf32>, tensor<64x4xf32>, tensor<?x?xi64, #tacq.shape<["b", "s"]>>) -> !f
  return %0 : !f
}
