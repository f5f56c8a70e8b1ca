// RUN: tacq-opt %s --tacq-recognize-attention=remarks --tacq-cleanup-views 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

!q = tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>>
!qt = tensor<?x4x?x8xf32, #tacq.shape<["b", "4", "s", "8"]>>
!kv = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!kvt = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "s", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p", "8"]>>
!all = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p + s", "8"]>>
!split = tensor<?x2x1x?x8xf32, #tacq.shape<["b", "2", "1", "p + s", "8"]>>
!spread = tensor<?x2x2x?x8xf32, #tacq.shape<["b", "2", "2", "p + s", "8"]>>
!heads = tensor<?x4x?x8xf32, #tacq.shape<["b", "4", "p + s", "8"]>>
!headst = tensor<?x4x8x?xf32, #tacq.shape<["b", "4", "8", "p + s"]>>
!scores = tensor<?x4x?x?xf32, #tacq.shape<["b", "4", "s", "p + s"]>>
!bits = tensor<?x4x?x?xi1, #tacq.shape<["b", "4", "s", "p + s"]>>
!queries = tensor<?xi64, #tacq.shape<["s"]>>
!keys = tensor<?xi64, #tacq.shape<["p + s"]>>
!column = tensor<?x1xi64, #tacq.shape<["s", "1"]>>
!square = tensor<?x?xi1, #tacq.shape<["s", "p + s"]>>
!mask = tensor<?x?xi64, #tacq.shape<["b", "t"]>>
!flag = tensor<?x?xi1, #tacq.shape<["b", "t"]>>
!flags = tensor<?x1x1x?xi1, #tacq.shape<["b", "1", "1", "t"]>>

// No cache: [b, 4, s, 8] three times.
!kt = tensor<?x4x8x?xf32, #tacq.shape<["b", "4", "8", "s"]>>
!plain = tensor<?x4x?x?xf32, #tacq.shape<["b", "4", "s", "s"]>>

