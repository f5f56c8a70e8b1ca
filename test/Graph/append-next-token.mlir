// RUN: tacq-opt %s --tacq-append-next-token | FileCheck %s

!logits = tensor<?x?x256xf32, #tacq.shape<["batch", "sequence", "256"]>>
!cache = tensor<?x4x8xf32, #tacq.shape<["batch", "4", "8"]>>

// The logits are the result of that name.
// CHECK-LABEL: func.func @named
// CHECK-SAME: -> (tensor<?x?x256xf32, {{.*}}> {tacq.name = "logits"}, tensor<?x4x8xf32, {{.*}}> {tacq.name = "hidden"}, tensor<?x1xi64, #tacq.shape<["batch", "1"]>> {tacq.name = "next_token"})
// CHECK: %[[LAST:.*]] = tacq.constant dense<-1> : tensor<1xi64>
// CHECK: %[[ROW:.*]] = tacq.node "Gather" opset 13 (%arg0, %[[LAST]]) named "next_token" {axis = 1 : i64}
// CHECK-SAME: -> tensor<?x1x256xf32
// CHECK: %[[TOKEN:.*]] = tacq.node "ArgMax" opset 13 (%[[ROW]]) named "next_token" {axis = 2 : i64, keepdims = 0 : i64}
// CHECK: return %arg0, %arg1, %[[TOKEN]]
func.func @named(%x: !logits, %h: !cache) -> (!logits {tacq.name = "logits"}, !cache {tacq.name = "hidden"}) {
  return %x, %h : !logits, !cache
}

// Or the only one that can be.
// CHECK-LABEL: func.func @only
// CHECK: tacq.node "ArgMax"
func.func @only(%x: !logits, %i: tensor<4xi64>) -> (!logits {tacq.name = "y"}, tensor<4xi64> {tacq.name = "z"}) {
  return %x, %i : !logits, tensor<4xi64>
}

// Of two, neither is known to be.
// CHECK-LABEL: func.func @unknown
// CHECK-NOT: ArgMax
func.func @unknown(%x: !logits, %h: !cache) -> (!logits {tacq.name = "y"}, !cache {tacq.name = "z"}) {
  return %x, %h : !logits, !cache
}

// The name is taken.
// CHECK-LABEL: func.func @taken
// CHECK-NOT: ArgMax
func.func @taken(%x: !logits) -> (!logits {tacq.name = "next_token"}) {
  return %x : !logits
}
