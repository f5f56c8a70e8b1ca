// RUN: tacq-opt %s --tacq-fuse-linear=remarks 2> %t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t.remarks

!x = tensor<?x?x8xf32, #tacq.shape<["b", "s", "8"]>>
!y = tensor<?x?x16xf32, #tacq.shape<["b", "s", "16"]>>
!w = tensor<8x16xf32>

tacq.param @a : !w from <"w.bin", 0, 512>
tacq.param @b : !w from <"w.bin", 512, 512>
tacq.param @t : tensor<16x8xf32> from <"w.bin", 1024, 512>
tacq.param @row : tensor<1x1x16xf32> from <"w.bin", 1536, 64>

// CHECK-LABEL: func.func @gated
// CHECK-DAG: %[[A:.*]] = tacq.get_param @a
// CHECK-DAG: %[[B:.*]] = tacq.get_param @t
// CHECK: %[[Y:.*]] = tacq.linear %arg0, weights(%[[A]], %[[B]]) {activation = 1 : i32, gated, node_name = "gate, up", weight_order = [1 : i32, 0 : i32]}
// CHECK-NEXT: return %[[Y]]
func.func @gated(%x: !x) -> !y {
  %a = tacq.get_param @a : !w
  %b = tacq.get_param @t : tensor<16x8xf32>
  %g = tacq.linear %x, weights(%a) {node_name = "gate", weight_order = [1 : i32]} : (!x, !w) -> !y
  %s = tacq.node "Sigmoid" opset 18 (%g) : (!y) -> !y
  %act = tacq.node "Mul" opset 18 (%s, %g) : (!y, !y) -> !y
  %u = tacq.linear %x, weights(%b) {node_name = "up", weight_order = [0 : i32]} : (!x, tensor<16x8xf32>) -> !y
  %m = tacq.node "Mul" opset 18 (%act, %u) : (!y, !y) -> !y
  return %m : !y
}

// Bias, activation and residual in this order; a bias may have axes of size 1 in front.
// CHECK-LABEL: func.func @everything
// CHECK: %[[BIAS:.*]] = tacq.node "Reshape" {{.*}} -> tensor<16xf32>
// CHECK: %[[Y:.*]] = tacq.linear %arg0, weights(%{{.*}}) biases(%[[BIAS]]) residual(%arg1) {activation = 4 : i32
// CHECK-NEXT: return %[[Y]]
func.func @everything(%x: !x, %r: !y) -> !y {
  %a = tacq.get_param @a : !w
  %b = tacq.get_param @row : tensor<1x1x16xf32>
  %0 = tacq.linear %x, weights(%a) {node_name = "l", weight_order = [1 : i32]} : (!x, !w) -> !y
  %1 = tacq.node "Add" opset 18 (%b, %0) : (tensor<1x1x16xf32>, !y) -> !y
  %2 = tacq.node "Relu" opset 18 (%1) : (!y) -> !y
  %3 = tacq.node "Add" opset 18 (%r, %2) : (!y, !y) -> !y
  return %3 : !y
}

// CHECK-LABEL: func.func @gelu
// CHECK: tacq.linear %arg0, weights(%{{.*}}) {activation = 2 : i32
// CHECK-NOT: Erf
// CHECK: return
func.func @gelu(%x: !x) -> !y {
  %a = tacq.get_param @a : !w
  %root = tacq.constant dense<1.41421354> : tensor<f32> : tensor<f32>
  %one = tacq.constant dense<1.0> : tensor<f32> : tensor<f32>
  %half = tacq.constant dense<0.5> : tensor<f32> : tensor<f32>
  %0 = tacq.linear %x, weights(%a) {node_name = "l", weight_order = [1 : i32]} : (!x, !w) -> !y
  %1 = tacq.node "Div" opset 18 (%0, %root) : (!y, tensor<f32>) -> !y
  %2 = tacq.node "Erf" opset 18 (%1) : (!y) -> !y
  %3 = tacq.node "Add" opset 18 (%2, %one) : (!y, tensor<f32>) -> !y
  %4 = tacq.node "Mul" opset 18 (%0, %3) : (!y, !y) -> !y
  %5 = tacq.node "Mul" opset 18 (%4, %half) : (!y, tensor<f32>) -> !y
  return %5 : !y
}

