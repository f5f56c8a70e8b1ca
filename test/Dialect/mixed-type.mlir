// The mixed-precision type goes through text and bytecode unchanged.
// RUN: tacq-opt %s | FileCheck %s
// RUN: tacq-opt %s -emit-bytecode | tacq-opt | FileCheck %s
// RUN: tacq-opt %s -mlir-print-op-generic | tacq-opt | FileCheck %s

// CHECK: func.func private @a(!tacq.mixed<4096x4096, bits = 2, group = 128>)
func.func private @a(!tacq.mixed<4096x4096, bits = 2, group = 128>)
// CHECK: func.func private @b(!tacq.mixed<8x16, bits = 3, group = 0>) -> tensor<?x8xf32, #tacq.shape<["2*batch + 1", "8"]>>
func.func private @b(!tacq.mixed<8x16, bits = 3, group = 0>) -> tensor<?x8xf32, #tacq.shape<["2*batch + 1", "8"]>>
