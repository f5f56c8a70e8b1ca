// RUN: tacq-opt %s --tacq-form-dispatches --split-input-file | FileCheck %s

// A chain of element nodes is one kernel; equal kernels are one.
// CHECK-LABEL: func.func @chain
// CHECK-NEXT: %[[A:.*]] = tacq_rt.dispatch @[[K:.*]](%{{.*}}) nodes ["e1", "n1"] ops ["Exp", "Neg"]
// CHECK-NEXT: %[[M:.*]] = tacq_rt.dispatch @{{.*}}MatMul(%[[A]]
// CHECK-NEXT: tacq_rt.dispatch @[[K]](%[[M]])
// CHECK: tacq_rt.kernel @[[K]]
// CHECK: tacq.node "Exp"
// CHECK: tacq.node "Neg"
func.func @chain(%x: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = tacq.node "Exp" opset 13 (%x) named "e1" : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = tacq.node "Neg" opset 13 (%0) named "n1" : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %2 = tacq.node "MatMul" opset 13 (%1, %x) named "m" : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %3 = tacq.node "Exp" opset 13 (%2) named "e2" : (tensor<4x4xf32>) -> tensor<4x4xf32>
  %4 = tacq.node "Neg" opset 13 (%3) named "n2" : (tensor<4x4xf32>) -> tensor<4x4xf32>
  return %4 : tensor<4x4xf32>
}

// -----

// An exponential that a broadcast would repeat four times is computed once, in memory.
// CHECK-LABEL: func.func @repeated
// CHECK: tacq_rt.dispatch @{{.*}}Exp(
// CHECK: tacq_rt.dispatch @{{.*}}Add(
func.func @repeated(%x: tensor<4x1xf32>, %y: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = tacq.node "Exp" opset 13 (%x) named "e" : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %1 = tacq.node "Add" opset 13 (%0, %y) named "a" : (tensor<4x1xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}

// -----

// A reshape of what is in memory is no work: the kernel binds the same memory.
// CHECK-LABEL: func.func @view
// CHECK: %[[V:.*]] = tacq.node "Reshape"
// CHECK: tacq_rt.dispatch @{{.*}}Neg(%[[V]])
func.func @view(%x: tensor<2x6xf32>) -> tensor<3x4xf32> {
  %s = tacq.constant dense<[3, 4]> : tensor<2xi64> : tensor<2xi64>
  %0 = tacq.node "Reshape" opset 13 (%x, %s) named "r" : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %1 = tacq.node "Neg" opset 13 (%0) named "n" : (tensor<3x4xf32>) -> tensor<3x4xf32>
  return %1 : tensor<3x4xf32>
}
