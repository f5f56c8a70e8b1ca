// RUN: tacq-opt %s --tacq-cleanup-views | FileCheck %s

!bshd = tensor<?x?x4x8xf32, #tacq.shape<["b", "s", "4", "8"]>>
!bhsd = tensor<?x4x?x8xf32, #tacq.shape<["b", "4", "s", "8"]>>
!bsf = tensor<?x?x32xf32, #tacq.shape<["b", "s", "32"]>>

// CHECK-LABEL: func.func @transposes
// CHECK-NEXT: return %arg0
func.func @transposes(%x: !bshd) -> !bshd {
  %0 = tacq.node "Transpose" opset 18 (%x) {perm = array<i64: 0, 2, 1, 3>} : (!bshd) -> !bhsd
  %1 = tacq.node "Transpose" opset 18 (%0) {perm = array<i64: 0, 2, 1, 3>} : (!bhsd) -> !bshd
  return %1 : !bshd
}

// CHECK-LABEL: func.func @composed
// CHECK: tacq.node "Transpose" {{.*}} (%arg0) {{.*}}{perm = array<i64: 0, 2, 3, 1>}
// CHECK-NOT: Transpose
// CHECK: return
func.func @composed(%x: !bshd) -> tensor<?x4x8x?xf32, #tacq.shape<["b", "4", "8", "s"]>> {
  %0 = tacq.node "Transpose" opset 18 (%x) {perm = array<i64: 0, 2, 1, 3>} : (!bshd) -> !bhsd
  %1 = tacq.node "Transpose" opset 18 (%0) {perm = array<i64: 0, 1, 3, 2>} : (!bhsd) -> tensor<?x4x8x?xf32, #tacq.shape<["b", "4", "8", "s"]>>
  return %1 : tensor<?x4x8x?xf32, #tacq.shape<["b", "4", "8", "s"]>>
}

// A reshape back to the dimensions of the source is the source, whatever is between.
// CHECK-LABEL: func.func @reshapes
// CHECK-NEXT: return %arg0
func.func @reshapes(%x: !bsf) -> !bsf {
  %s = tacq.symbolic ["b", "s", "4", "8"] : tensor<4xi64>
  %t = tacq.symbolic ["b", "s", "-1"] : tensor<3xi64>
  %one = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
  %0 = tacq.node "Reshape" opset 18 (%x, %s) : (!bsf, tensor<4xi64>) -> !bshd
  %1 = tacq.node "Unsqueeze" opset 18 (%0, %one) : (!bshd, tensor<1xi64>) -> tensor<?x1x?x4x8xf32, #tacq.shape<["b", "1", "s", "4", "8"]>>
  %2 = tacq.node "Squeeze" opset 18 (%1, %one) : (tensor<?x1x?x4x8xf32, #tacq.shape<["b", "1", "s", "4", "8"]>>, tensor<1xi64>) -> !bshd
  %3 = tacq.node "Reshape" opset 18 (%2, %t) : (!bshd, tensor<3xi64>) -> !bsf
  return %3 : !bsf
}

// CHECK-LABEL: func.func @nothing
// CHECK-NEXT: return %arg0
func.func @nothing(%x: !bsf) -> !bsf {
  %one = tacq.constant dense<1.0> : tensor<f32> : tensor<f32>
  %zero = tacq.constant dense<0.0> : tensor<f32> : tensor<f32>
  %first = tacq.constant dense<0> : tensor<1xi64> : tensor<1xi64>
  %last = tacq.constant dense<9223372036854775807> : tensor<1xi64> : tensor<1xi64>
  %s = tacq.symbolic ["b", "s", "32"] : tensor<3xi64>
  %0 = tacq.node "Identity" opset 18 (%x) : (!bsf) -> !bsf
  %1 = tacq.node "Cast" opset 18 (%0) {to = 1 : i64} : (!bsf) -> !bsf
  %2 = tacq.node "Expand" opset 18 (%1, %s) : (!bsf, tensor<3xi64>) -> !bsf
  %3 = tacq.node "Mul" opset 18 (%one, %2) : (tensor<f32>, !bsf) -> !bsf
  %4 = tacq.node "Add" opset 18 (%3, %zero) : (!bsf, tensor<f32>) -> !bsf
  %5 = tacq.node "Slice" opset 18 (%4, %first, %last, %first) : (!bsf, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !bsf
  return %5 : !bsf
}

// Reversing keeps the dimensions, and is not nothing. Nor is a narrowing cast.
// CHECK-LABEL: func.func @something
// CHECK: tacq.node "Slice"
// CHECK: tacq.node "Cast"
// CHECK: tacq.node "Cast"
func.func @something(%x: !bsf) -> !bsf {
  %first = tacq.constant dense<-1> : tensor<1xi64> : tensor<1xi64>
  %last = tacq.constant dense<-9223372036854775808> : tensor<1xi64> : tensor<1xi64>
  %axis = tacq.constant dense<2> : tensor<1xi64> : tensor<1xi64>
  %step = tacq.constant dense<-1> : tensor<1xi64> : tensor<1xi64>
  %0 = tacq.node "Slice" opset 18 (%x, %first, %last, %axis, %step) : (!bsf, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> !bsf
  %1 = tacq.node "Cast" opset 18 (%0) {to = 10 : i64} : (!bsf) -> tensor<?x?x32xf16, #tacq.shape<["b", "s", "32"]>>
  %2 = tacq.node "Cast" opset 18 (%1) {to = 1 : i64} : (tensor<?x?x32xf16, #tacq.shape<["b", "s", "32"]>>) -> !bsf
  return %2 : !bsf
}

// Nodes that differ in their name only are one; random ones are not.
// CHECK-LABEL: func.func @shared
// CHECK: %[[COS:.*]] = tacq.node "Cos"
// CHECK: %[[A:.*]] = tacq.node "RandomUniformLike"
// CHECK: %[[B:.*]] = tacq.node "RandomUniformLike"
// CHECK: return %[[COS]], %[[COS]], %[[A]], %[[B]]
func.func @shared(%x: !bsf) -> (!bsf, !bsf, !bsf, !bsf) {
  %0 = tacq.node "Cos" opset 18 (%x) named "first" : (!bsf) -> !bsf
  %1 = tacq.node "Cos" opset 18 (%x) named "second" : (!bsf) -> !bsf
  %2 = tacq.node "RandomUniformLike" opset 18 (%x) named "first" : (!bsf) -> !bsf
  %3 = tacq.node "RandomUniformLike" opset 18 (%x) named "first" : (!bsf) -> !bsf
  return %0, %1, %2, %3 : !bsf, !bsf, !bsf, !bsf
}
