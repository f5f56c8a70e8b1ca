// RUN: tacq-opt %s -canonicalize -split-input-file | FileCheck %s

// An Identity is its input, unless its type says more.
// CHECK-LABEL: func.func @identity
// CHECK-SAME: (%[[X:.*]]: tensor<4xf32>, %[[U:.*]]: tensor<*xf32>)
// CHECK-NEXT: %[[TYPED:.*]] = tacq.node "Identity" opset 13 (%[[U]]) named "typed"
// CHECK-NEXT: return %[[X]], %[[TYPED]]
func.func @identity(%x: tensor<4xf32>, %u: tensor<*xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = tacq.node "Identity" opset 13 (%x) named "same" : (tensor<4xf32>) -> tensor<4xf32>
  %1 = tacq.node "Identity" opset 13 (%u) named "typed" : (tensor<*xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// -----

// A vendor's Identity is another operator.
// CHECK-LABEL: func.func @vendor
// CHECK: tacq.node "Identity" opset 1 domain "com.example"
func.func @vendor(%x: tensor<4xf32>) -> tensor<4xf32> {
  %0 = tacq.node "Identity" opset 1 domain "com.example" (%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// Symbolic tensors without names are constants; equal ones are one.
// CHECK-LABEL: func.func @symbolic
// CHECK-DAG: %[[C:.*]] = tacq.constant dense<[2, -3]> : tensor<2xi64>
// CHECK-DAG: %[[B:.*]] = tacq.constant dense<true> : tensor<i1>
// CHECK-DAG: %[[S:.*]] = tacq.symbolic ["2", "batch"]
// CHECK: return %[[C]], %[[S]], %[[C]], %[[B]]
func.func @symbolic() -> (tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<i1>) {
  %0 = tacq.symbolic ["2", "0 - 3"] : tensor<2xi64>
  %1 = tacq.symbolic ["2", "batch"] : tensor<2xi64>
  %2 = tacq.symbolic ["2", "-3"] : tensor<2xi64>
  %3 = tacq.symbolic ["1"] : tensor<i1>
  return %0, %1, %2, %3 : tensor<2xi64>, tensor<2xi64>, tensor<2xi64>, tensor<i1>
}

// -----

// Conditions that always hold and those that were checked before go. What can fail stays, also
// where it always fails: the call reports it.
// CHECK-LABEL: func.func @require
// CHECK-NEXT: tacq.require "a", "b", "first"
// CHECK-NEXT: tacq.require "a", "b", "at most" {at_most}
// CHECK-NEXT: tacq.require "1", "2", "fails"
// CHECK-NEXT: tacq.require "a + 1", "a", "fails" {at_most}
// CHECK-NEXT: return
func.func @require() {
  tacq.require "a", "b", "first"
  tacq.require "a + 1", "1 + a", "equal"
  tacq.require "a", "a + b", "never more" {at_most}
  tacq.require "a", "b", "at most" {at_most}
  tacq.require "a", "b", "again"
  tacq.require "1", "2", "fails"
  tacq.require "a + 1", "a", "fails" {at_most}
  return
}

// -----

// A name that is read again may stand for another number.
// CHECK-LABEL: func.func @read_again
// CHECK-COUNT-2: tacq.require
func.func @read_again(%t: tensor<1xi64>, %u: tensor<1xi64>) {
  tacq.read_symbol %t as "t" : tensor<1xi64>
  tacq.require "%t[0]", "4", "first"
  tacq.read_symbol %u as "t" : tensor<1xi64>
  tacq.require "%t[0]", "4", "second"
  return
}

// -----

// Products that nobody uses are dropped, with their biases and layouts; a gated one needs both.
// CHECK-LABEL: func.func @narrow
// CHECK-SAME: %[[X:[a-z0-9]+]]: tensor<2x8xf32>, %[[A:[a-z0-9]+]]: {{[^,]*}}, %[[W:[a-z0-9]+]]: {{[^,]*}}, %[[C:[a-z0-9]+]]: tensor<4xf32>, %[[D:[a-z0-9]+]]: tensor<4xf32>
// CHECK-NEXT: %[[Y:.*]] = tacq.linear %[[X]], weights(%[[W]]) biases(%[[D]]) {activation = 4 : i32, node_name = "n", weight_layouts = [#tacq.panel<16, f32>], weight_order = [1 : i32]}
// CHECK-NEXT: %[[G:.*]] = tacq.linear %[[X]], weights(%[[A]], %[[A]]) {gated
// CHECK-NEXT: return %[[Y]], %[[G]]
func.func @narrow(%x: tensor<2x8xf32>, %a: tensor<4x8xf32>, %b: tensor<8x4xf32>, %c: tensor<4xf32>, %d: tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>) {
  %y:2 = tacq.linear %x, weights(%a, %b) biases(%c, %d) {activation = 4 : i32, node_name = "n", weight_layouts = [#tacq.panel<8, f32>, #tacq.panel<16, f32>], weight_order = [0 : i32, 1 : i32]} : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<8x4xf32>, tensor<4xf32>, tensor<4xf32>) -> (tensor<2x4xf32>, tensor<2x4xf32>)
  %unused = tacq.linear %x, weights(%a) {node_name = "unused", weight_order = [0 : i32]} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  %g = tacq.linear %x, weights(%a, %a) {gated, node_name = "g", weight_order = [0 : i32, 0 : i32]} : (tensor<2x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y#1, %g : tensor<2x4xf32>, tensor<2x4xf32>
}
