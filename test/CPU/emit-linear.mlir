// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v4 | FileCheck %s --check-prefixes=CHECK,V4
// RUN: tacq-opt %s --tacq-emit-cpu-kernels=target=x86-64-v3 | FileCheck %s --check-prefixes=CHECK,V3

!x = tensor<?x256xf32, #tacq.shape<["rows", "256"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>

// The buffers, the number of rows, the tasks, the status.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xf32>, %[[W:[^:]*]]: memref<?xf32>, %[[Y:[^:]*]]: memref<?xf32>,
// CHECK-SAME: %{{[^:]*}}: index, %[[BEGIN:[^:]*]]: index, %[[END:[^:]*]]: index, %{{[^:]*}}: memref<?xi32>)
// CHECK-SAME: tacq.tasks = "2*floordiv(rows + 95, 96)"
// CHECK: scf.for %{{.*}} = %[[BEGIN]] to %[[END]]
// One row: two panels with four sums each (v4), one panel with eight sums (v3), twice.
// CHECK: scf.if
// CHECK: memref.prefetch %[[W]]
// V4-COUNT-8: math.fma
// V3-COUNT-8: math.fma
// CHECK: } else {
// Tiles of twelve rows by two panels (v4), of six by one (v3).
// V4: -> (vector<16xf32>, vector<16xf32>
// V4: memref.prefetch %[[X]]
// V4-COUNT-24: math.fma
// V4-NOT: math.fma
// V4: scf.yield
// V3: memref.prefetch %[[X]]
// V3-COUNT-6: math.fma
// V3-NOT: math.fma
// V3: scf.yield
func.func @linear(%x: !x, %w: tensor<64x256xf32>) -> !y {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32],
    weight_layouts = [#tacq.panel<16, f32>], node_name = "y"} : (!x, tensor<64x256xf32>) -> !y
  return %y : !y
}

!h = tensor<?x32xf16, #tacq.shape<["rows", "32"]>>

// For several rows, weights of 16 bits are widened once into memory; sums are f32, and a result is
// rounded once.
// CHECK-LABEL: func.func @half
// CHECK: } else {
// CHECK: %[[WIDE:.*]] = arith.extf %{{.*}} : vector<16xf16> to vector<16xf32>
// CHECK: vector.store %[[WIDE]]
// CHECK: math.fma %{{.*}} : vector<16xf32>
// CHECK: %[[ROUNDED:.*]] = arith.truncf %{{.*}} : vector<16xf32> to vector<16xf16>
// CHECK-NEXT: vector.store %[[ROUNDED]]
func.func @half(%x: !h, %w: tensor<32x32xf16>) -> !h {
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32],
    weight_layouts = [#tacq.panel<16, f16>], node_name = "y"} : (!h, tensor<32x32xf16>) -> !h
  return %y : !h
}

// Rows of a table in panels.
// CHECK-LABEL: func.func @gather
// CHECK-SAME: (%[[TABLE:[^:]*]]: memref<?xf16>,
// CHECK-DAG: %[[PANEL:.*]] = arith.divui %[[ROW:.*]], %c16
// CHECK-DAG: %[[LANE:.*]] = arith.remui %[[ROW]], %c16
// CHECK: %[[FIRST:.*]] = arith.muli %[[PANEL]], %c4
// CHECK: %[[COLUMN:.*]] = arith.addi %[[FIRST]],
// CHECK: %[[START:.*]] = arith.muli %[[COLUMN]], %c16
// CHECK: %[[AT:.*]] = arith.addi %[[START]], %[[LANE]]
// CHECK: memref.load %[[TABLE]][%[[AT]]]
func.func @gather(%w: tensor<40x4xf16>, %i: tensor<3xi64>) -> tensor<3x4xf16> {
  %z = tacq.node "Gather" opset 18 (%w, %i) {panel_width = 16 : i64}
    : (tensor<40x4xf16>, tensor<3xi64>) -> tensor<3x4xf16>
  return %z : tensor<3x4xf16>
}