// A cache, key heads that are repeated, a causal mask of which the queries start behind the cache, a
// mask of keys, a guard against rows without keys. The scale is in front of the product.
// CHECK-LABEL: func.func @cached
// CHECK-SAME: %[[Q:.*]]: tensor<?x?x4x8xf32, {{.*}}, %[[K:.*]]: tensor<?x?x2x8xf32, {{.*}}, %[[V:.*]]: tensor<?x?x2x8xf32, {{.*}}, %[[PK:.*]]: tensor<?x2x?x8xf32, {{.*}}, %[[PV:.*]]: tensor<?x2x?x8xf32, {{.*}}, %[[M:.*]]: tensor<?x?xi64
// CHECK: tacq.require "t", "p + s", "axis 1 of input 'attention_mask' must have the size p + s (p is axis 2 of 'past_key', s is axis 1 of 'query')"
// CHECK: %out, %present:2 = tacq.attention %[[Q]], %[[K]], %[[V]] past(%[[PK]], %[[PV]]) key_mask(%[[M]]) {causal, node_name = "weighted", {{.*}}scale = 5.000000e-01 : f64}
// CHECK-NEXT: return %out, %present#0, %present#1
// REMARK: attention recognized at node 'weighted': causal, with a mask of keys, with a cache
func.func @cached(%q: !q {tacq.name = "query"}, %k: !kv {tacq.name = "key"}, %v: !kv {tacq.name = "value"}, %pk: !past {tacq.name = "past_key"}, %pv: !past {tacq.name = "past_value"}, %m: !mask {tacq.name = "attention_mask"}) -> (!q, !all, !all) {
  %one = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %two = tacq.constant dense<2> : tensor<1xi64> : tensor<1xi64>
  %middle = tacq.constant dense<[1, 2]> : tensor<2xi64> : tensor<2xi64>
  %spread = tacq.symbolic ["b", "2", "2", "p + s", "8"] : tensor<5xi64>
  %merged = tacq.symbolic ["b", "4", "p + s", "8"] : tensor<4xi64>
  %first = tacq.constant dense<0> : tensor<i64> : tensor<i64>
  %step = tacq.constant dense<1> : tensor<i64> : tensor<i64>
  %s = tacq.symbolic ["s"] : tensor<i64>
  %p = tacq.symbolic ["p"] : tensor<i64>
  %t = tacq.symbolic ["p + s"] : tensor<i64>
  %half = tacq.constant dense<0.5> : tensor<f32> : tensor<f32>
  %zero = tacq.constant dense<0.0> : tensor<f32> : tensor<f32>
  %hidden = tacq.constant dense<0xFF800000> : tensor<f32> : tensor<f32>
  %qt = tacq.node "Transpose" opset 18 (%q) {perm = array<i64: 0, 2, 1, 3>} : (!q) -> !qt
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 2, 1, 3>} : (!kv) -> !kvt
  %vt = tacq.node "Transpose" opset 18 (%v) {perm = array<i64: 0, 2, 1, 3>} : (!kv) -> !kvt
  %ak = tacq.node "Concat" opset 18 (%pk, %kt) {axis = -2 : i64} : (!past, !kvt) -> !all
  %av = tacq.node "Concat" opset 18 (%pv, %vt) {axis = 2 : i64} : (!past, !kvt) -> !all
  %k1 = tacq.node "Unsqueeze" opset 18 (%ak, %two) : (!all, tensor<1xi64>) -> !split
  %k2 = tacq.node "Expand" opset 18 (%k1, %spread) : (!split, tensor<5xi64>) -> !spread
  %k3 = tacq.node "Reshape" opset 18 (%k2, %merged) : (!spread, tensor<4xi64>) -> !heads
  %k4 = tacq.node "Transpose" opset 18 (%k3) {perm = array<i64: 0, 1, 3, 2>} : (!heads) -> !headst
  %v1 = tacq.node "Unsqueeze" opset 18 (%av, %two) : (!all, tensor<1xi64>) -> !split
  %v2 = tacq.node "Expand" opset 18 (%v1, %spread) : (!split, tensor<5xi64>) -> !spread
  %v3 = tacq.node "Reshape" opset 18 (%v2, %merged) : (!spread, tensor<4xi64>) -> !heads
  %queries = tacq.node "Range" opset 18 (%first, %s, %step) : (tensor<i64>, tensor<i64>, tensor<i64>) -> !queries
  %keys = tacq.node "Range" opset 18 (%first, %t, %step) : (tensor<i64>, tensor<i64>, tensor<i64>) -> !keys
  %positions = tacq.node "Add" opset 18 (%queries, %p) : (!queries, tensor<i64>) -> !queries
  %column = tacq.node "Unsqueeze" opset 18 (%positions, %one) : (!queries, tensor<1xi64>) -> !column
  %causal = tacq.node "LessOrEqual" opset 18 (%keys, %column) : (!keys, !column) -> !square
  %flag = tacq.node "Cast" opset 18 (%m) {to = 9 : i64} : (!mask) -> !flag
  %flags = tacq.node "Unsqueeze" opset 18 (%flag, %middle) : (!flag, tensor<2xi64>) -> !flags
  %both = tacq.node "And" opset 18 (%causal, %flags) : (!square, !flags) -> !bits
  %mask = tacq.node "Where" opset 18 (%both, %zero, %hidden) : (!bits, tensor<f32>, tensor<f32>) -> !scores
  %scaled = tacq.node "Mul" opset 18 (%qt, %half) : (!qt, tensor<f32>) -> !qt
  %0 = tacq.node "MatMul" opset 18 (%scaled, %k4) : (!qt, !headst) -> !scores
  %1 = tacq.node "Add" opset 18 (%0, %mask) : (!scores, !scores) -> !scores
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!scores) -> !scores
  %3 = tacq.node "IsNaN" opset 18 (%2) : (!scores) -> !bits
  %4 = tacq.node "Where" opset 18 (%3, %zero, %2) : (!bits, tensor<f32>, !scores) -> !scores
  %5 = tacq.node "MatMul" opset 18 (%4, %v3) named "weighted" : (!scores, !heads) -> !qt
  %6 = tacq.node "Transpose" opset 18 (%5) {perm = array<i64: 0, 2, 1, 3>} : (!qt) -> !q
  return %6, %ak, %av : !q, !all, !all
}

