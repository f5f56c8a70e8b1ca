// RUN: tacq-opt %s --tacq-emit-cpu-kernels=capacity=%capacity | FileCheck %s --check-prefix=ATTEND
// RUN: tacq-opt %s --tacq-emit-cpu-kernels="capacity=%capacity append" \
// RUN:   | FileCheck %s --check-prefix=APPEND

!q = tensor<?x?x4x32xf32, #tacq.shape<["batch", "sequence", "4", "32"]>>
!kv = tensor<?x?x2x32xf32, #tacq.shape<["batch", "sequence", "2", "32"]>>
!past = tensor<?x2x?x32xf32, #tacq.shape<["batch", "2", "past", "32"]>>
!present = tensor<?x2x?x32xf32, #tacq.shape<["batch", "2", "past + sequence", "32"]>>

// Attending reads the cache alone, append writes the new rows alone: neither touches the past inputs.
// ATTEND-LABEL: func.func @attention
// ATTEND-SAME: (%[[Q:[^:]*]]: memref<?xf32>, %[[K:[^:]*]]: memref<?xf32>, %[[V:[^:]*]]: memref<?xf32>,
// ATTEND-SAME: %[[PK:[^:]*]]: memref<?xf32>, %[[PV:[^:]*]]: memref<?xf32>, %[[OUT:[^:]*]]: memref<?xf32>,
// ATTEND-SAME: %[[KEYS:[^:]*]]: memref<?xf32>, %[[VALUES:[^:]*]]: memref<?xf32>,
// ATTEND-NOT: %[[PK]][
// ATTEND: vector.load %[[Q]]
// ATTEND: vector.load %[[KEYS]]
// ATTEND: vector.shuffle
// ATTEND: vector.load %[[VALUES]]
// ATTEND: vector.store %{{.*}}, %[[OUT]]
// ATTEND-NOT: vector.store %{{.*}}, %[[KEYS]]
// ATTEND: return

// APPEND-LABEL: func.func @attention
// APPEND-SAME: (%{{[^:]*}}: memref<?xf32>, %[[K:[^:]*]]: memref<?xf32>, %[[V:[^:]*]]: memref<?xf32>,
// APPEND-SAME: %{{[^:]*}}: memref<?xf32>, %{{[^:]*}}: memref<?xf32>, %{{[^:]*}}: memref<?xf32>,
// APPEND-SAME: %[[KEYS:[^:]*]]: memref<?xf32>, %[[VALUES:[^:]*]]: memref<?xf32>,
// APPEND-SAME: tacq.tasks = "2*batch*floordiv(sequence + 63, 64)"
// APPEND: vector.load %[[K]]
// APPEND: vector.store %{{.*}}, %[[KEYS]]
// APPEND: vector.load %[[V]]
// APPEND: vector.store %{{.*}}, %[[VALUES]]
// APPEND-NOT: math.
// APPEND: return
func.func @attention(%q: !q, %k: !kv, %v: !kv, %pk: !past, %pv: !past)
    -> (!q, !present, !present) {
  %y:3 = tacq.attention %q, %k, %v past(%pk, %pv) {scale = 0.25 : f64, causal,
    resultSegmentSizes = array<i32: 1, 1, 1>, node_name = "y"}
    : (!q, !kv, !kv, !past, !past) -> (!q, !present, !present)
  return %y#0, %y#1, %y#2 : !q, !present, !present
}
