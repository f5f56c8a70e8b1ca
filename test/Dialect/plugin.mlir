// Dialects and passes in a stock mlir-opt, without tacq-opt: plugin-kernels.mlir has the passes of
// the processor target, plugin-passes.test compares the lists.
// REQUIRES: tacq-plugin
// RUN: rm -rf %t && mkdir %t
// RUN: %python -c "import sys, array; open(sys.argv[1], 'wb').write(array.array('f', range(128)).tobytes() * 2)" %t/w.bin
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-cleanup-views,tacq-recognize-linear,tacq-recognize-norm,tacq-recognize-rope,tacq-recognize-attention),tacq-unify-params{folder=%t},func.func(tacq-fuse-linear,tacq-decompose,canonicalize))' | FileCheck %s --check-prefixes=GRAPH,UNIFIED
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes),tacq-graph{folder=%t})' | FileCheck %s --check-prefix=GRAPH
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear),tacq-pack-weights,tacq-form-dispatches,tacq-plan-schedule)' | FileCheck %s --check-prefix=SCHEDULE
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear,tacq-drop-caches,tacq-widen-floats),tacq-append-loss{kind=mse output=y},tacq-differentiate)' | FileCheck %s --check-prefix=GRADIENT
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear,tacq-tap-inputs))' | FileCheck %s --check-prefix=TAPS
// RUN: mlir-opt %tacq_plugins %S/../Calibration/allow-bf16.mlir --pass-pipeline='builtin.module(func.func(tacq-allow-bf16))' | FileCheck %S/../Calibration/allow-bf16.mlir
// RUN: mlir-opt %tacq_plugins %S/../Graph/append-next-token.mlir --pass-pipeline='builtin.module(func.func(tacq-append-next-token))' | FileCheck %S/../Graph/append-next-token.mlir
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear),tacq-narrow-parameters{folder=%t},tacq-use-mixed-weights)' | FileCheck %s --check-prefix=NARROW
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear),tacq-plan-weights{bits=4},tacq-estimate-saliency{folder=%t},tacq-select-circuit,tacq-quantize-weights{method=nearest folder=%t})' | FileCheck %s --check-prefix=QUANTIZED
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear),tacq-plan-weights{bits=2 circuit=0.1},tacq-draw-circuit)' | FileCheck %s --check-prefix=DRAWN

// UNIFIED: tacq.param @w : tensor<8x16xf32>
// UNIFIED-NOT: tacq.param

tacq.param @w : tensor<8x16xf32> from <"w.bin", 0, 512>
tacq.param @copy : tensor<8x16xf32> from <"w.bin", 512, 512>

// GRAPH: func.func @main
// GRAPH: tacq.linear %arg0, weights(%param) {activation = 4 : i32
// GRAPH-SAME: -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
// GRAPH-NOT: "Identity"

// GRADIENT: func.func @main
// GRADIENT-SAME: tacq.name = "loss"
// GRADIENT-SAME: tacq.name = "gradient:w"

// TAPS: tacq.name = "input:w"

// NARROW: tacq.param @w : tensor<8x16xf16>

// QUANTIZED: tacq.get_param @w : !tacq.mixed<16x8, bits = 4

// DRAWN: tacq.param @w {{.*}}tacq.circuit_entries = {{[0-9]+}} : i64

// SCHEDULE: tacq_rt.schedule @main
// SCHEDULE: tacq_rt.buffer constant {{.*}}param @w layout #tacq.panel<
// SCHEDULE: tacq_rt.launch @{{.*}}linear reads(
// SCHEDULE: tacq_rt.launch @{{.*}}Relu reads(
// SCHEDULE: tacq_rt.kernel
func.func @main(%x: tensor<?x8xf32, #tacq.shape<["n", "8"]>> {tacq.name = "x"}) -> (tensor<*x!tacq.unknown> {tacq.name = "y"}, tensor<*x!tacq.unknown> {tacq.name = "z"}) {
  %w = tacq.get_param @w : tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %w) named "proj" : (tensor<?x8xf32, #tacq.shape<["n", "8"]>>, tensor<8x16xf32>) -> tensor<*x!tacq.unknown>
  %1 = tacq.node "Identity" opset 18 (%0) named "same" : (tensor<*x!tacq.unknown>) -> tensor<*x!tacq.unknown>
  %2 = tacq.node "Relu" opset 18 (%1) named "relu" : (tensor<*x!tacq.unknown>) -> tensor<*x!tacq.unknown>
  %c = tacq.get_param @copy : tensor<8x16xf32>
  %3 = tacq.node "MatMul" opset 18 (%x, %c) named "again" : (tensor<?x8xf32, #tacq.shape<["n", "8"]>>, tensor<8x16xf32>) -> tensor<*x!tacq.unknown>
  return %2, %3 : tensor<*x!tacq.unknown>, tensor<*x!tacq.unknown>
}
