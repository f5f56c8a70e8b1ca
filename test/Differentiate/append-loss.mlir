// RUN: tacq-opt %s --split-input-file --tacq-append-loss | FileCheck %s
// RUN: tacq-opt %s --split-input-file --tacq-append-loss='kind=mse output=logits' | FileCheck %s --check-prefix=MSE
// RUN: tacq-opt %s --split-input-file --tacq-append-loss='kind=kl' | FileCheck %s --check-prefix=KL

!x = tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>>

// The labels are shifted to the positions that predict them; ignored ones count neither in the sum
// nor in the number.
// CHECK: func.func @main(%arg0: tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>> {tacq.name = "x"}, %[[LABELS:.*]]: tensor<?x?xi64, #tacq.shape<["b", "s"]>> {tacq.name = "labels"}) -> (tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>> {tacq.name = "other"}, tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>> {tacq.name = "logits"}, tensor<f32> {tacq.name = "loss"})
// CHECK: %[[SHIFTED:.*]] = tacq.node "Gather" opset 21 (%[[LABELS]], %{{.*}}) named "loss" {axis = 1 : i64}
// CHECK: %[[LABEL:.*]] = tacq.node "Where" opset 21 (%{{.*}}, %[[SHIFTED]], %[[IGNORED:[a-z_0-9]+]])
// CHECK: %[[ISIGNORED:.*]] = tacq.node "Equal" opset 21 (%[[LABEL]], %[[IGNORED]])
// CHECK: %[[LOG:.*]] = tacq.node "LogSoftmax" opset 21 (%arg0) named "loss" {axis = -1 : i64}
// CHECK: tacq.node "GatherElements" opset 21 (%[[LOG]], %{{.*}}) named "loss" {axis = 2 : i64}
// CHECK: tacq.node "Where" opset 21 (%[[ISIGNORED]], %{{.*}}, %{{.*}})
// CHECK: tacq.node "ReduceSum"
// CHECK: tacq.node "ReduceSum"
// CHECK: tacq.node "Max"
// CHECK: %[[LOSS:.*]] = tacq.node "Neg"
// CHECK: return %arg0, %arg0, %[[LOSS]]

// MSE: func.func @main(%arg0: {{.*}}, %[[TARGET:arg1]]: tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>> {tacq.name = "target"})
// MSE: %[[D:.*]] = tacq.node "Sub" opset 21 (%arg0, %[[TARGET]])
// MSE: %[[SQUARE:.*]] = tacq.node "Mul" opset 21 (%[[D]], %[[D]])
// MSE: %[[LOSS:.*]] = tacq.node "ReduceMean" opset 21 (%[[SQUARE]]) named "loss" {keepdims = 0 : i64
// MSE: return %arg0, %arg0, %[[LOSS]]

// The positions are those of cross-entropy.
// KL: func.func @main(%arg0: {{.*}}, %[[LABELS:arg1]]: {{.*}} {tacq.name = "labels"}, %[[P:arg2]]: tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>> {tacq.name = "reference_logits"})
// KL: %[[SHIFTED:.*]] = tacq.node "Gather" opset 21 (%[[LABELS]],
// KL: %[[ISIGNORED:.*]] = tacq.node "Equal"
// KL: %[[LOGQ:.*]] = tacq.node "LogSoftmax" opset 21 (%arg0) named "loss" {axis = -1 : i64}
// KL: %[[LOGP:.*]] = tacq.node "LogSoftmax" opset 21 (%[[P]]) named "loss" {axis = -1 : i64}
// KL: %[[E:.*]] = tacq.node "Exp" opset 21 (%[[LOGP]])
// KL: %[[D:.*]] = tacq.node "Sub" opset 21 (%[[LOGP]], %[[LOGQ]])
// KL: %[[TERMS:.*]] = tacq.node "Mul" opset 21 (%[[E]], %[[D]])
// KL: tacq.node "ReduceSum" opset 21 (%[[TERMS]],
// KL: tacq.node "Where" opset 21 (%[[ISIGNORED]],
// KL: tacq.node "Div"
func.func @main(%x: !x {tacq.name = "x"}) -> (!x {tacq.name = "other"}, !x {tacq.name = "logits"}) {
  return %x, %x : !x, !x
}

// -----

// Outputs of 16 bits are widened.
// CHECK-LABEL: func.func @main(%arg0: tensor<2x3x8xf16>
// CHECK: %[[WIDE:.*]] = tacq.node "Cast" opset 21 (%arg0) named "loss" {to = 1 : i64}
// CHECK: tacq.node "LogSoftmax" opset 21 (%[[WIDE]])
func.func @main(%x: tensor<2x3x8xf16> {tacq.name = "x"}) -> (tensor<2x3x8xf16> {tacq.name = "logits"}) {
  return %x : tensor<2x3x8xf16>
}
