// RUN: tacq-opt %s --tacq-form-dispatches=fuse-rows --split-input-file | FileCheck %s
// RUN: tacq-opt %s --tacq-form-dispatches --split-input-file | FileCheck %s --check-prefix=APART

!x = tensor<2x64xf16>
!q = tensor<2x128xi8>
!s = tensor<2x1x2xf32>

// A normalization of which only the quantized rows are read.
// CHECK-LABEL: func.func @quantized_norm
// CHECK-NEXT: tacq_rt.dispatch @[[K:.*]](%{{.*}}) nodes ["n", "q"] ops ["tacq.norm", "tacq.quantize_rows"]
// CHECK-NEXT: return
// CHECK: tacq_rt.kernel @[[K]]
// CHECK: %[[Y:.*]] = tacq.norm rms
// CHECK: tacq.quantize_rows %[[Y]]
// APART-LABEL: func.func @quantized_norm
// APART: tacq_rt.dispatch
// APART: tacq_rt.dispatch
func.func @quantized_norm(%x: !x, %g: tensor<64xf16>) -> (!q, !s) {
  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "n"} : (!x, tensor<64xf16>) -> !x
  %q, %s = tacq.quantize_rows %y {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s : !q, !s
}

// -----

!x = tensor<2x64xf16>
!q = tensor<2x128xi8>
!s = tensor<2x1x2xf32>

// Its result is read elsewhere, too.
// CHECK-LABEL: func.func @norm_that_is_read
// CHECK: tacq_rt.dispatch {{.*}} ops ["tacq.norm"]
// CHECK: tacq_rt.dispatch {{.*}} ops ["tacq.quantize_rows"]
func.func @norm_that_is_read(%x: !x, %g: tensor<64xf16>) -> (!q, !s, !x) {
  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "n"} : (!x, tensor<64xf16>) -> !x
  %q, %s = tacq.quantize_rows %y {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s, %y : !q, !s, !x
}

// -----

// A row that is too long for the stack.
// CHECK-LABEL: func.func @long_rows
// CHECK: tacq_rt.dispatch {{.*}} ops ["tacq.norm"]
// CHECK: tacq_rt.dispatch {{.*}} ops ["tacq.quantize_rows"]
func.func @long_rows(%x: tensor<2x16512xf16>, %g: tensor<16512xf16>) -> (tensor<2x16512xi8>, tensor<2x129x2xf32>) {
  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "n"} : (tensor<2x16512xf16>, tensor<16512xf16>) -> tensor<2x16512xf16>
  %q, %s = tacq.quantize_rows %y {node_name = "q"} : (tensor<2x16512xf16>) -> (tensor<2x16512xi8>, tensor<2x129x2xf32>)
  return %q, %s : tensor<2x16512xi8>, tensor<2x129x2xf32>
}

// -----

!q = tensor<1x?x4x32xf16, #tacq.shape<["1", "s", "4", "32"]>>
!kv = tensor<1x?x2x32xf16, #tacq.shape<["1", "s", "2", "32"]>>
!t = tensor<1x?x16xf16, #tacq.shape<["1", "s", "16"]>>
!past = tensor<1x2x?x32xf16, #tacq.shape<["1", "2", "p", "32"]>>
!present = tensor<1x2x?x32xf16, #tacq.shape<["1", "2", "p + s", "32"]>>

