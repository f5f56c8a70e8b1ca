// RUN: tacq-opt %s --tacq-infer-shapes --tacq-decompose | FileCheck %s

!x = tensor<?x?x8xf32, #tacq.shape<["batch", "sequence", "8"]>>
!past = tensor<?x4x?x2xf32, #tacq.shape<["batch", "4", "past", "2"]>>

// Shape, Gather, Add, Unsqueeze and Concat of exporters' reshapes leave nothing behind.
// CHECK-LABEL: func.func @reshape_by_parts
// CHECK-SAME: -> tensor<?x?x2x4xf32, #tacq.shape<["batch", "sequence", "2", "4"]>>
// CHECK-NOT: "Concat"
// CHECK-NOT: "Gather"
// CHECK: tacq.symbolic ["batch", "sequence", "2", "-1"] : tensor<4xi64>
// CHECK: tacq.node "Reshape"
func.func @reshape_by_parts(%x: !x) -> tensor<*xf32> {
  %zero = tacq.constant dense<0> : tensor<i64> : tensor<i64>
  %one = tacq.constant dense<1> : tensor<i64> : tensor<i64>
  %axes = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %heads = tacq.constant dense<[2, -1]> : tensor<2xi64> : tensor<2xi64>
  %s = tacq.node "Shape" opset 17 (%x) : (!x) -> tensor<*xi64>
  %b = tacq.node "Gather" opset 17 (%s, %zero) {axis = 0 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %n = tacq.node "Gather" opset 17 (%s, %one) {axis = 0 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %b1 = tacq.node "Unsqueeze" opset 17 (%b, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %n1 = tacq.node "Unsqueeze" opset 17 (%n, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %shape = tacq.node "Concat" opset 17 (%b1, %n1, %heads) {axis = 0 : i64} : (tensor<*xi64>, tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %y = tacq.node "Reshape" opset 17 (%x, %shape) : (!x, tensor<*xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// Where(shape == -1, 1, shape) around Expand, and positions from past to past + sequence.
// CHECK-LABEL: func.func @expand_and_range
// CHECK-SAME: -> (tensor<?x?xf32, #tacq.shape<["batch", "past + sequence"]>>, tensor<?xi64, #tacq.shape<["sequence"]>>)
// CHECK-NOT: "Where"
// CHECK-NOT: "Equal"
func.func @expand_and_range(%x: !x, %p: !past) -> (tensor<*xf32>, tensor<*xi64>) {
  %one = tacq.constant dense<1> : tensor<i64> : tensor<i64>
  %two = tacq.constant dense<2> : tensor<i64> : tensor<i64>
  %none = tacq.constant dense<-1> : tensor<i64> : tensor<i64>
  %axes = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %value = tacq.constant dense<0.0> : tensor<f32> : tensor<f32>
  %sx = tacq.node "Shape" opset 17 (%x) : (!x) -> tensor<*xi64>
  %sp = tacq.node "Shape" opset 17 (%p) : (!past) -> tensor<*xi64>
  %n = tacq.node "Gather" opset 17 (%sx, %one) {axis = 0 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %past = tacq.node "Gather" opset 17 (%sp, %two) {axis = 0 : i64} : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %total = tacq.node "Add" opset 17 (%past, %n) : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %r = tacq.node "Range" opset 17 (%past, %total, %one) : (tensor<*xi64>, tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %total1 = tacq.node "Unsqueeze" opset 17 (%total, %axes) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %b1 = tacq.node "Shape" opset 17 (%x) {start = 0 : i64, end = 1 : i64} : (!x) -> tensor<*xi64>
  %shape = tacq.node "Concat" opset 17 (%b1, %total1) {axis = 0 : i64} : (tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %len = tacq.node "Shape" opset 17 (%shape) : (tensor<*xi64>) -> tensor<*xi64>
  %ones = tacq.node "ConstantOfShape" opset 17 (%len) {value = dense<1> : tensor<1xi64>} : (tensor<*xi64>) -> tensor<*xi64>
  %is = tacq.node "Equal" opset 17 (%shape, %none) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi1>
  %chosen = tacq.node "Where" opset 17 (%is, %ones, %shape) : (tensor<*xi1>, tensor<*xi64>, tensor<*xi64>) -> tensor<*xi64>
  %y = tacq.node "Expand" opset 17 (%value, %chosen) : (tensor<f32>, tensor<*xi64>) -> tensor<*xf32>
  return %y, %r : tensor<*xf32>, tensor<*xi64>
}

// Halves of a head, the last tokens, all but the first: simple sizes, which are never negative.
// CHECK-LABEL: func.func @slices
// CHECK-SAME: -> (tensor<?x?x4xf32, #tacq.shape<["batch", "sequence", "4"]>>,
// CHECK-SAME: tensor<?x?x8xf32, #tacq.shape<["batch", "min(1, sequence)", "8"]>>,
// CHECK-SAME: tensor<?x?x8xf32, #tacq.shape<["batch", "max(0, sequence - 1)", "8"]>>,
// CHECK-SAME: tensor<?x?x8xf32, #tacq.shape<["batch", "sequence", "8"]>>)
func.func @slices(%x: !x) -> (tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>) {
  %s = tacq.node "Shape" opset 17 (%x) {start = -1 : i64} : (!x) -> tensor<*xi64>
  %two = tacq.constant dense<2> : tensor<i64> : tensor<i64>
  %half = tacq.node "Div" opset 17 (%s, %two) : (tensor<*xi64>, tensor<i64>) -> tensor<*xi64>
  %m1 = tacq.constant dense<-1> : tensor<1xi64> : tensor<1xi64>
  %p1 = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %end = tacq.constant dense<9223372036854775807> : tensor<1xi64> : tensor<1xi64>
  %start = tacq.constant dense<-9223372036854775808> : tensor<1xi64> : tensor<1xi64>
  %a = tacq.node "Slice" opset 17 (%x, %half, %end, %m1) : (!x, tensor<*xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %b = tacq.node "Slice" opset 17 (%x, %m1, %end, %p1) : (!x, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %c = tacq.node "Slice" opset 17 (%x, %p1, %end, %p1) : (!x, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  %d = tacq.node "Slice" opset 17 (%x, %m1, %start, %p1, %m1) : (!x, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<*xf32>
  return %a, %b, %c, %d : tensor<*xf32>, tensor<*xf32>, tensor<*xf32>, tensor<*xf32>
}

// Integer division rounds towards zero, also of what may be negative; comparisons that hold for all
// sizes fold, others stay.
// CHECK-LABEL: func.func @integers
// CHECK-DAG: tacq.symbolic ["floordiv(sequence, 2)"] : tensor<1xi64>
// CHECK-DAG: tacq.symbolic ["-floordiv(sequence, 2)"] : tensor<1xi64>
// CHECK-DAG: tacq.constant dense<false> : tensor<1xi1>
// CHECK: tacq.node "Equal"
func.func @integers(%x: !x) -> (tensor<*xi64>, tensor<*xi64>, tensor<*xi1>, tensor<*xi1>) {
  %n = tacq.node "Shape" opset 17 (%x) {start = 1 : i64, end = 2 : i64} : (!x) -> tensor<*xi64>
  %two = tacq.constant dense<2> : tensor<1xi64> : tensor<1xi64>
  %minus = tacq.constant dense<-2> : tensor<1xi64> : tensor<1xi64>
  %a = tacq.node "Div" opset 17 (%n, %two) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %b = tacq.node "Div" opset 17 (%n, %minus) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi64>
  %c = tacq.node "Less" opset 17 (%n, %minus) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi1>
  %d = tacq.node "Equal" opset 17 (%n, %two) : (tensor<*xi64>, tensor<1xi64>) -> tensor<*xi1>
  return %a, %b, %c, %d : tensor<*xi64>, tensor<*xi64>, tensor<*xi1>, tensor<*xi1>
}

// A shape that is an input: its elements are read, and may be 0 or -1.
// CHECK-LABEL: func.func @read_shape
// CHECK: tacq.read_symbol %arg1 as "shape"
// CHECK: tacq.require "-1", "%shape[0]", {{.*}}a size of the shape is below -1" {at_most}
// CHECK: tacq.require {{.*}}(Reshape, opset 17): the number of elements changes"
func.func @read_shape(%x: tensor<4x6xf32>, %shape: tensor<2xi64> {tacq.name = "shape"}) -> tensor<*xf32> {
  %y = tacq.node "Reshape" opset 17 (%x, %shape) : (tensor<4x6xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}
