// RUN: tacq-opt %s --tacq-vulkan-entry-points --tacq-vulkan-expand-math --tacq-vulkan-narrow-types \
// RUN:   --canonicalize --cse --tacq-vulkan-to-spirv | FileCheck %s
// RUN: not tacq-opt %s --tacq-vulkan-entry-points --tacq-vulkan-to-spirv 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MISSING
// Without the expansion there are operations that have no form.
// MISSING: error: failed to legalize operation 'math.

// exp is arithmetic, which must not be reordered; a loop without iterations has its initial value.
// CHECK: spirv.module @__spv__sums
// CHECK: spirv.func @main
// CHECK: %[[TOTAL:.*]] = spirv.Variable : !spirv.ptr<f32, Function>
// CHECK: spirv.Store "Function" %[[TOTAL]], %[[ZERO:.*]] : f32
// CHECK: spirv.mlir.loop {
// CHECK: spirv.Branch ^bb1(%{{.*}}, %[[ZERO]] : i32, f32)
// CHECK: spirv.GL.Fma
// CHECK: spirv.FSub %{{.*}} {no_contraction} : f32
// CHECK: spirv.Store "Function" %[[TOTAL]]
// CHECK: spirv.Load "Function" %[[TOTAL]]
func.func @sums(%x: memref<?xf32>, %y: memref<?xf32>, %tasks: index, %count: index,
                %begin: index, %end: index, %status: memref<?xi32>) {
  %one = arith.constant 1 : index
  %none = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  scf.for %i = %begin to %tasks step %one {
    %sum = scf.for %j = %none to %count step %one iter_args(%carried = %zero) -> (f32) {
      %v = memref.load %x[%j] : memref<?xf32>
      %e = math.erf %v : f32
      %next = arith.addf %carried, %e : f32
      scf.yield %next : f32
    }
    memref.store %sum, %y[%i] : memref<?xf32>
  }
  return
}