// A query that does not see itself: no predicate of the kernel's. The mask stays a tensor.
// CHECK-LABEL: func.func @strict
// CHECK: %[[MASK:.*]] = tacq.node "Where"
// CHECK: tacq.attention {{.*}} past(%{{.*}}, %{{.*}}) bias(%[[MASK]]) {node_name = "strict"
// REMARK: attention at node 'strict': the mask is neither causal nor a mask of keys; it stays a tensor that is added to the scores
// REMARK: attention recognized at node 'strict': every key visible, with a cache, with a bias
func.func @strict(%q: !q {tacq.name = "query"}, %k: !kv {tacq.name = "key"}, %v: !kv {tacq.name = "value"}, %pk: !past {tacq.name = "past_key"}, %pv: !past {tacq.name = "past_value"}, %m: !mask {tacq.name = "attention_mask"}) -> (!q, !all, !all) {
  %one = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %two = tacq.constant dense<2> : tensor<1xi64> : tensor<1xi64>
  %middle = tacq.constant dense<[1, 2]> : tensor<2xi64> : tensor<2xi64>
  %spread = tacq.symbolic ["b", "2", "2", "p + s", "8"] : tensor<5xi64>
  %merged = tacq.symbolic ["b", "4", "p + s", "8"] : tensor<4xi64>
  %first = tacq.constant dense<0> : tensor<i64> : tensor<i64>
  %step = tacq.constant dense<1> : tensor<i64> : tensor<i64>
  %s = tacq.symbolic ["s"] : tensor<i64>
  %p = tacq.symbolic ["p"] : tensor<i64>
  %t = tacq.symbolic ["p + s"] : tensor<i64>
  %half = tacq.constant dense<0.5> : tensor<f32> : tensor<f32>
  %zero = tacq.constant dense<0.0> : tensor<f32> : tensor<f32>
  %hidden = tacq.constant dense<0xFF800000> : tensor<f32> : tensor<f32>
  %qt = tacq.node "Transpose" opset 18 (%q) {perm = array<i64: 0, 2, 1, 3>} : (!q) -> !qt
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 2, 1, 3>} : (!kv) -> !kvt
  %vt = tacq.node "Transpose" opset 18 (%v) {perm = array<i64: 0, 2, 1, 3>} : (!kv) -> !kvt
  %ak = tacq.node "Concat" opset 18 (%pk, %kt) {axis = -2 : i64} : (!past, !kvt) -> !all
  %av = tacq.node "Concat" opset 18 (%pv, %vt) {axis = 2 : i64} : (!past, !kvt) -> !all
  %k1 = tacq.node "Unsqueeze" opset 18 (%ak, %two) : (!all, tensor<1xi64>) -> !split
  %k2 = tacq.node "Expand" opset 18 (%k1, %spread) : (!split, tensor<5xi64>) -> !spread
  %k3 = tacq.node "Reshape" opset 18 (%k2, %merged) : (!spread, tensor<4xi64>) -> !heads
  %k4 = tacq.node "Transpose" opset 18 (%k3) {perm = array<i64: 0, 1, 3, 2>} : (!heads) -> !headst
  %v1 = tacq.node "Unsqueeze" opset 18 (%av, %two) : (!all, tensor<1xi64>) -> !split
  %v2 = tacq.node "Expand" opset 18 (%v1, %spread) : (!split, tensor<5xi64>) -> !spread
  %v3 = tacq.node "Reshape" opset 18 (%v2, %merged) : (!spread, tensor<4xi64>) -> !heads
  %queries = tacq.node "Range" opset 18 (%first, %s, %step) : (tensor<i64>, tensor<i64>, tensor<i64>) -> !queries
  %keys = tacq.node "Range" opset 18 (%first, %t, %step) : (tensor<i64>, tensor<i64>, tensor<i64>) -> !keys
  %positions = tacq.node "Add" opset 18 (%queries, %p) : (!queries, tensor<i64>) -> !queries
  %column = tacq.node "Unsqueeze" opset 18 (%positions, %one) : (!queries, tensor<1xi64>) -> !column
  %causal = tacq.node "Less" opset 18 (%keys, %column) : (!keys, !column) -> !square
  %flag = tacq.node "Cast" opset 18 (%m) {to = 9 : i64} : (!mask) -> !flag
  %flags = tacq.node "Unsqueeze" opset 18 (%flag, %middle) : (!flag, tensor<2xi64>) -> !flags
  %both = tacq.node "And" opset 18 (%causal, %flags) : (!square, !flags) -> !bits
  %mask = tacq.node "Where" opset 18 (%both, %zero, %hidden) : (!bits, tensor<f32>, tensor<f32>) -> !scores
  %scaled = tacq.node "Mul" opset 18 (%qt, %half) : (!qt, tensor<f32>) -> !qt
  %0 = tacq.node "MatMul" opset 18 (%scaled, %k4) : (!qt, !headst) -> !scores
  %1 = tacq.node "Add" opset 18 (%0, %mask) : (!scores, !scores) -> !scores
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!scores) -> !scores
  %3 = tacq.node "IsNaN" opset 18 (%2) : (!scores) -> !bits
  %4 = tacq.node "Where" opset 18 (%3, %zero, %2) : (!bits, tensor<f32>, !scores) -> !scores
  %5 = tacq.node "MatMul" opset 18 (%4, %v3) named "strict" : (!scores, !heads) -> !qt
  %6 = tacq.node "Transpose" opset 18 (%5) {perm = array<i64: 0, 2, 1, 3>} : (!qt) -> !q
  return %6, %ak, %av : !q, !all, !all
}

