// RUN: tacq-opt %s --tacq-infer-shapes --split-input-file --verify-diagnostics

func.func @axis(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  // expected-error @below {{node 'n' (Flatten, opset 17): axis 3 is out of range for rank 2}}
  %y = tacq.node "Flatten" opset 17 (%x) named "n" {axis = 3 : i64} : (tensor<2x3xf32>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

func.func @broadcast(%x: tensor<2x3xf32>, %y: tensor<2xf32>) -> tensor<*xf32> {
  // expected-error @below {{sizes 3 and 2 cannot be broadcast together}}
  %z = tacq.node "Add" opset 17 (%x, %y) named "n" : (tensor<2x3xf32>, tensor<2xf32>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

func.func @reshape(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %s = tacq.constant dense<[4, 2]> : tensor<2xi64> : tensor<2xi64>
  // expected-error @below {{the number of elements changes: 8 is not 6}}
  %y = tacq.node "Reshape" opset 17 (%x, %s) named "n" : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

func.func @gather(%x: tensor<2x3xf32>) -> tensor<*xf32> {
  %i = tacq.constant dense<3> : tensor<1xi64> : tensor<1xi64>
  // expected-error @below {{index 3 is out of range for an axis of 3}}
  %y = tacq.node "Gather" opset 17 (%x, %i) named "n" {axis = 1 : i64} : (tensor<2x3xf32>, tensor<1xi64>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

func.func @compress(%x: tensor<4xf32>, %c: tensor<4xi1>) -> tensor<*xf32> {
  // expected-error @below {{unsupported node 'n' (Compress, opset 17): the number of its results depends on values at run time}}
  %y = tacq.node "Compress" opset 17 (%x, %c) named "n" : (tensor<4xf32>, tensor<4xi1>) -> tensor<*xf32>
  return %y : tensor<*xf32>
}

// -----

func.func @concat(%x: tensor<2x3xf32>, %y: tensor<2x4xf32>) -> tensor<*xf32> {
  // expected-error @below {{inputs differ in size along axis 1: 4 is not 3}}
  %z = tacq.node "Concat" opset 17 (%x, %y) named "n" {axis = 0 : i64} : (tensor<2x3xf32>, tensor<2x4xf32>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

func.func @element_types(%x: tensor<2xf32>, %y: tensor<2xi64>) -> tensor<*xf32> {
  // expected-error @below {{node 'n' (Add, opset 17): its operands have different element types, 'f32' and 'i64'; a Cast is missing}}
  %z = tacq.node "Add" opset 17 (%x, %y) named "n" : (tensor<2xf32>, tensor<2xi64>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}

// -----

func.func @element_types_of_choices(%c: tensor<2xi1>, %x: tensor<2xf32>, %y: tensor<2xf16>) -> tensor<*xf32> {
  // expected-error @below {{different element types, 'f32' and 'f16'}}
  %z = tacq.node "Where" opset 17 (%c, %x, %y) named "n" : (tensor<2xi1>, tensor<2xf32>, tensor<2xf16>) -> tensor<*xf32>
  return %z : tensor<*xf32>
}