// CHECK-LABEL: func.func @gelu_tanh
// CHECK: tacq.linear %arg0, weights(%{{.*}}) {activation = 3 : i32
// CHECK-NOT: Tanh
// CHECK: return
func.func @gelu_tanh(%x: !x) -> !y {
  %a = tacq.get_param @a : !w
  %three = tacq.constant dense<3.0> : tensor<f32> : tensor<f32>
  %c = tacq.constant dense<0.044715> : tensor<f32> : tensor<f32>
  %root = tacq.constant dense<0.797884583> : tensor<f32> : tensor<f32>
  %one = tacq.constant dense<1.0> : tensor<f32> : tensor<f32>
  %half = tacq.constant dense<0.5> : tensor<f32> : tensor<f32>
  %0 = tacq.linear %x, weights(%a) {node_name = "l", weight_order = [1 : i32]} : (!x, !w) -> !y
  %1 = tacq.node "Mul" opset 18 (%0, %half) : (!y, tensor<f32>) -> !y
  %2 = tacq.node "Pow" opset 18 (%0, %three) : (!y, tensor<f32>) -> !y
  %3 = tacq.node "Mul" opset 18 (%2, %c) : (!y, tensor<f32>) -> !y
  %4 = tacq.node "Add" opset 18 (%0, %3) : (!y, !y) -> !y
  %5 = tacq.node "Mul" opset 18 (%4, %root) : (!y, tensor<f32>) -> !y
  %6 = tacq.node "Tanh" opset 18 (%5) : (!y) -> !y
  %7 = tacq.node "Add" opset 18 (%6, %one) : (!y, tensor<f32>) -> !y
  %8 = tacq.node "Mul" opset 18 (%1, %7) : (!y, !y) -> !y
  return %8 : !y
}

// CHECK-LABEL: func.func @siblings
// CHECK: %[[Y:.*]]:2 = tacq.linear %arg0, weights(%{{.*}}, %{{.*}}) {node_name = "q, k", weight_order = [1 : i32, 1 : i32]}
// CHECK: return %[[Y]]#0, %[[Y]]#1
func.func @siblings(%x: !x) -> (!y, !y) {
  %a = tacq.get_param @a : !w
  %0 = tacq.linear %x, weights(%a) {node_name = "q", weight_order = [1 : i32]} : (!x, !w) -> !y
  %b = tacq.get_param @b : !w
  %1 = tacq.linear %x, weights(%b) {node_name = "k", weight_order = [1 : i32]} : (!x, !w) -> !y
  return %0, %1 : !y, !y
}

// The value before the activation is needed, too.
// CHECK-LABEL: func.func @used_twice
// CHECK: tacq.linear
// CHECK-NOT: activation
// CHECK: tacq.node "Relu"
// REMARK: no fused linear at node 'relu': the input of the activation is used elsewhere
func.func @used_twice(%x: !x) -> (!y, !y) {
  %a = tacq.get_param @a : !w
  %0 = tacq.linear %x, weights(%a) {node_name = "l", weight_order = [1 : i32]} : (!x, !w) -> !y
  %1 = tacq.node "Relu" opset 18 (%0) named "relu" : (!y) -> !y
  return %0, %1 : !y, !y
}

// CHECK-LABEL: func.func @two_inputs
// CHECK-NOT: gated
// REMARK: no fused linear at node 'product': gate and up differ in input, bias or shape, or are used elsewhere
func.func @two_inputs(%x: !x, %z: !x) -> !y {
  %a = tacq.get_param @a : !w
  %b = tacq.get_param @b : !w
  %g = tacq.linear %x, weights(%a) {activation = 1 : i32, node_name = "gate", weight_order = [1 : i32]} : (!x, !w) -> !y
  %u = tacq.linear %z, weights(%b) {node_name = "up", weight_order = [1 : i32]} : (!x, !w) -> !y
  %m = tacq.node "Mul" opset 18 (%g, %u) named "product" : (!y, !y) -> !y
  return %m : !y
}

// A residual that is broadcast is none.
// CHECK-LABEL: func.func @broadcast
// CHECK-NOT: residual(
// REMARK: no fused linear at node 'shift': what is added has another shape
func.func @broadcast(%x: !x, %r: tensor<?x1x16xf32, #tacq.shape<["b", "1", "16"]>>) -> !y {
  %a = tacq.get_param @a : !w
  %0 = tacq.linear %x, weights(%a) {node_name = "l", weight_order = [1 : i32]} : (!x, !w) -> !y
  %1 = tacq.node "Add" opset 18 (%0, %r) named "shift" : (!y, tensor<?x1x16xf32, #tacq.shape<["b", "1", "16"]>>) -> !y
  return %1 : !y
}
