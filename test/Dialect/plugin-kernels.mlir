// Passes of the processor target in a stock mlir-opt.
// REQUIRES: tacq-plugin
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(tacq-pack-weights)' | FileCheck %s --check-prefix=PACK
// RUN: mlir-opt %tacq_plugins %s --pass-pipeline='builtin.module(tacq-pack-weights,tacq-emit-cpu-kernels{target=x86-64-v3})' | FileCheck %s --check-prefix=EMIT

tacq.param @w : tensor<64x256xf32> from <"w.bin", 0, 65536>

// PACK-LABEL: func.func @parameter
// PACK: %[[W:.*]] = tacq.get_param @w {layout = #tacq.panel<
// PACK: tacq.linear %arg0, weights(%[[W]]) {{.*}}weight_layouts

// EMIT: func.func @parameter
// EMIT-SAME: tacq.tasks
// EMIT: math.fma
// EMIT-NOT: tacq.linear
func.func @parameter(%x: tensor<?x256xf32, #tacq.shape<["rows", "256"]>>) -> tensor<?x64xf32, #tacq.shape<["rows", "64"]>> {
  %w = tacq.get_param @w : tensor<64x256xf32>
  %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"} : (tensor<?x256xf32, #tacq.shape<["rows", "256"]>>, tensor<64x256xf32>) -> tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
  return %y : tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
}
