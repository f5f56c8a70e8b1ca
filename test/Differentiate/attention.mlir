// RUN: tacq-opt %s --split-input-file --tacq-differentiate='parameters=q,k,v' | FileCheck %s

!q = tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>>
!k = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>

// One operation for all three; the gradients of query heads that share a key head are added up.
// CHECK: func.func @main(%[[Q:.*]]: {{.*}}, %[[K:.*]]: {{.*}}, %[[V:.*]]: {{.*}})
// CHECK: %[[OUT:.*]] = tacq.attention %[[Q]], %[[K]], %[[V]] {causal
// CHECK: %[[GQ:.*]], %[[GK:.*]], %[[GV:.*]] = tacq.attention_grad %{{.*}} of %[[Q]], %[[K]], %[[V]] to %[[OUT]] {causal, node_name = "gradient of a", scale = 5.000000e-01 : f64}
// CHECK: tacq.node "ReduceSum"
// CHECK: tacq.node "ReduceSum"
// CHECK: return %{{.*}}, %[[GQ]]
func.func @main(%q: !q {tacq.name = "q"}, %k: !k {tacq.name = "k"}, %v: !k {tacq.name = "v"}) -> (tensor<f32> {tacq.name = "loss"}) {
  %out = tacq.attention %q, %k, %v {causal, node_name = "a", scale = 0.5 : f64} : (!q, !k, !k) -> !q
  %loss = tacq.node "ReduceSumSquare" opset 18 (%out) named "s" {keepdims = 0 : i64} : (!q) -> tensor<f32>
  return %loss : tensor<f32>
}
