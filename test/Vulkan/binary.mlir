// The binary code of shaders: what an entry point says to the device, and how buffers are bound.
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=add -o %t.spv
// RUN: %spirv_dis %t.spv | FileCheck %s --check-prefixes=ADD,GENERIC
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels=profile=nvidia-hopper -o %t.hopper.mlir
// RUN: tacq-translate %t.hopper.mlir --kernel-to-spirv=add --target=nvidia-hopper -o %t.hopper.spv
// RUN: %spirv_dis %t.hopper.spv | FileCheck %s --check-prefixes=ADD,HOPPER

// Nothing is specialized, and no capability is there beyond what the kernel uses.
// ADD: OpCapability Shader
// ADD-NEXT: OpCapability Int64
// ADD-NOT: OpCapability
// ADD: OpExtension "SPV_KHR_storage_buffer_storage_class"
// ADD: OpMemoryModel Logical GLSL450
// ADD: OpEntryPoint GLCompute %main "main"
// GENERIC: OpExecutionMode %main LocalSize 64 1 1
// HOPPER: OpExecutionMode %main LocalSize 128 1 1
// ADD-NOT: SpecId

// The operands and the result, the symbols and the status; where workgroups begin in order, the flags,
// which are looked at again and again. All that others write meanwhile is coherent then. What is only
// read is said to be.
// ADD: OpDecorate %main_arg_0 Binding 0
// HOPPER-NEXT: OpDecorate %main_arg_0 Coherent
// ADD-NEXT: OpDecorate %main_arg_0 DescriptorSet 0
// ADD-NEXT: OpDecorate %main_arg_0 NonWritable
// ADD: OpDecorate %main_arg_1 Binding 1
// HOPPER-NEXT: OpDecorate %main_arg_1 Coherent
// ADD-NEXT: OpDecorate %main_arg_1 DescriptorSet 0
// ADD-NEXT: OpDecorate %main_arg_1 NonWritable
// ADD: OpDecorate %main_arg_2 Binding 2
// HOPPER-NEXT: OpDecorate %main_arg_2 Coherent
// ADD-NEXT: OpDecorate %main_arg_2 DescriptorSet 0
// ADD-NOT: OpDecorate %main_arg_2 NonWritable
// ADD: OpDecorate %main_arg_3 Binding 3
// ADD-NEXT: OpDecorate %main_arg_3 DescriptorSet 0
// ADD-NEXT: OpDecorate %main_arg_3 NonWritable
// ADD: OpDecorate %main_arg_4 Binding 4
// HOPPER-NEXT: OpDecorate %main_arg_4 Coherent
// ADD-NEXT: OpDecorate %main_arg_4 DescriptorSet 0
// GENERIC-NEXT: OpDecorate %main_arg_4 NonWritable
// HOPPER: OpDecorate %main_arg_5 Binding 5
// HOPPER-NEXT: OpDecorate %main_arg_5 Coherent
// HOPPER-NEXT: OpDecorate %main_arg_5 Volatile
// HOPPER-NEXT: OpDecorate %main_arg_5 DescriptorSet 0
// ADD-NOT: Binding
// ADD: %main_arg_0 = OpVariable %_ptr_StorageBuffer_{{.*}} StorageBuffer
// ADD: %main_arg_4 = OpVariable %_ptr_StorageBuffer_{{.*}} StorageBuffer
// HOPPER: %main_arg_5 = OpVariable %_ptr_StorageBuffer_{{.*}} StorageBuffer
// ADD-NOT: OpSpecConstant
// ADD: OpFAdd %float
// ADD-NOT: OpSpecConstant
!x = tensor<?xf32, #tacq.shape<["n"]>>
func.func @add(%a: !x, %b: !x) -> !x {
  %y = tacq.node "Add" opset 14 (%a, %b) named "y" : (!x, !x) -> !x
  return %y : !x
}

// Cooperative matrices ask for the Vulkan memory model, and an entry point lists all of its variables.
// What its workgroups share is in the storage class that says so.
// RUN: tacq-opt %S/tile-attention.mlir --tacq-emit-vulkan-kernels="profile=nvidia-hopper variants=1" \
// RUN:   -o %t.tile.mlir
// RUN: tacq-translate %t.tile.mlir --kernel-to-spirv=attention --target=nvidia-hopper -o %t.tile.spv
// RUN: %spirv_dis %t.tile.spv | FileCheck %s --check-prefix=TILE
// TILE: ; Version: 1.6
// TILE-DAG: OpCapability VulkanMemoryModel
// TILE-DAG: OpCapability CooperativeMatrixKHR
// TILE: OpMemoryModel Logical Vulkan
// TILE: OpEntryPoint GLCompute %main "main"{{.*}} %__workgroup_mem__{{.*}} %main_arg_0 {{.*}}%main_arg_8
// TILE: OpExecutionMode %main LocalSize 128 1 1
// TILE-NOT: Coherent
// TILE: OpVariable %{{.*}} Workgroup
// TILE: OpCooperativeMatrixMulAddKHR
