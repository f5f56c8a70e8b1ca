// RUN: tacq-opt %s --tacq-recognize-norm=remarks 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

!x = tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>>
!h = tensor<?x?x8xf16, #tacq.shape<["b", "s", "8"]>>
!m = tensor<?x?x1xf32, #tacq.shape<["b", "s", "1"]>>

tacq.param @gain : tensor<8xf32> from <"w.bin", 0, 32>
tacq.param @half_gain : tensor<8xf16> from <"w.bin", 0, 16>
tacq.param @bias : tensor<8xf32> from <"w.bin", 32, 32>

// CHECK-LABEL: func.func @rms
// CHECK: %[[G:.*]] = tacq.get_param @gain
// CHECK: %[[N:.*]] = tacq.norm rms %arg0 gain(%[[G]]) {epsilon = 0.0010000000474974513 : f64, node_name = "mean"}
// CHECK-NEXT: return %[[N]]
func.func @rms(%x: !x) -> !x {
  %g = tacq.get_param @gain : tensor<8xf32>
  %two = tacq.constant dense<2.0> : tensor<f32> : tensor<f32>
  %axis = tacq.constant dense<-1> : tensor<1xi64> : tensor<1xi64>
  %eps = tacq.constant dense<0.001> : tensor<f32> : tensor<f32>
  %0 = tacq.node "Pow" opset 18 (%x, %two) : (!x, tensor<f32>) -> !x
  %1 = tacq.node "ReduceMean" opset 18 (%0, %axis) named "mean" {keepdims = 1 : i64} : (!x, tensor<1xi64>) -> !m
  %2 = tacq.node "Add" opset 18 (%1, %eps) : (!m, tensor<f32>) -> !m
  %3 = tacq.node "Sqrt" opset 18 (%2) : (!m) -> !m
  %4 = tacq.node "Reciprocal" opset 18 (%3) : (!m) -> !m
  %5 = tacq.node "Mul" opset 18 (%x, %4) : (!x, !m) -> !x
  %6 = tacq.node "Mul" opset 18 (%g, %5) : (tensor<8xf32>, !x) -> !x
  return %6 : !x
}

// Computed in fp32 between casts, with the axes as an attribute, x squared by Mul and 1 / sqrt.
// CHECK-LABEL: func.func @rms_half
// CHECK: %[[G:.*]] = tacq.get_param @half_gain
// CHECK: %[[N:.*]] = tacq.norm rms %arg0 gain(%[[G]])
// CHECK-SAME: -> tensor<?x?x8xf16
// CHECK-NEXT: return %[[N]]
func.func @rms_half(%x: !h) -> !h {
  %g = tacq.get_param @half_gain : tensor<8xf16>
  %one = tacq.constant dense<1.0> : tensor<f32> : tensor<f32>
  %eps = tacq.constant dense<0.001> : tensor<f32> : tensor<f32>
  %w = tacq.node "Cast" opset 17 (%x) {to = 1 : i64} : (!h) -> !x
  %0 = tacq.node "Mul" opset 17 (%w, %w) : (!x, !x) -> !x
  %1 = tacq.node "ReduceMean" opset 17 (%0) {axes = array<i64: -1>, keepdims = 1 : i64} : (!x) -> !m
  %2 = tacq.node "Add" opset 17 (%eps, %1) : (tensor<f32>, !m) -> !m
  %3 = tacq.node "Sqrt" opset 17 (%2) : (!m) -> !m
  %4 = tacq.node "Div" opset 17 (%one, %3) : (tensor<f32>, !m) -> !m
  %5 = tacq.node "Mul" opset 17 (%w, %4) : (!x, !m) -> !x
  %6 = tacq.node "Cast" opset 17 (%5) {to = 10 : i64} : (!x) -> !h
  %7 = tacq.node "Mul" opset 17 (%6, %g) : (!h, tensor<8xf16>) -> !h
  return %7 : !h
}

