// A shader that asks a workgroup for more than the profile's have is refused.
// RUN: not tacq-translate %s --kernel-to-spirv=many --target=generic 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MANY -DPROFILE=generic -DMOST=128
// RUN: not tacq-translate %s --kernel-to-spirv=many --target=arm-mali 2>&1 \
// RUN:   | FileCheck %s --check-prefix=MANY -DPROFILE=arm-mali -DMOST=512
// RUN: tacq-translate %s --kernel-to-spirv=many --target=intel-xe -o %t.spv
// MANY: error: the kernel 'many' cannot be a shader: its workgroups have 1024 invocations, and those of the profile '[[PROFILE]]' [[MOST]] at most

// RUN: not tacq-translate %s --kernel-to-spirv=large --target=generic 2>&1 \
// RUN:   | FileCheck %s --check-prefix=LARGE -DPROFILE=generic -DMOST=16384
// RUN: not tacq-translate %s --kernel-to-spirv=large --target=arm-mali 2>&1 \
// RUN:   | FileCheck %s --check-prefix=LARGE -DPROFILE=arm-mali -DMOST=32768
// RUN: tacq-translate %s --kernel-to-spirv=large --target=nvidia-hopper -o %t.spv
// LARGE: error: the kernel 'large' cannot be a shader: its workgroups share 40000 bytes, and those of the profile '[[PROFILE]]' [[MOST]] at most
func.func @many(%x: memref<?xf32>, %count: index, %begin: index, %end: index,
                %status: memref<?xi32>) attributes {tacq.workgroup = 1024 : i32} {
  %one = arith.constant 1 : index
  %zero = arith.constant 0.0 : f32
  scf.for %i = %begin to %count step %one {
    memref.store %zero, %x[%i] : memref<?xf32>
  }
  return
}
func.func @large(%x: memref<?xf32>, %count: index, %begin: index, %end: index,
                 %status: memref<?xi32>) attributes {tacq.workgroup = 32 : i32} {
  %one = arith.constant 1 : index
  %shared = memref.alloc() : memref<10000xf32, #spirv.storage_class<Workgroup>>
  scf.for %i = %begin to %count step %one {
    %v = memref.load %shared[%i] : memref<10000xf32, #spirv.storage_class<Workgroup>>
    memref.store %v, %x[%i] : memref<?xf32>
  }
  return
}
