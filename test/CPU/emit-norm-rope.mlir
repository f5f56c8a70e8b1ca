// RUN: tacq-opt %s --tacq-emit-cpu-kernels | FileCheck %s

!x = tensor<?x100xf16, #tacq.shape<["rows", "100"]>>

// Moments in f32 with four sums in flight, a masked remainder, one rounding a result.
// CHECK-LABEL: func.func @rms
// CHECK-SAME: tacq.tasks = "floordiv(rows + 3, 4)"
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>)
// CHECK: vector.maskedload
// CHECK: vector.reduction <add>
// CHECK: math.sqrt
// CHECK: arith.truncf %{{.*}} : vector<16xf32> to vector<16xf16>
func.func @rms(%x: !x, %g: tensor<100xf16>) -> !x {
  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "y"}
    : (!x, tensor<100xf16>) -> !x
  return %y : !x
}

!r = tensor<?x?x4x32xf32, #tacq.shape<["batch", "sequence", "4", "32"]>>
!t = tensor<?x?x16xf32, #tacq.shape<["batch", "sequence", "16"]>>

// CHECK-LABEL: func.func @rope
// CHECK-SAME: (%[[X:[^:]*]]: memref<?xf32>, %[[C:[^:]*]]: memref<?xf32>, %[[S:[^:]*]]: memref<?xf32>
// CHECK: %[[COS:.*]] = vector.load %[[C]]
// CHECK: %[[SIN:.*]] = vector.load %[[S]]
// CHECK: %[[LOW:.*]] = vector.load %[[X]]
// CHECK: %[[HIGH:.*]] = vector.load %[[X]]
// CHECK: %[[A:.*]] = arith.mulf %[[LOW]], %[[COS]]
// CHECK: %[[B:.*]] = arith.mulf %[[HIGH]], %[[SIN]]
// CHECK: arith.subf %[[A]], %[[B]]
func.func @rope(%x: !r, %c: !t, %s: !t) -> !r {
  %y = tacq.rope %x, %c, %s {node_name = "y"} : (!r, !t, !t) -> !r
  return %y : !r
}
