// The largest panels there are fit into a workgroup of each profile that has panels: two weights with a
// circuit, the longest rows of the input that are in shared memory, and one that is not.
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=lavapipe -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=whole --target=lavapipe -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=half --target=lavapipe -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=long --target=lavapipe -o %t.spv
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=arm-mali -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=whole --target=arm-mali -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=half --target=arm-mali -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=long --target=arm-mali -o %t.spv
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=intel-xe -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=whole --target=intel-xe -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=half --target=intel-xe -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=long --target=intel-xe -o %t.spv
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=whole --target=nvidia-hopper -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=half --target=nvidia-hopper -o %t.spv
// RUN: tacq-translate %t.mlir --kernel-to-spirv=long --target=nvidia-hopper -o %t.spv
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=arm-mali | FileCheck %s
// CHECK-LABEL: func.func @whole
// CHECK-SAME: tacq.workgroup = 512 : i32
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>

!x16384 = tensor<?x16384xi8, #tacq.shape<["rows", "16384"]>>
!s16384 = tensor<?x512x2xf32, #tacq.shape<["rows", "512", "2"]>>
!w16384 = !tacq.mixed<64x16384, bits = 2, group = 32, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>
func.func @whole(%x: !x16384, %s: !s16384, %w: !w16384, %u: !w16384) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w, %u) {
    node_name = "whole", weight_order = [0 : i32, 0 : i32], gated, activation = 1 : i32,
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>,
                      #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x16384, !s16384, !w16384, !w16384) -> !y
  return %y : !y
}

!x8192 = tensor<?x8192xi8, #tacq.shape<["rows", "8192"]>>
!s8192 = tensor<?x256x2xf32, #tacq.shape<["rows", "256", "2"]>>
!w8192 = !tacq.mixed<64x8192, bits = 2, group = 32, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>
func.func @half(%x: !x8192, %s: !s8192, %w: !w8192, %u: !w8192) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w, %u) {
    node_name = "half", weight_order = [0 : i32, 0 : i32], gated, activation = 1 : i32,
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>,
                      #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x8192, !s8192, !w8192, !w8192) -> !y
  return %y : !y
}

!x28672 = tensor<?x28672xi8, #tacq.shape<["rows", "28672"]>>
!s28672 = tensor<?x224x2xf32, #tacq.shape<["rows", "224", "2"]>>
!w28672 = !tacq.mixed<64x28672, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>
func.func @long(%x: !x28672, %s: !s28672, %w: !w28672, %u: !w28672) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w, %u) {
    node_name = "long", weight_order = [0 : i32, 0 : i32], gated, activation = 1 : i32,
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>,
                      #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x28672, !s28672, !w28672, !w28672) -> !y
  return %y : !y
}