// Rotary embeddings and attention over a cache; the rotated queries are a result behind its own.
// CHECK-LABEL: func.func @rotated
// CHECK: %[[D:.*]]:4 = tacq_rt.dispatch @[[K:.*]](%{{.*}}) nodes ["rq", "rk", "y"]
// CHECK-NEXT: return %[[D]]#0, %[[D]]#1, %[[D]]#2
// CHECK: tacq_rt.kernel @[[K]]
// CHECK: %[[RQ:.*]] = tacq.rope
// CHECK: %[[RK:.*]] = tacq.rope
// CHECK: %[[OUT:.*]], %[[PRESENT:.*]]:2 = tacq.attention %[[RQ]], %[[RK]]
// CHECK: tacq.yield %[[OUT]], %[[PRESENT]]#0, %[[PRESENT]]#1, %[[RQ]]
// APART-LABEL: func.func @rotated
// APART-COUNT-3: tacq_rt.dispatch
func.func @rotated(%q: !q, %k: !kv, %v: !kv, %c: !t, %s: !t, %pk: !past, %pv: !past) -> (!q, !present, !present) {
  %rq = tacq.rope %q, %c, %s {node_name = "rq"} : (!q, !t, !t) -> !q
  %rk = tacq.rope %k, %c, %s {node_name = "rk"} : (!kv, !t, !t) -> !kv
  %y:3 = tacq.attention %rq, %rk, %v past(%pk, %pv) {scale = 0.25 : f64, causal,
    resultSegmentSizes = array<i32: 1, 1, 1>, node_name = "y"}
    : (!q, !kv, !kv, !past, !past) -> (!q, !present, !present)
  return %y#0, %y#1, %y#2 : !q, !present, !present
}

// -----

!q = tensor<1x?x4x32xf16, #tacq.shape<["1", "s", "4", "32"]>>
!t = tensor<1x?x16xf16, #tacq.shape<["1", "s", "16"]>>

// Without a cache there is no kernel that appends, which would rotate.
// CHECK-LABEL: func.func @without_cache
// CHECK-COUNT-3: tacq_rt.dispatch
func.func @without_cache(%q: !q, %k: !q, %v: !q, %c: !t, %s: !t) -> !q {
  %rq = tacq.rope %q, %c, %s {node_name = "rq"} : (!q, !t, !t) -> !q
  %rk = tacq.rope %k, %c, %s {node_name = "rk"} : (!q, !t, !t) -> !q
  %y = tacq.attention %rq, %rk, %v {scale = 0.25 : f64, causal,
    resultSegmentSizes = array<i32: 1, 0, 0>, node_name = "y"} : (!q, !q, !q) -> !q
  return %y : !q
}

// -----

!x = tensor<2x64xf16>
!q = tensor<2x128xi8>
!s = tensor<2x1x2xf32>

// Nodes of elements of which only the quantized rows are read.
// CHECK-LABEL: func.func @quantized_nodes
// CHECK-NEXT: tacq_rt.dispatch @[[K:.*]](%arg0, %arg1) nodes ["s", "m", "q"] ops ["Sigmoid", "Mul", "tacq.quantize_rows"]
// CHECK-NEXT: return
// APART-LABEL: func.func @quantized_nodes
// APART: tacq_rt.dispatch {{.*}} ops ["Sigmoid", "Mul"]
// APART: tacq_rt.dispatch {{.*}} ops ["tacq.quantize_rows"]
func.func @quantized_nodes(%x: !x, %y: !x) -> (!q, !s) {
  %0 = tacq.node "Sigmoid" opset 13 (%x) named "s" : (!x) -> !x
  %1 = tacq.node "Mul" opset 14 (%0, %y) named "m" : (!x, !x) -> !x
  %q, %s = tacq.quantize_rows %1 {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s : !q, !s
}

// -----

!x = tensor<2x64xf16>
!q = tensor<2x128xi8>
!s = tensor<2x1x2xf32>

// CHECK-LABEL: func.func @nodes_that_are_read
// CHECK: tacq_rt.dispatch {{.*}} ops ["Mul"]
// CHECK: tacq_rt.dispatch {{.*}} ops ["tacq.quantize_rows"]
func.func @nodes_that_are_read(%x: !x, %y: !x) -> (!q, !s, !x) {
  %1 = tacq.node "Mul" opset 14 (%x, %y) named "m" : (!x, !x) -> !x
  %q, %s = tacq.quantize_rows %1 {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s, %1 : !q, !s, !x
}
