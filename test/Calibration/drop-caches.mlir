// RUN: tacq-opt %s --tacq-drop-caches --split-input-file | FileCheck %s

!x = tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>>
!kv = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>
!mask = tensor<?x?xi64, #tacq.shape<["b", "total"]>>

// The past and what is named after it go: in types, values and requirements.
// CHECK-LABEL: func.func @attention(
// CHECK-SAME:    %arg0: tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>> {tacq.name = "q"}
// CHECK-SAME:    %arg3: tensor<?x?xi64, #tacq.shape<["b", "s"]>> {tacq.name = "mask"})
// CHECK-SAME:    -> (tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>> {tacq.name = "out"}, tensor<2xi64>, tensor<?x?xf32, #tacq.shape<["s", "s"]>>)
// CHECK-NEXT:  tacq.require "min(1, b*s)", "b"
// CHECK-NEXT:  tacq.require "s", "16", "too long" {at_most}
// CHECK-NEXT:  %[[SIZE:.*]] = tacq.symbolic ["s", "-s + 1"]
// CHECK-NEXT:  %[[OUT:.*]] = tacq.attention %arg0, %arg1, %arg2 key_mask(%arg3) {causal, node_name = "a", scale = 5.000000e-01 : f64}
// CHECK-SAME:    -> tensor<?x?x4x8xf32
// CHECK-NEXT:  %[[ZEROS:.*]] = tacq.node "ConstantOfShape"{{.*}}-> tensor<?x?xf32, #tacq.shape<["s", "s"]>>
// CHECK-NEXT:  return %[[OUT]], %[[SIZE]], %[[ZEROS]]
func.func @attention(%q: !x {tacq.name = "q"}, %k: !kv, %v: !kv, %pk: !past {tacq.name = "pk"}, %mask: !mask {tacq.name = "mask"}, %pv: !past)
    -> (!x {tacq.name = "out"}, !present {tacq.name = "present.k"}, tensor<2xi64>, !present, tensor<?x?xf32, #tacq.shape<["s", "total"]>>) {
  tacq.require "total", "past + s", "the mask is as long as the keys"
  tacq.require "min(1, b*past + b*s)", "b*total", "an empty axis" {at_most}
  tacq.require "min(1, b*past + b*s)", "b", "an empty axis" {at_most}
  tacq.require "total", "16", "too long" {at_most}
  %size = tacq.symbolic ["past + s", "-total + 1"] : tensor<2xi64>
  %out, %present:2 = tacq.attention %q, %k, %v past(%pk, %pv) key_mask(%mask) {causal, node_name = "a", scale = 0.5 : f64} : (!x, !kv, !kv, !past, !past, !mask) -> (!x, !present, !present)
  %zeros = tacq.node "ConstantOfShape" opset 18 (%size) named "z" : (tensor<2xi64>) -> tensor<?x?xf32, #tacq.shape<["s", "total"]>>
  return %out, %present#0, %size, %present#1, %zeros : !x, !present, tensor<2xi64>, !present, tensor<?x?xf32, #tacq.shape<["s", "total"]>>
}

// -----

!x = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!cache = tensor<?x?x2x8xf32, #tacq.shape<["b", "past", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "past + s", "8"]>>
!grown = tensor<?x?x2x8xf32, #tacq.shape<["b", "past + s", "2", "8"]>>

// A cache may have its axes in another order.
// CHECK-LABEL: func.func @sequence_major(
// CHECK-SAME:    %arg0: tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>)
// CHECK-SAME:    -> tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>> {
// CHECK-NEXT:  tacq.attention %arg0, %arg0, %arg0 {
// CHECK-NEXT:  return
func.func @sequence_major(%q: !x, %ck: !cache, %cv: !cache) -> (!x, !grown, !grown) {
  %pk = tacq.node "Transpose" opset 18 (%ck) {perm = array<i64: 0, 2, 1, 3>} : (!cache) -> !past
  %pv = tacq.node "Transpose" opset 18 (%cv) {perm = array<i64: 0, 2, 1, 3>} : (!cache) -> !past
  %out, %present:2 = tacq.attention %q, %q, %q past(%pk, %pv) {node_name = "a", scale = 0.5 : f64} : (!x, !x, !x, !past, !past) -> (!x, !present, !present)
  %gk = tacq.node "Transpose" opset 18 (%present#0) {perm = array<i64: 0, 2, 1, 3>} : (!present) -> !grown
  %gv = tacq.node "Transpose" opset 18 (%present#1) {perm = array<i64: 0, 2, 1, 3>} : (!present) -> !grown
  return %out, %gk, %gv : !x, !grown, !grown
}

// -----

!x = tensor<?x?xf32, #tacq.shape<["b", "past"]>>

// Without a cache nothing happens, whatever the names are.
// CHECK-LABEL: func.func @nothing(
// CHECK-SAME:    #tacq.shape<["b", "past"]>
// CHECK-NEXT:  tacq.require "past", "past2"
func.func @nothing(%x: !x) -> !x {
  tacq.require "past", "past2", "equal"
  return %x : !x
}
