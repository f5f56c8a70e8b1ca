// RUN: tacq-opt %s --tacq-widen-floats --split-input-file | FileCheck %s
// RUN: not tacq-opt %S/Inputs/bit-cast.mlir --tacq-widen-floats 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: unsupported node 'bits' (BitCast): it works on the bits of a 16-bit number

!x = tensor<?x4xf16, #tacq.shape<["s", "4"]>>
!wide = tensor<?x4xf32, #tacq.shape<["s", "4"]>>

module {
  tacq.param @w : tensor<4x4xf16> from <"w", 0, 32>
  tacq.param @gain : tensor<4xbf16> from <"w", 32, 8>

  // CHECK-LABEL: func.func @main(
  // CHECK-SAME:    %arg0: tensor<?x4xf32, #tacq.shape<["s", "4"]>>, %arg1: tensor<?xi64, #tacq.shape<["s"]>>)
  // CHECK-SAME:    -> (tensor<?x4xf32, {{.*}}>, tensor<?x4xf32, {{.*}}>)
  // CHECK-DAG:   %[[W:.*]] = tacq.get_param @w : tensor<4x4xf16>
  // CHECK-DAG:   %[[WIDE:.*]] = tacq.node "Cast" {{.*}} (%[[W]]) {{.*}}{to = 1 : i64} : (tensor<4x4xf16>) -> tensor<4x4xf32>
  // CHECK-DAG:   %[[GAIN:.*]] = tacq.get_param @gain : tensor<4xbf16>
  // CHECK-DAG:   %[[G:.*]] = tacq.node "Cast" {{.*}} (%[[GAIN]]) {{.*}} -> tensor<4xf32>
  // CHECK-DAG:   %[[HALF:.*]] = tacq.constant dense<[5.000000e-01, 6.550400e+04]> : tensor<2xf32> : tensor<2xf32>
  // CHECK-DAG:   %[[ONE:.*]] = tacq.constant dense<1.000000e+00> : tensor<f32> : tensor<f32>
  // CHECK:       %[[ROWS:.*]] = tacq.node "Gather" {{.*}} (%[[WIDE]], %arg1) {{.*}}-> tensor<?x4xf32,
  // CHECK-NEXT:  %[[SUM:.*]] = tacq.node "Add" {{.*}} (%arg0, %[[ROWS]])
  // CHECK-NEXT:  %[[N:.*]] = tacq.norm rms %[[SUM]] gain(%[[G]])
  // CHECK-NEXT:  %[[Y:.*]] = tacq.linear %[[N]], weights(%[[W]]) {{.*}} : (tensor<?x4xf32, {{.*}}>, tensor<4x4xf16>) -> tensor<?x4xf32,
  // CHECK-NEXT:  %[[I:.*]] = tacq.node "Cast" {{.*}} (%arg1) {to = 1 : i64} : (tensor<?xi64, {{.*}}>) -> tensor<?xf32,
  // CHECK:       %[[F:.*]] = tacq.node "ConstantOfShape" {{.*}}{value = dense<2.500000e-01> : tensor<1xf32>}
  // CHECK-NOT:   Cast
  // CHECK:       return %[[U:.*]], %[[U]] :
  func.func @main(%x: !x, %ids: tensor<?xi64, #tacq.shape<["s"]>>) -> (!x, !wide) {
    %w = tacq.get_param @w : tensor<4x4xf16>
    %gain = tacq.get_param @gain : tensor<4xbf16>
    %half = tacq.constant dense<[0.5, 65504.0]> : tensor<2xf16> : tensor<2xf16>
    %one = tacq.constant dense<1.0> : tensor<f16> : tensor<f16>
    %rows = tacq.node "Gather" opset 18 (%w, %ids) {axis = 0 : i64} : (tensor<4x4xf16>, tensor<?xi64, #tacq.shape<["s"]>>) -> !x
    %sum = tacq.node "Add" opset 18 (%x, %rows) : (!x, !x) -> !x
    %w1 = tacq.node "Cast" opset 18 (%sum) {to = 1 : i64} : (!x) -> !wide
    %n = tacq.norm rms %w1 gain(%gain) {epsilon = 1.0e-5 : f64, node_name = "n"} : (!wide, tensor<4xbf16>) -> !wide
    %n1 = tacq.node "Cast" opset 18 (%n) {to = 10 : i64} : (!wide) -> !x
    %y = tacq.linear %n1, weights(%w) {node_name = "l", weight_order = [0 : i32]} : (!x, tensor<4x4xf16>) -> !x
    %i = tacq.node "Cast" opset 18 (%ids) {to = 10 : i64} : (tensor<?xi64, #tacq.shape<["s"]>>) -> tensor<?xf16, #tacq.shape<["s"]>>
    %sizes = tacq.symbolic ["s", "4"] : tensor<2xi64>
    %f = tacq.node "ConstantOfShape" opset 18 (%sizes) {value = dense<0.25> : tensor<1xf16>} : (tensor<2xi64>) -> !x
    %ax = tacq.constant dense<1> : tensor<1xi64> : tensor<1xi64>
    %col = tacq.node "Unsqueeze" opset 18 (%i, %ax) : (tensor<?xf16, #tacq.shape<["s"]>>, tensor<1xi64>) -> tensor<?x1xf16, #tacq.shape<["s", "1"]>>
    %s = tacq.node "Mul" opset 18 (%f, %col) : (!x, tensor<?x1xf16, #tacq.shape<["s", "1"]>>) -> !x
    %t = tacq.node "Sum" opset 18 (%s, %y, %one) : (!x, !x, tensor<f16>) -> !x
    %r = tacq.node "Split" opset 18 (%half) {num_outputs = 2 : i64} : (tensor<2xf16>) -> tensor<1xf16>
    %u = tacq.node "Mul" opset 18 (%t, %r) : (!x, tensor<1xf16>) -> !x
    %v = tacq.node "Cast" opset 18 (%u) {to = 1 : i64} : (!x) -> !wide
    return %u, %v : !x, !wide
  }
}