// CHECK-LABEL: func.func @layer
// CHECK-DAG: %[[G:.*]] = tacq.get_param @gain
// CHECK-DAG: %[[B:.*]] = tacq.get_param @bias
// CHECK: %[[N:.*]] = tacq.norm layer %arg0 gain(%[[G]]) bias(%[[B]])
// CHECK-NEXT: return %[[N]]
func.func @layer(%x: !x) -> !x {
  %g = tacq.get_param @gain : tensor<8xf32>
  %b = tacq.get_param @bias : tensor<8xf32>
  %two = tacq.constant dense<2.0> : tensor<f32> : tensor<f32>
  %axis = tacq.constant dense<2> : tensor<1xi64> : tensor<1xi64>
  %eps = tacq.constant dense<0.001> : tensor<f32> : tensor<f32>
  %m = tacq.node "ReduceMean" opset 18 (%x, %axis) : (!x, tensor<1xi64>) -> !m
  %d = tacq.node "Sub" opset 18 (%x, %m) : (!x, !m) -> !x
  %0 = tacq.node "Pow" opset 18 (%d, %two) : (!x, tensor<f32>) -> !x
  %1 = tacq.node "ReduceMean" opset 18 (%0, %axis) : (!x, tensor<1xi64>) -> !m
  %2 = tacq.node "Add" opset 18 (%1, %eps) : (!m, tensor<f32>) -> !m
  %3 = tacq.node "Sqrt" opset 18 (%2) : (!m) -> !m
  %4 = tacq.node "Div" opset 18 (%d, %3) : (!x, !m) -> !x
  %5 = tacq.node "Mul" opset 18 (%4, %g) : (!x, tensor<8xf32>) -> !x
  %6 = tacq.node "Add" opset 18 (%5, %b) : (!x, tensor<8xf32>) -> !x
  return %6 : !x
}

// CHECK-LABEL: func.func @nodes
// CHECK: %[[N:.*]] = tacq.norm rms %arg0 gain(%{{.*}}) {epsilon = 9.9999{{.*}}E-6
// CHECK: tacq.norm layer %[[N]] gain(%{{.*}}) {epsilon = 9.9999{{.*}}E-6
func.func @nodes(%x: !x) -> !x {
  %g = tacq.get_param @gain : tensor<8xf32>
  %0 = tacq.node "RMSNormalization" opset 23 (%x, %g) {epsilon = 1.0e-5 : f32} : (!x, tensor<8xf32>) -> !x
  %1 = tacq.node "LayerNormalization" opset 17 (%0, %g) {axis = 2 : i64, epsilon = 1.0e-5 : f32} : (!x, tensor<8xf32>) -> !x
  return %1 : !x
}

// CHECK-LABEL: func.func @wrong_axis
// CHECK-NOT: tacq.norm
// REMARK: no normalization at node 'over_sequence': the mean of squares is not over the last axis
func.func @wrong_axis(%x: !x) -> tensor<?x1x8xf32, #tacq.shape<["b", "1", "8"]>> {
  %axis = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %0 = tacq.node "Mul" opset 18 (%x, %x) : (!x, !x) -> !x
  %1 = tacq.node "ReduceMean" opset 18 (%0, %axis) named "over_sequence" : (!x, tensor<1xi64>) -> tensor<?x1x8xf32, #tacq.shape<["b", "1", "8"]>>
  return %1 : tensor<?x1x8xf32, #tacq.shape<["b", "1", "8"]>>
}

// What is divided is not what was squared.
// CHECK-LABEL: func.func @other_input
// CHECK-NOT: tacq.norm
// REMARK: no normalization at node 'other': what was squared is not divided by the root
func.func @other_input(%x: !x, %y: !x) -> !x {
  %axis = tacq.constant dense<-1> : tensor<1xi64> : tensor<1xi64>
  %eps = tacq.constant dense<0.001> : tensor<f32> : tensor<f32>
  %0 = tacq.node "Mul" opset 18 (%x, %x) : (!x, !x) -> !x
  %1 = tacq.node "ReduceMean" opset 18 (%0, %axis) named "other" : (!x, tensor<1xi64>) -> !m
  %2 = tacq.node "Add" opset 18 (%1, %eps) : (!m, tensor<f32>) -> !m
  %3 = tacq.node "Sqrt" opset 18 (%2) : (!m) -> !m
  %4 = tacq.node "Div" opset 18 (%y, %3) : (!x, !m) -> !x
  return %4 : !x
}

// CHECK-LABEL: func.func @statistics
// CHECK-NOT: tacq.norm
// REMARK: no normalization at node 'stats': its statistics are used
func.func @statistics(%x: !x) -> (!x, !m) {
  %g = tacq.get_param @gain : tensor<8xf32>
  %0:2 = tacq.node "LayerNormalization" opset 17 (%x, %g) named "stats" : (!x, tensor<8xf32>) -> (!x, !m)
  return %0#0, %0#1 : !x, !m
}
