// RUN: tacq-opt %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes))' --split-input-file | FileCheck %s

// Shape arithmetic folds; the reshape's result is named by the model's dimensions.
// CHECK-LABEL: func.func @reshape_by_shape
// CHECK-NOT: "Shape"
// CHECK-NOT: "Gather"
// CHECK: tacq.symbolic ["batch", "sequence", "4", "8"] : tensor<4xi64>
// CHECK: tacq.node "Reshape" {{.*}} -> tensor<?x?x4x8xf32, #tacq.shape<["batch", "sequence", "4", "8"]>>
func.func @reshape_by_shape(%x: tensor<?x?x32xf32, #tacq.shape<["batch", "sequence", "32"]>>) -> tensor<*xf32> {
  %rest = tacq.constant dense<[4, 8]> : tensor<2xi64> : tensor<2xi64>
  %s = tacq.node "Shape" opset 18 (%x) {start = 0 : i64, end = 2 : i64} : (tensor<?x?x32xf32, #tacq.shape<["batch", "sequence", "32"]>>) -> tensor<*xi64>
  %t = tacq.node "Concat" opset 18 (%s, %rest) {axis = 0 : i64} : (tensor<*xi64>, tensor<2xi64>) -> tensor<*xi64>
  %y = tacq.node "Reshape" opset 18 (%x, %t) : (tensor<?x?x32xf32, #tacq.shape<["batch", "sequence", "32"]>>, tensor<*xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// A size that only the call knows is read, and named, on the host.
// CHECK-LABEL: func.func @runtime_shape
// CHECK: tacq.read_symbol %{{.*}} as "target"
// CHECK: tacq.node "ConstantOfShape" {{.*}} #tacq.shape<["%target[0]", "%target[1]"]>
func.func @runtime_shape(%target: tensor<2xi64> {tacq.name = "target"}) -> tensor<*xf32> {
  %y = tacq.node "ConstantOfShape" opset 9 (%target) : (tensor<2xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

// Sizes that may turn out to be equal or 1 are checked at every call.
// CHECK-LABEL: func.func @broadcast
// CHECK: tacq.require {{.*}} cannot be broadcast together
// CHECK: tacq.node "Add" {{.*}} -> tensor<?xf32, #tacq.shape<["max(m, n)"]>>
func.func @broadcast(%x: tensor<?xf32, #tacq.shape<["m"]>>, %y: tensor<?xf32, #tacq.shape<["n"]>>) -> tensor<*xf32> {
  %z = tacq.node "Add" opset 14 (%x, %y) : (tensor<?xf32, #tacq.shape<["m"]>>, tensor<?xf32, #tacq.shape<["n"]>>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

// A loop with a known trip count is unrolled: three additions, no loop.
// CHECK-LABEL: func.func @loop
// CHECK-NOT: "Loop"
// CHECK-COUNT-3: tacq.node "Add"
// CHECK-NOT: tacq.node "Add"
func.func @loop(%x: tensor<4xf32>) -> tensor<*xf32> {
  %trips = tacq.constant dense<3> : tensor<i64> : tensor<i64>
  %true = tacq.constant dense<true> : tensor<i1> : tensor<i1>
  %r = tacq.node "Loop" opset 16 (%trips, %true, %x) body {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<*xf32>):
    %w = tacq.node "Add" opset 14 (%v, %x) : (tensor<*xf32>, tensor<4xf32>) -> tensor<*xf32>
    tacq.yield %c, %w : tensor<i1>, tensor<*xf32>
  } : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

// The branch of a known condition takes the If's place.
// CHECK-LABEL: func.func @known_branch
// CHECK-NOT: "If"
// CHECK: tacq.node "Neg"
// CHECK-NOT: tacq.node "Abs"
func.func @known_branch(%x: tensor<4xf32>) -> tensor<*xf32> {
  %false = tacq.constant dense<false> : tensor<i1> : tensor<i1>
  %r = tacq.node "If" opset 16 (%false) body {
    %a = tacq.node "Abs" opset 13 (%x) : (tensor<4xf32>) -> tensor<*xf32>
    tacq.yield %a : tensor<*xf32>
  } body {
    %n = tacq.node "Neg" opset 13 (%x) : (tensor<4xf32>) -> tensor<*xf32>
    tacq.yield %n : tensor<*xf32>
  } : (tensor<i1>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}
