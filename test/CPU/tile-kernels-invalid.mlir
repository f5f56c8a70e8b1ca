// RUN: tacq-opt %s --tacq-tile-kernels=targets=x86-64-v4 --verify-diagnostics
// RUN: not tacq-opt %s --tacq-tile-kernels=targets=z80 2>&1 | FileCheck %s
// CHECK: there is no CPU target 'z80'

// expected-error @+1 {{'tacq.tilings' is a list of #tacq.tiling}}
module attributes {tacq.tilings = [1]} {}
