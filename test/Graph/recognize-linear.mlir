// RUN: tacq-opt %s --tacq-recognize-linear=remarks 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

!x = tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>>
!y = tensor<?x?x16xf32, #tacq.shape<["b", "s", "16"]>>
!rows = tensor<?x8xf32, #tacq.shape<["n", "8"]>>
!out = tensor<?x16xf32, #tacq.shape<["n", "16"]>>

tacq.param @w : tensor<8x16xf32> from <"w.bin", 0, 512>
tacq.param @wt : tensor<16x8xf32> from <"w.bin", 0, 512>
tacq.param @half : tensor<16x8xf16> from <"w.bin", 0, 256>
tacq.param @double : tensor<8x16xf64> from <"w.bin", 0, 1024>
tacq.param @many : tensor<2x8x16xf32> from <"w.bin", 0, 1024>

// CHECK-LABEL: func.func @plain
// CHECK: %[[W:.*]] = tacq.get_param @w
// CHECK: tacq.linear %arg0, weights(%[[W]]) {node_name = "proj", weight_order = [1 : i32]}
func.func @plain(%x: !x) -> !y {
  %w = tacq.get_param @w : tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %w) named "proj" : (!x, tensor<8x16xf32>) -> !y
  return %0 : !y
}

// CHECK-LABEL: func.func @transposed
// CHECK: %[[W:.*]] = tacq.get_param @wt
// CHECK: tacq.linear %arg0, weights(%[[W]]) {{.*}}weight_order = [0 : i32]
// CHECK-NOT: Transpose
func.func @transposed(%x: !x) -> !y {
  %w = tacq.get_param @wt : tensor<16x8xf32>
  %t = tacq.node "Transpose" opset 18 (%w) {perm = array<i64: 1, 0>} : (tensor<16x8xf32>) -> tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %t) : (!x, tensor<8x16xf32>) -> !y
  return %0 : !y
}

// CHECK-LABEL: func.func @widened
// CHECK: %[[W:.*]] = tacq.get_param @half
// CHECK: tacq.linear %arg0, weights(%[[W]]) {{.*}}weight_order = [0 : i32]
func.func @widened(%x: !x) -> !y {
  %w = tacq.get_param @half : tensor<16x8xf16>
  %c = tacq.node "Cast" opset 18 (%w) {to = 1 : i64} : (tensor<16x8xf16>) -> tensor<16x8xf32>
  %t = tacq.node "Transpose" opset 18 (%c) : (tensor<16x8xf32>) -> tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %t) : (!x, tensor<8x16xf32>) -> !y
  return %0 : !y
}

// A Gemm's weight is transposed by its attribute; factor and bias stay behind it.
// CHECK-LABEL: func.func @gemm
// CHECK: %[[L:.*]] = tacq.linear %arg0, {{.*}}weight_order = [0 : i32]
// CHECK: %[[M:.*]] = tacq.node "Mul" {{.*}} (%[[L]], %{{.*}})
// CHECK: tacq.node "Add" {{.*}} (%[[M]], %arg1)
func.func @gemm(%x: !rows, %c: tensor<16xf32>) -> !out {
  %w = tacq.get_param @wt : tensor<16x8xf32>
  %0 = tacq.node "Gemm" opset 18 (%x, %w, %c) {alpha = 0.5 : f32, transB = 1 : i64} : (!rows, tensor<16x8xf32>, tensor<16xf32>) -> !out
  return %0 : !out
}

// CHECK-LABEL: func.func @narrowed
// CHECK-NOT: tacq.linear
// REMARK: no linear at node 'narrow': the parameter is cast to a type that does not hold its values
func.func @narrowed(%x: !x) -> !y {
  %w = tacq.get_param @double : tensor<8x16xf64>
  %c = tacq.node "Cast" opset 18 (%w) {to = 1 : i64} : (tensor<8x16xf64>) -> tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %c) named "narrow" : (!x, tensor<8x16xf32>) -> !y
  return %0 : !y
}

// CHECK-LABEL: func.func @doubles
// CHECK: tacq.node "MatMul"
// REMARK: the elements are not f32, f16 or bf16
func.func @doubles(%x: tensor<2x8xf64>) -> tensor<2x16xf64> {
  %w = tacq.get_param @double : tensor<8x16xf64>
  %y = tacq.node "MatMul" opset 18 (%x, %w) named "wide" : (tensor<2x8xf64>, tensor<8x16xf64>) -> tensor<2x16xf64>
  return %y : tensor<2x16xf64>
}

// CHECK-LABEL: func.func @batched
// CHECK-NOT: tacq.linear
// REMARK: no linear at node 'experts': the parameter is no matrix
func.func @batched(%x: tensor<2x?x8xf32, #tacq.shape<["2", "s", "8"]>>) -> tensor<2x?x16xf32, #tacq.shape<["2", "s", "16"]>> {
  %w = tacq.get_param @many : tensor<2x8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %w) named "experts" : (tensor<2x?x8xf32, #tacq.shape<["2", "s", "8"]>>, tensor<2x8x16xf32>) -> tensor<2x?x16xf32, #tacq.shape<["2", "s", "16"]>>
  return %0 : tensor<2x?x16xf32, #tacq.shape<["2", "s", "16"]>>
}

// CHECK-LABEL: func.func @columns
// CHECK-NOT: tacq.linear
// REMARK: no linear at node 'columns': the input is transposed
func.func @columns(%x: tensor<8x?xf32, #tacq.shape<["8", "n"]>>) -> !out {
  %w = tacq.get_param @w : tensor<8x16xf32>
  %0 = tacq.node "Gemm" opset 18 (%x, %w) named "columns" {transA = 1 : i64} : (tensor<8x?xf32, #tacq.shape<["8", "n"]>>, tensor<8x16xf32>) -> !out
  return %0 : !out
}
