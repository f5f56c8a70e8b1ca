// One of the kernels becomes binary SPIR-V.
// RUN: tacq-opt %s --tacq-emit-vulkan-kernels -o %t.mlir
// RUN: tacq-translate %t.mlir --kernel-to-spirv=add -o %t.spv
// RUN: %python -c "import struct,sys; print('%%08x %%08x' %% struct.unpack('<2I', open(sys.argv[1],'rb').read(8)))" %t.spv | FileCheck %s
// RUN: not tacq-translate %t.mlir --kernel-to-spirv=sub 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not tacq-translate %t.mlir --kernel-to-spirv=add --target=toaster 2>&1 | FileCheck %s --check-prefix=PROFILE
// RUN: not tacq-translate %t.mlir --kernel-to-spirv=exp 2>&1 | FileCheck %s --check-prefix=REFUSED

// CHECK: 07230203 0001
// NONE: tacq-translate: error: '{{.*}}' has no kernel 'sub'
// PROFILE: tacq-translate: error: unknown profile 'toaster': profiles are generic, lavapipe
// REFUSED: tacq-translate: error: the kernel 'exp' cannot be a shader: shaders have no function 'exp' of f64

!x = tensor<?xf32, #tacq.shape<["n"]>>
func.func @add(%a: !x, %b: !x) -> !x {
  %y = tacq.node "Add" opset 14 (%a, %b) named "y" : (!x, !x) -> !x
  return %y : !x
}

!d = tensor<?xf64, #tacq.shape<["n"]>>
func.func @exp(%a: !d) -> !d {
  %y = tacq.node "Exp" opset 13 (%a) named "y" : (!d) -> !d
  return %y : !d
}
