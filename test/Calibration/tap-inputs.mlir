// RUN: tacq-opt %s --tacq-tap-inputs | FileCheck %s
// RUN: tacq-opt %s --tacq-tap-inputs="parameters=b keep-results=y" | FileCheck %s --check-prefix=ONE

!x = tensor<?x4xf32, #tacq.shape<["s", "4"]>>
!y = tensor<?x2xf32, #tacq.shape<["s", "2"]>>

module {
  tacq.param @a : tensor<2x4xf32> from <"w", 0, 32>
  tacq.param @b : tensor<4x2xf32> from <"w", 32, 32>
  tacq.param @c : tensor<2x2xf32> from <"w", 64, 16>

  // Weights of one input share a result; a second use of a weight is a tap of its own.
  // CHECK-LABEL: func.func @main(
  // CHECK-SAME:    -> (tensor<?x4xf32, {{.*}}> {tacq.name = "input:a"}, tensor<?x2xf32, {{.*}}> {tacq.name = "input:c"}, tensor<?x2xf32, {{.*}}> {tacq.name = "input:c#2"})
  // CHECK-SAME:    tacq.taps = [
  // CHECK-SAME:      {columns = 4 : i64, input = "input:a", order = "nk", parameter = "a", rows = 2 : i64}
  // CHECK-SAME:      {columns = 4 : i64, input = "input:a", order = "kn", parameter = "b", rows = 2 : i64}
  // CHECK-SAME:      {columns = 2 : i64, input = "input:c", order = "nk", parameter = "c", rows = 2 : i64}
  // CHECK-SAME:      {columns = 2 : i64, input = "input:c#2", order = "nk", parameter = "c", rows = 2 : i64}
  // CHECK:         %[[A:.*]] = tacq.linear %arg0
  // CHECK-NEXT:    %[[C:.*]] = tacq.linear %[[A]]
  // CHECK-NEXT:    return %arg0, %[[A]], %[[C]]

  // ONE-LABEL: func.func @main(
  // ONE-SAME:    -> (tensor<?x2xf32, {{.*}}> {tacq.name = "y"}, tensor<?x4xf32, {{.*}}> {tacq.name = "input:b"})
  func.func @main(%x: !x) -> (!y {tacq.name = "y"}, !y {tacq.name = "z"}) {
    %wa = tacq.get_param @a : tensor<2x4xf32>
    %wb = tacq.get_param @b : tensor<4x2xf32>
    %wc = tacq.get_param @c : tensor<2x2xf32>
    %a = tacq.linear %x, weights(%wa) {node_name = "a", weight_order = [0 : i32]} : (!x, tensor<2x4xf32>) -> !y
    %b = tacq.linear %x, weights(%wb) {node_name = "b", weight_order = [1 : i32]} : (!x, tensor<4x2xf32>) -> !y
    %c = tacq.linear %a, weights(%wc) {node_name = "c", weight_order = [0 : i32]} : (!y, tensor<2x2xf32>) -> !y
    %d = tacq.linear %c, weights(%wc) {node_name = "d", weight_order = [0 : i32]} : (!y, tensor<2x2xf32>) -> !y
    return %b, %d : !y, !y
  }
}
