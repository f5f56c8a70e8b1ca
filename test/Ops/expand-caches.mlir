// RUN: tacq-opt %s --pass-pipeline='builtin.module(func.func(tacq-decompose))' | FileCheck %s

!q = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p + s", "8"]>>

// CHECK-LABEL: func.func @in_place
// CHECK: tacq.attention {{.*}} past(
func.func @in_place(%q: !q, %pk: !past, %pv: !past) -> (!q, !present, !present) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%pk, %pv) {scale = 1.0 : f64, causal, node_name = "a"} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  return %o, %k, %v : !q, !present, !present
}

// One present is no output of the model: both are concatenations, and causality is in the bias.
// CHECK-LABEL: func.func @no_output
// CHECK: %[[K:.*]] = tacq.node "Concat"
// CHECK: %[[V:.*]] = tacq.node "Concat"
// CHECK: %[[BIAS:.*]] = tacq.node "Where"
// CHECK-NOT: past(
// CHECK-NOT: causal
// CHECK: tacq.attention {{.*}} bias(%[[BIAS]])
// CHECK: return %{{.*}}, %[[K]]
func.func @no_output(%q: !q, %pk: !past, %pv: !past) -> (!q, !present) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%pk, %pv) {scale = 1.0 : f64, causal, node_name = "a"} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  return %o, %k : !q, !present
}

// CHECK-LABEL: func.func @past_used
// CHECK: tacq.node "Concat"
// CHECK-NOT: past(
// CHECK: return
func.func @past_used(%q: !q, %pk: !past, %pv: !past) -> (!q, !present, !present, !past) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%pk, %pv) {scale = 1.0 : f64, node_name = "a"} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  return %o, %k, %v, %pk : !q, !present, !present, !past
}

// One tensor as both caches cannot be appended to twice.
// CHECK-LABEL: func.func @one_past
// CHECK-NOT: past(
// CHECK: return
func.func @one_past(%q: !q, %p: !past) -> (!q, !present, !present) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%p, %p) {scale = 1.0 : f64, node_name = "a"} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  return %o, %k, %v : !q, !present, !present
}

// A past of a fixed extent is no cache that grows from call to call.
// CHECK-LABEL: func.func @fixed_past
// CHECK-NOT: past(
// CHECK: return
func.func @fixed_past(%q: tensor<1x2x2x8xf32>, %pk: tensor<1x2x3x8xf32>, %pv: tensor<1x2x3x8xf32>) -> (tensor<1x2x2x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%pk, %pv) {scale = 1.0 : f64, node_name = "a"} : (tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x2x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>) -> (tensor<1x2x2x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>)
  return %o, %k, %v : tensor<1x2x2x8xf32>, tensor<1x2x5x8xf32>, tensor<1x2x5x8xf32>
}
