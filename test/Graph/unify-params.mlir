// RUN: rm -rf %t && mkdir %t
// RUN: %python -c "import sys, array; w = array.array('f', range(12)); t = array.array('f', [w[3 * j + i] for i in range(3) for j in range(4)]); o = array.array('f', [1.0] * 4); open(sys.argv[1], 'wb').write((w + t + o + o).tobytes())" %t/w.bin
// RUN: tacq-opt %s --tacq-unify-params="folder=%t remarks" 2> %t/remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t/remarks
// RUN: not tacq-opt %s --tacq-unify-params="folder=%t/none" 2>&1 | FileCheck %s --check-prefix=MISSING

// MISSING: error: {{.*}}w.bin

// The transpose goes, and the linear operation reads the other order; a node reads it transposed.
// Gains that happen to be equal stay apart. A name that an exporter made up gives way to the node's.
// CHECK: tacq.param @embed.weight : tensor<4x3xf32> from <"w.bin", 0, 48>
// CHECK-NEXT: tacq.param @first.gain
// CHECK-NEXT: tacq.param @second.gain
// CHECK-NEXT: tacq.param @m.layers.0.proj.weight : tensor<4x3xf32> from <"w.bin", 4, 48>
// CHECK-NOT: tacq.param
// REMARK-DAG: parameter 'onnx::MatMul_7' is the transpose of 'embed.weight'
// REMARK-DAG: parameter 'val_3' is named 'm.layers.0.proj.weight' after its reader
tacq.param @embed.weight : tensor<4x3xf32> from <"w.bin", 0, 48>
tacq.param @"onnx::MatMul_7" : tensor<3x4xf32> from <"w.bin", 48, 48>
tacq.param @first.gain : tensor<4xf32> from <"w.bin", 96, 16>
tacq.param @second.gain : tensor<4xf32> from <"w.bin", 112, 16>
tacq.param @val_3 : tensor<4x3xf32> from <"w.bin", 4, 48>

// CHECK: func.func @main
// CHECK: %[[E:.*]] = tacq.get_param @embed.weight
// CHECK: %[[T:.*]] = tacq.node "Transpose" {{.*}} (%[[E]])
// CHECK: tacq.linear %arg0, weights(%[[E]]) {node_name = "head", weight_order = [0 : i32]}
// CHECK: tacq.node "Neg" {{.*}} (%[[T]])
// CHECK: tacq.get_param @m.layers.0.proj.weight
func.func @main(%x: tensor<2x3xf32>) -> (tensor<2x4xf32>, tensor<3x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x4xf32>) {
  %w = tacq.get_param @"onnx::MatMul_7" : tensor<3x4xf32>
  %0 = tacq.linear %x, weights(%w) {node_name = "head", weight_order = [1 : i32]} : (tensor<2x3xf32>, tensor<3x4xf32>) -> tensor<2x4xf32>
  %1 = tacq.node "Neg" opset 18 (%w) : (tensor<3x4xf32>) -> tensor<3x4xf32>
  %2 = tacq.get_param @first.gain : tensor<4xf32>
  %3 = tacq.get_param @second.gain : tensor<4xf32>
  %v = tacq.get_param @val_3 : tensor<4x3xf32>
  %4 = tacq.linear %x, weights(%v) {node_name = "/m/layers.0/proj/MatMul", weight_order = [0 : i32]} : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<2x4xf32>
  return %0, %1, %2, %3, %4 : tensor<2x4xf32>, tensor<3x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x4xf32>
}
