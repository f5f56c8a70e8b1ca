// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper --split-input-file | FileCheck %s

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>

// A workgroup normalizes a row, and quantizes what it has rounded to the type of the normalized tensor.
// CHECK-LABEL: func.func @quantized_norm
// CHECK-SAME: tacq.workgroup = 64 : i32
// CHECK: math.sqrt
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK: spirv.GroupNonUniformShuffleXor
// CHECK: math.roundeven
// CHECK: memref.store %{{.*}} : memref<?xi32
func.func @quantized_norm(%x: !x, %g: tensor<256xf16>) -> (!q, !s) {
  %y = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = "n"} : (!x, tensor<256xf16>) -> !x
  %q, %s = tacq.quantize_rows %y {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s : !q, !s
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>

// Nodes are computed where their elements are quantized, once.
// CHECK-LABEL: func.func @quantized_nodes
// CHECK-COUNT-4: arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK: spirv.GroupNonUniformShuffleXor
func.func @quantized_nodes(%x: !x, %y: !x) -> (!q, !s) {
  %1 = tacq.node "Mul" opset 14 (%x, %y) named "m" : (!x, !x) -> !x
  %q, %s = tacq.quantize_rows %1 {node_name = "q"} : (!x) -> (!q, !s)
  return %q, %s : !q, !s
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A single row is made by the product itself, behind what it waits for; others are read.
// CHECK-LABEL: func.func @product
// CHECK: gpu.barrier {tacq.await}
// CHECK: %[[SINGLE:.*]] = arith.cmpi sle
// CHECK: scf.if %[[SINGLE]] {
// CHECK: math.sqrt
// CHECK: math.roundeven
// CHECK: spirv.CompositeConstruct
// CHECK: } else {
// CHECK-NOT: math.roundeven
// CHECK: gpu.barrier
// CHECK: spirv.SUDot
func.func @product(%q: !q, %s: !s, %w: !w, %x: !x, %g: tensor<256xf16>) -> !y {
  %y = tacq.linear %q x_scales(%s), weights(%w) {
    node_name = "y", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!q, !s, !w) -> !y
  %n = tacq.norm rms %x gain(%g) {epsilon = 1.0e-5 : f64, node_name = ""} : (!x, tensor<256xf16>) -> !x
  %q1, %s1 = tacq.quantize_rows %n {node_name = "", repeated_rows} : (!x) -> (!q, !s)
  return %y : !y
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// So is one that nodes compute element by element.
// CHECK-LABEL: func.func @gated
// CHECK: gpu.barrier {tacq.await}
// CHECK: %[[SINGLE:.*]] = arith.cmpi sle
// CHECK: scf.if %[[SINGLE]] {
// CHECK: arith.divf
// CHECK: math.roundeven
// CHECK: } else {
// CHECK-NOT: math.roundeven
// CHECK: gpu.barrier
// CHECK: spirv.SUDot
func.func @gated(%q: !q, %s: !s, %w: !w, %x: !x, %u: !x) -> !y {
  %y = tacq.linear %q x_scales(%s), weights(%w) {
    node_name = "y", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!q, !s, !w) -> !y
  %sigmoid = tacq.node "Sigmoid" opset 23 (%x) : (!x) -> !x
  %m = tacq.node "Mul" opset 23 (%x, %sigmoid) : (!x, !x) -> !x
  %g = tacq.node "Mul" opset 23 (%m, %u) : (!x, !x) -> !x
  %q1, %s1 = tacq.quantize_rows %g {node_name = "", repeated_rows} : (!x) -> (!q, !s)
  return %y : !y
}

// -----

!x = tensor<?x256xf16, #tacq.shape<["rows", "256"]>>
!b = tensor<?x1xf16, #tacq.shape<["rows", "1"]>>
!q = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf16, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// But not one for which a factor of another shape is needed.
// CHECK-LABEL: func.func @broadcast
// CHECK-NOT: math.roundeven
func.func @broadcast(%q: !q, %s: !s, %w: !w, %x: !x, %u: !b) -> !y {
  %y = tacq.linear %q x_scales(%s), weights(%w) {
    node_name = "y", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!q, !s, !w) -> !y
  %g = tacq.node "Mul" opset 23 (%x, %u) : (!x, !b) -> !x
  %q1, %s1 = tacq.quantize_rows %g {node_name = "", repeated_rows} : (!x) -> (!q, !s)
  return %y : !y
}