// No mask; the scores are divided by a constant. Heads come first and are brought behind the
// sequence.
// CHECK-LABEL: func.func @plain
// CHECK: %[[Q:.*]] = tacq.node "Transpose" {{.*}} (%arg0) {{.*}}{perm = array<i64: 0, 2, 1, 3>}
// CHECK: %[[K:.*]] = tacq.node "Transpose" {{.*}} (%arg1) {{.*}}{perm = array<i64: 0, 2, 1, 3>}
// CHECK: %[[V:.*]] = tacq.node "Transpose" {{.*}} (%arg2) {{.*}}{perm = array<i64: 0, 2, 1, 3>}
// CHECK: %[[O:.*]] = tacq.attention %[[Q]], %[[K]], %[[V]] {node_name = "plain", {{.*}}scale = 2.500000e-01 : f64}
// CHECK: tacq.node "Transpose" {{.*}} (%[[O]])
// REMARK: attention recognized at node 'plain': every key visible, without a cache
func.func @plain(%q: !qt, %k: !qt, %v: !qt) -> !qt {
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 1, 3, 2>} : (!qt) -> !kt
  %0 = tacq.node "MatMul" opset 18 (%q, %kt) : (!qt, !kt) -> !plain
  %root = tacq.constant dense<4.0> : tensor<f32> : tensor<f32>
  %1 = tacq.node "Div" opset 18 (%0, %root) : (!plain, tensor<f32>) -> !plain
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!plain) -> !plain
  %3 = tacq.node "MatMul" opset 18 (%2, %v) named "plain" : (!plain, !qt) -> !qt
  return %3 : !qt
}

