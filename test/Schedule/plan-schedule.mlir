// RUN: tacq-opt %s --tacq-form-dispatches --tacq-plan-schedule --split-input-file | FileCheck %s

// Two matrix products need two slots for what lies between; the third may use the first one again.
// CHECK-LABEL: tacq_rt.schedule @slots
// CHECK: tacq_rt.input 0 "x"
// CHECK: tacq_rt.output 0 "y"
// CHECK-DAG: %[[T0:.*]] = tacq_rt.buffer transient 0 size "64*n"
// CHECK-DAG: %[[T1:.*]] = tacq_rt.buffer transient 1 size "64*n"
// CHECK-DAG: %[[T2:.*]] = tacq_rt.buffer transient 0 size "64*n"
// CHECK: tacq_rt.launch {{.*}} writes(%[[T0]])
// CHECK: tacq_rt.launch {{.*}} reads(%[[T0]]{{.*}} writes(%[[T1]])
// CHECK: tacq_rt.launch {{.*}} reads(%[[T1]]{{.*}} writes(%[[T2]])
func.func @slots(%x: tensor<?x16xf32, #tacq.shape<["n", "16"]>> {tacq.name = "x"}, %w: tensor<16x16xf32> {tacq.name = "w"}) -> (tensor<?x16xf32, #tacq.shape<["n", "16"]>> {tacq.name = "y"}) {
  %0 = tacq.node "MatMul" opset 13 (%x, %w) named "a" : (tensor<?x16xf32, #tacq.shape<["n", "16"]>>, tensor<16x16xf32>) -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
  %1 = tacq.node "MatMul" opset 13 (%0, %w) named "b" : (tensor<?x16xf32, #tacq.shape<["n", "16"]>>, tensor<16x16xf32>) -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
  %2 = tacq.node "MatMul" opset 13 (%1, %w) named "c" : (tensor<?x16xf32, #tacq.shape<["n", "16"]>>, tensor<16x16xf32>) -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
  %3 = tacq.node "MatMul" opset 13 (%2, %w) named "d" : (tensor<?x16xf32, #tacq.shape<["n", "16"]>>, tensor<16x16xf32>) -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
  return %3 : tensor<?x16xf32, #tacq.shape<["n", "16"]>>
}

// -----

// The cache of an attention is one buffer that is read and written in place, in two launches.
// CHECK-LABEL: tacq_rt.schedule @cache
// CHECK: tacq_rt.state 0 "present.0.key" input 1 output 1 axis 2 in_place
// CHECK: tacq_rt.state 1 "present.0.value" input 2 output 2 axis 2 in_place
// CHECK: tacq_rt.launch @[[K:.*]] reads{{.*}} capacity_of 0
// CHECK: tacq_rt.launch @[[K]]_attend reads{{.*}} capacity_of 0
!q = tensor<?x?x2x8xf32, #tacq.shape<["b", "s", "2", "8"]>>
!past = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p", "8"]>>
!present = tensor<?x2x?x8xf32, #tacq.shape<["b", "2", "p + s", "8"]>>
func.func @cache(%q: !q {tacq.name = "q"}, %pk: !past {tacq.name = "past_key_values.0.key"}, %pv: !past {tacq.name = "past_key_values.0.value"}) -> (!q {tacq.name = "y"}, !present {tacq.name = "present.0.key"}, !present {tacq.name = "present.0.value"}) {
  %o, %k, %v = tacq.attention %q, %q, %q past(%pk, %pv) {scale = 1.0 : f64, causal, node_name = "a"} : (!q, !q, !q, !past, !past) -> (!q, !present, !present)
  return %o, %k, %v : !q, !present, !present
}

// -----

// Both branches write the buffer of the result; the condition is read when it is there.
// CHECK-LABEL: tacq_rt.schedule @branches
// CHECK: %[[OUT:.*]] = tacq_rt.buffer output 0
// CHECK: tacq_rt.read %{{.*}} as "[[C:.*]]" count 1
// CHECK: tacq_rt.if "%[[C]][0]"
// CHECK: tacq_rt.launch {{.*}} writes(%[[OUT]])
// CHECK: else
// CHECK: tacq_rt.launch {{.*}} writes(%[[OUT]])
func.func @branches(%c: tensor<i1> {tacq.name = "c"}, %x: tensor<4xf32> {tacq.name = "x"}) -> (tensor<4xf32> {tacq.name = "y"}) {
  %r = tacq.node "If" opset 16 (%c) named "if" body {
    %a = tacq.node "Abs" opset 13 (%x) named "abs" : (tensor<4xf32>) -> tensor<4xf32>
    tacq.yield %a : tensor<4xf32>
  } body {
    %n = tacq.node "Neg" opset 13 (%x) named "neg" : (tensor<4xf32>) -> tensor<4xf32>
    tacq.yield %n : tensor<4xf32>
  } : (tensor<i1>) -> tensor<4xf32>
  return %r : tensor<4xf32>
}

// -----

// What a branch requires counts where it is taken.
// CHECK-LABEL: tacq_rt.schedule @requirements
// CHECK: tacq_rt.read %{{.*}} as "[[C:.*]]" count 1
// CHECK: tacq_rt.require "%[[C]][0]*n", "%[[C]][0]*m"
// CHECK: else
// CHECK: tacq_rt.require "-%[[C]][0]*n + n", "-4*%[[C]][0] + 4"
func.func @requirements(%c: tensor<i1> {tacq.name = "c"}, %x: tensor<?xf32, #tacq.shape<["n"]>> {tacq.name = "x"}) -> (tensor<?xf32, #tacq.shape<["n"]>> {tacq.name = "y"}) {
  %r = tacq.node "If" opset 16 (%c) named "if" body {
    tacq.require "n", "m", "first"
    %a = tacq.node "Abs" opset 13 (%x) named "abs" : (tensor<?xf32, #tacq.shape<["n"]>>) -> tensor<?xf32, #tacq.shape<["n"]>>
    tacq.yield %a : tensor<?xf32, #tacq.shape<["n"]>>
  } body {
    tacq.require "n", "4", "second"
    %n = tacq.node "Neg" opset 13 (%x) named "neg" : (tensor<?xf32, #tacq.shape<["n"]>>) -> tensor<?xf32, #tacq.shape<["n"]>>
    tacq.yield %n : tensor<?xf32, #tacq.shape<["n"]>>
  } : (tensor<i1>) -> tensor<?xf32, #tacq.shape<["n"]>>
  return %r : tensor<?xf32, #tacq.shape<["n"]>>
}

// -----

// Everything that reads a parameter in one layout reads one buffer; another layout has its own.
// CHECK-LABEL: tacq_rt.schedule @parameters
// CHECK-COUNT-2: tacq_rt.buffer constant
// CHECK-NOT: tacq_rt.buffer constant
// CHECK: tacq_rt.kernel
tacq.param @w : tensor<16x16xf32> from <"w.bin", 0, 1024>
func.func @parameters(%x: tensor<2x16xf32> {tacq.name = "x"}) -> (tensor<2x16xf32> {tacq.name = "y"}) {
  %w0 = tacq.get_param @w : tensor<16x16xf32>
  %0 = tacq.node "MatMul" opset 13 (%x, %w0) named "a" : (tensor<2x16xf32>, tensor<16x16xf32>) -> tensor<2x16xf32>
  %w1 = tacq.get_param @w : tensor<16x16xf32>
  %1 = tacq.node "MatMul" opset 13 (%0, %w1) named "b" : (tensor<2x16xf32>, tensor<16x16xf32>) -> tensor<2x16xf32>
  %w2 = tacq.get_param @w {layout = #tacq.panel<16, f32>} : tensor<16x16xf32>
  %2 = tacq.linear %1, weights(%w2) {weight_order = [0 : i32], weight_layouts = [#tacq.panel<16, f32>], node_name = "c"} : (tensor<2x16xf32>, tensor<16x16xf32>) -> tensor<2x16xf32>
  return %2 : tensor<2x16xf32>
}

// -----

// Weights that differ only in the number of their slots share a kernel; each is a constant of its
// own type and bytes. The input is quantized once.
// CHECK-LABEL: tacq_rt.schedule @mixed
// CHECK-DAG: %[[A:.*]] = tacq_rt.buffer constant 0 size "{{[0-9]+}}" of !tacq.mixed<16x128, {{.*}}count = 1, exact>> param @a layout #tacq.layout
// CHECK-DAG: %[[B:.*]] = tacq_rt.buffer constant 0 size "{{[0-9]+}}" of !tacq.mixed<16x128, {{.*}}count = 2, exact>> param @b layout #tacq.layout
// CHECK: tacq_rt.launch @[[QUANTIZE:[^ ]*quantize_rows]]
// CHECK: tacq_rt.launch @[[LINEAR:[^ ]*linear]] reads(%{{.*}}, %{{.*}}, %[[A]])
// CHECK: tacq_rt.launch @[[LINEAR]] reads(%{{.*}}, %{{.*}}, %[[B]])
// CHECK: tacq_rt.kernel @[[QUANTIZE]]
// CHECK: tacq_rt.kernel @[[LINEAR]] {
// CHECK-NEXT: ^bb0(%{{.*}}: tensor<2x128xi8>, %{{.*}}: tensor<2x1x2xf32>, %{{.*}}: !tacq.mixed<16x128, {{.*}}circuit = <slots, count = 0, exact>>):
// CHECK-NOT: tacq_rt.kernel
!a = !tacq.mixed<16x128, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 1, exact>>
!b = !tacq.mixed<16x128, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 2, exact>>
#layout = #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = sorted, circuit = tiles, little>
tacq.param @a : tensor<16x128xf32> from #tacq.source<"a.bin", 0, 8192>
tacq.param @b : tensor<16x128xf32> from #tacq.source<"b.bin", 0, 8192>
func.func @mixed(%x: tensor<2x128xf32>) -> (tensor<2x16xf32>, tensor<2x16xf32>) {
  %q, %s = tacq.quantize_rows %x {node_name = "q"} : (tensor<2x128xf32>) -> (tensor<2x128xi8>, tensor<2x1x2xf32>)
  %a = tacq.get_param @a {layout = #layout} : !a
  %b = tacq.get_param @b {layout = #layout} : !b
  %y = tacq.linear %q x_scales(%s), weights(%a) {weight_order = [0 : i32], weight_layouts = [#layout], node_name = "y"} : (tensor<2x128xi8>, tensor<2x1x2xf32>, !a) -> tensor<2x16xf32>
  %z = tacq.linear %q x_scales(%s), weights(%b) {weight_order = [0 : i32], weight_layouts = [#layout], node_name = "z"} : (tensor<2x128xi8>, tensor<2x1x2xf32>, !b) -> tensor<2x16xf32>
  return %y, %z : tensor<2x16xf32>, tensor<2x16xf32>
}
