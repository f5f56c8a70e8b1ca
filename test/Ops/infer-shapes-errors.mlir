// RUN: tacq-opt %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes))' --split-input-file --verify-diagnostics

// All unknown operators are named, not only the first one.
func.func @unknown(%x: tensor<2xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{unsupported node 'a' (Frobnicate, opset 3): TACQ does not know this operator}}
  %0 = tacq.node "Frobnicate" opset 3 (%x) named "a" : (tensor<2xf32>) -> tensor<*xf32>
  // expected-error @+1 {{unsupported node 'b' (Grind, opset 1): TACQ does not know this operator of domain com.example}}
  %1 = tacq.node "Grind" opset 1 domain "com.example" (%0) named "b" : (tensor<*xf32>) -> tensor<*xf32>
  return %1 : tensor<*xf32>
}

// -----

func.func @contradiction(%x: tensor<2x3xf32>, %y: tensor<4x3xf32>) -> tensor<*xf32> {
  // expected-error @+1 {{node 'sum' (Add, opset 14): sizes 2 and 4 cannot be broadcast together}}
  %0 = tacq.node "Add" opset 14 (%x, %y) named "sum" : (tensor<2x3xf32>, tensor<4x3xf32>) -> tensor<*xf32>
  return %0 : tensor<*xf32>
}

// -----

func.func @endless(%x: tensor<4xf32>, %trips: tensor<i64>) -> tensor<*xf32> {
  %true = tacq.constant dense<true> : tensor<i1> : tensor<i1>
  // expected-error @+1 {{unsupported node 'l' (Loop, opset 16): its trip count is not known at compile time}}
  %r = tacq.node "Loop" opset 16 (%trips, %true, %x) named "l" body {
  ^bb0(%i: tensor<i64>, %c: tensor<i1>, %v: tensor<*xf32>):
    tacq.yield %c, %v : tensor<i1>, tensor<*xf32>
  } : (tensor<i64>, tensor<i1>, tensor<4xf32>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}