// A causal mask made from a triangle of ones.
// CHECK-LABEL: func.func @triangle
// CHECK-NOT: Trilu
// CHECK: tacq.attention {{.*}} {causal, node_name = "triangle"
// REMARK: attention recognized at node 'triangle': causal, without a cache
func.func @triangle(%q: !qt, %k: !qt, %v: !qt) -> !qt {
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 1, 3, 2>} : (!qt) -> !kt
  %dims = tacq.symbolic ["s", "s"] : tensor<2xi64>
  %ones = tacq.node "ConstantOfShape" opset 18 (%dims) {value = dense<1.0> : tensor<1xf32>} : (tensor<2xi64>) -> tensor<?x?xf32, #tacq.shape<["s", "s"]>>
  %lower = tacq.node "Trilu" opset 18 (%ones) {upper = 0 : i64} : (tensor<?x?xf32, #tacq.shape<["s", "s"]>>) -> tensor<?x?xf32, #tacq.shape<["s", "s"]>>
  %unit = tacq.constant dense<1.0> : tensor<f32> : tensor<f32>
  %low = tacq.constant dense<-1.0e9> : tensor<f32> : tensor<f32>
  %above = tacq.node "Sub" opset 18 (%unit, %lower) : (tensor<f32>, tensor<?x?xf32, #tacq.shape<["s", "s"]>>) -> tensor<?x?xf32, #tacq.shape<["s", "s"]>>
  %mask = tacq.node "Mul" opset 18 (%above, %low) : (tensor<?x?xf32, #tacq.shape<["s", "s"]>>, tensor<f32>) -> tensor<?x?xf32, #tacq.shape<["s", "s"]>>
  %0 = tacq.node "MatMul" opset 18 (%q, %kt) : (!qt, !kt) -> !plain
  %1 = tacq.node "Add" opset 18 (%mask, %0) : (tensor<?x?xf32, #tacq.shape<["s", "s"]>>, !plain) -> !plain
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!plain) -> !plain
  %3 = tacq.node "MatMul" opset 18 (%2, %v) named "triangle" : (!plain, !qt) -> !qt
  return %3 : !qt
}

// A bias that is an input, the same for all of the batch.
// CHECK-LABEL: func.func @learned
// CHECK: tacq.attention {{.*}} bias(%arg3) {node_name = "learned"
// REMARK: attention at node 'learned': the mask depends on an input that is no integer tensor of two axes; it stays a tensor that is added to the scores
func.func @learned(%q: !qt, %k: !qt, %v: !qt, %bias: tensor<1x4x?x?xf32, #tacq.shape<["1", "4", "s", "s"]>>) -> !qt {
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 1, 3, 2>} : (!qt) -> !kt
  %0 = tacq.node "MatMul" opset 18 (%q, %kt) : (!qt, !kt) -> !plain
  %1 = tacq.node "Add" opset 18 (%0, %bias) : (!plain, tensor<1x4x?x?xf32, #tacq.shape<["1", "4", "s", "s"]>>) -> !plain
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!plain) -> !plain
  %3 = tacq.node "MatMul" opset 18 (%2, %v) named "learned" : (!plain, !qt) -> !qt
  return %3 : !qt
}

// CHECK-LABEL: func.func @looked_at
// CHECK-NOT: tacq.attention
// REMARK: no attention at node '': the probabilities are not used by exactly one product with values
func.func @looked_at(%q: !qt, %k: !qt, %v: !qt) -> (!qt, !plain) {
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 1, 3, 2>} : (!qt) -> !kt
  %0 = tacq.node "MatMul" opset 18 (%q, %kt) : (!qt, !kt) -> !plain
  %root = tacq.constant dense<4.0> : tensor<f32> : tensor<f32>
  %1 = tacq.node "Div" opset 18 (%0, %root) : (!plain, tensor<f32>) -> !plain
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = -1 : i64} : (!plain) -> !plain
  %3 = tacq.node "MatMul" opset 18 (%2, %v) named "looked_at" : (!plain, !qt) -> !qt
  return %3, %2 : !qt, !plain
}

// CHECK-LABEL: func.func @over_queries
// CHECK-NOT: tacq.attention
// REMARK: no attention at node '': the softmax is not over the last of four axes
func.func @over_queries(%q: !qt, %k: !qt, %v: !qt) -> !qt {
  %kt = tacq.node "Transpose" opset 18 (%k) {perm = array<i64: 0, 1, 3, 2>} : (!qt) -> !kt
  %0 = tacq.node "MatMul" opset 18 (%q, %kt) : (!qt, !kt) -> !plain
  %root = tacq.constant dense<4.0> : tensor<f32> : tensor<f32>
  %1 = tacq.node "Div" opset 18 (%0, %root) : (!plain, tensor<f32>) -> !plain
  %2 = tacq.node "Softmax" opset 18 (%1) {axis = 2 : i64} : (!plain) -> !plain
  %3 = tacq.node "MatMul" opset 18 (%2, %v) named "over_queries" : (!plain, !qt) -> !qt
  return %3 : !qt
}
