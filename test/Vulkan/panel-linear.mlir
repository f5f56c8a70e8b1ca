// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper | FileCheck %s
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper \
// RUN:   --tacq-vulkan-entry-points=profile=nvidia-hopper | FileCheck %s --check-prefix=ENTRY
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=intel-xe | FileCheck %s --check-prefix=PLAIN
// RUN: not tacq-opt %s --tacq-emit-vulkan-kernels=profile=toaster 2>&1 \
// RUN:   | FileCheck %s --check-prefix=UNKNOWN
// UNKNOWN: error: there is no Vulkan profile 'toaster'

!x = tensor<?x256xi8, #tacq.shape<["rows", "256"]>>
!s = tensor<?x2x2xf32, #tacq.shape<["rows", "2", "2"]>>
!y = tensor<?x64xf32, #tacq.shape<["rows", "64"]>>
!w = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// A workgroup does a panel. Codes are read 16 bytes at once, and the words of eight slots; the counts
// of slots are summed over the panel, and slots and the tiles that they are of brought to shared memory.
// Only then the input is waited for, and read into shared memory. Codes are multiplied four at a time,
// under masks where they are; the sums are shifted. Slots beyond the first eight come in further chunks.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: tacq.workgroup = 32 : i32
// CHECK: %[[TILES:.*]] = memref.alloc() : memref<8xi32, #spirv.storage_class<Workgroup>>
// CHECK: %[[SUMS:.*]] = memref.alloc() : memref<2xi32, #spirv.storage_class<Workgroup>>
// CHECK: %[[SLOTS:.*]] = memref.alloc() : memref<96xi32, #spirv.storage_class<Workgroup>>
// CHECK: %[[ROW:.*]] = memref.alloc() : memref<16xvector<4xi32>, #spirv.storage_class<Workgroup>>
// CHECK: %[[CODES:.*]] = builtin.unrealized_conversion_cast %{{.*}} : memref<?xi8> to memref<?xvector<4xi32>, #spirv.storage_class<StorageBuffer>>
// CHECK: memref.load %[[CODES]]{{.*}} : memref<?xvector<4xi32>, #spirv.storage_class<StorageBuffer>>
// CHECK: memref.load %{{.*}} : memref<?xi32, #spirv.storage_class<StorageBuffer>>
// CHECK: spirv.GroupNonUniformIAdd {{.*}}InclusiveScan
// CHECK: memref.store %{{.*}}, %[[SUMS]]
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}}, %[[SLOTS]]
// CHECK: memref.store %{{.*}}, %[[TILES]]
// CHECK: gpu.barrier {tacq.await}
// CHECK: memref.store %{{.*}}, %[[ROW]]
// CHECK: gpu.barrier
// CHECK: memref.load %[[ROW]]
// CHECK: arith.andi %{{.*}}, %c50529027_i32
// CHECK: spirv.SUDot %{{.*}}, %{{.*}}, <PackedVectorFormat4x8Bit> : i32 -> i32
// CHECK: arith.andi %{{.*}}, %c202116108_i32
// CHECK: scf.for
// CHECK: memref.load %[[SLOTS]]
// CHECK: memref.load %[[TILES]]
// CHECK: scf.for
// CHECK: gpu.barrier
// CHECK: memref.store %{{.*}}, %[[SLOTS]]
// CHECK: gpu.barrier
// CHECK: spirv.GroupNonUniformShuffleXor
// CHECK: gpu.barrier

// The weight is bound as bytes (2), and again for its words and its 16 bytes.
// ENTRY: gpu.module @linear
// ENTRY: gpu.func @main(
// ENTRY-SAME: memref<?xi8, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 0)>}
// ENTRY-SAME: memref<?xvector<4xi32>, #spirv.storage_class<StorageBuffer>> {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 0)>}
// ENTRY-SAME: {spirv.interface_var_abi = #spirv.interface_var_abi<(0, 2)>}
// ENTRY-SAME: workgroup_size = [32, 1, 1]
// ENTRY: gpu.block_id  x

