// Dialects and passes in a stock mlir-opt, without tacq-opt.
// REQUIRES: tacq-plugin
// RUN: mlir-opt --load-dialect-plugin=%tacq_lib_dir/TACQPlugin.so --load-pass-plugin=%tacq_lib_dir/TACQPlugin.so %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-cleanup-views,tacq-recognize-linear,tacq-recognize-norm,tacq-recognize-rope,tacq-recognize-attention,tacq-fuse-linear,tacq-decompose,canonicalize))' | FileCheck %s --check-prefix=GRAPH
// RUN: mlir-opt --load-dialect-plugin=%tacq_lib_dir/TACQPlugin.so --load-pass-plugin=%tacq_lib_dir/TACQPlugin.so %s --pass-pipeline='builtin.module(func.func(tacq-infer-shapes,tacq-recognize-linear),tacq-form-dispatches,tacq-plan-schedule)' | FileCheck %s --check-prefix=SCHEDULE

tacq.param @w : tensor<8x16xf32> from <"w.bin", 0, 512>

// GRAPH: func.func @main
// GRAPH: tacq.linear %arg0, weights(%param) {activation = 4 : i32
// GRAPH-SAME: -> tensor<?x16xf32, #tacq.shape<["n", "16"]>>
// GRAPH-NOT: "Identity"

// SCHEDULE: tacq_rt.schedule @main
// SCHEDULE: tacq_rt.launch @{{.*}}linear reads(
// SCHEDULE: tacq_rt.launch @{{.*}}Relu reads(
// SCHEDULE: tacq_rt.kernel
func.func @main(%x: tensor<?x8xf32, #tacq.shape<["n", "8"]>> {tacq.name = "x"}) -> (tensor<*x!tacq.unknown> {tacq.name = "y"}) {
  %w = tacq.get_param @w : tensor<8x16xf32>
  %0 = tacq.node "MatMul" opset 18 (%x, %w) named "proj" : (tensor<?x8xf32, #tacq.shape<["n", "8"]>>, tensor<8x16xf32>) -> tensor<*x!tacq.unknown>
  %1 = tacq.node "Identity" opset 18 (%0) named "same" : (tensor<*x!tacq.unknown>) -> tensor<*x!tacq.unknown>
  %2 = tacq.node "Relu" opset 18 (%1) named "relu" : (tensor<*x!tacq.unknown>) -> tensor<*x!tacq.unknown>
  return %2 : tensor<*x!tacq.unknown>
}