// Without subgroups there are no shuffles.
// PLAIN-LABEL: func.func @linear
// PLAIN-NOT: GroupNonUniform
// PLAIN: spirv.SUDot
func.func @linear(%x: !x, %s: !s, %w: !w) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "linear", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!x, !s, !w) -> !y
  return %y : !y
}

!two = !tacq.mixed<64x256, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>
!three = !tacq.mixed<64x256, bits = 3, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>>

// Panels have one code for both factors of a gated result: other forms are multiplied column by
// column.
// CHECK-LABEL: func.func @gated
// CHECK: spirv.SUDot
// CHECK-LABEL: func.func @gated_forms
// CHECK-NOT: spirv.SUDot
func.func @gated(%x: !x, %s: !s, %w: !two, %u: !two) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w, %u) {
    node_name = "gated", weight_order = [0 : i32, 0 : i32], gated, activation = 1 : i32,
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>,
                      #tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>]
  } : (!x, !s, !two, !two) -> !y
  return %y : !y
}
func.func @gated_forms(%x: !x, %s: !s, %w: !two, %u: !three) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w, %u) {
    node_name = "gated_forms", weight_order = [0 : i32, 0 : i32], gated, activation = 1 : i32,
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = none, little>,
                      #tacq.layout<tile = 16x128, planes = [2, 1], interleave = 4, align = 16, rows = natural, circuit = none, little>]
  } : (!x, !s, !two, !three) -> !y
  return %y : !y
}

!xm = tensor<?x2048xi8, #tacq.shape<["rows", "2048"]>>
!sm = tensor<?x16x2xf32, #tacq.shape<["rows", "16", "2"]>>
!xl = tensor<?x14336xi8, #tacq.shape<["rows", "14336"]>>
!sl = tensor<?x112x2xf32, #tacq.shape<["rows", "112", "2"]>>
!wm = !tacq.mixed<64x2048, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>
!wl = !tacq.mixed<64x14336, bits = 2, group = 128, decode = #tacq.affine<scale = f16, zero = ui8>, circuit = <slots, count = 0, exact>>

// Three slots for each tile are in shared memory, in steps of what all invocations read, unless a long
// row has taken it; where subgroups are narrow there is one step.
// CHECK-LABEL: func.func @medium
// CHECK-SAME: tacq.workgroup = 128 : i32
// CHECK: memref.alloc() : memref<64xi32, #spirv.storage_class<Workgroup>>
// CHECK: memref.alloc() : memref<768xi32, #spirv.storage_class<Workgroup>>
// CHECK-LABEL: func.func @long
// CHECK-SAME: tacq.workgroup = 448 : i32
// CHECK: memref.alloc() : memref<112xi32, #spirv.storage_class<Workgroup>>
// CHECK: memref.alloc() : memref<1344xi32, #spirv.storage_class<Workgroup>>
// PLAIN-LABEL: func.func @medium
// PLAIN-SAME: tacq.workgroup = 128 : i32
// PLAIN: memref.alloc() : memref<32xi32, #spirv.storage_class<Workgroup>>
// PLAIN: memref.alloc() : memref<384xi32, #spirv.storage_class<Workgroup>>
func.func @medium(%x: !xm, %s: !sm, %w: !wm) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "medium", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!xm, !sm, !wm) -> !y
  return %y : !y
}
func.func @long(%x: !xl, %s: !sl, %w: !wl) -> !y {
  %y = tacq.linear %x x_scales(%s), weights(%w) {
    node_name = "long", weight_order = [0 : i32],
    weight_layouts = [#tacq.layout<tile = 16x128, planes = [2], interleave = 4, align = 16, rows = natural, circuit = tiles, little>]
  } : (!xl, !sl, !wl) -> !y
  return %y : !y
}
