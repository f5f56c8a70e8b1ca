//===- Passes.td - From kernels to SPIR-V ----------------------------------===//

#ifndef TACQ_VULKAN_PASSES_TD
#define TACQ_VULKAN_PASSES_TD

include "mlir/Pass/PassBase.td"

def EmitVulkanKernels : Pass<"tacq-emit-vulkan-kernels", "::mlir::ModuleOp"> {
  let summary = "Replace functions, whose bodies are kernels' regions, by scalar kernels";
  let description = [{
    The kernels are those of every target (a function over flat buffers), with a task for each
    result or a few of them. The number of tasks takes the place of their last one.
  }];
  let options = [
    Option<"capacity", "capacity", "std::string", /*default=*/"",
           "The symbol of the cache's capacity; without it, caches are dense">,
    Option<"append", "append", "bool", /*default=*/"false",
           "Of an attention with a cache, the kernel that appends">,
    Option<"variants", "variants", "unsigned", /*default=*/"0",
           "Instead of the kernels, 1: their first variants, which all functions must have; 2: what "
           "runs before them; 3: their second variants; 4: what runs before those">,
    Option<"profile", "profile", "std::string", /*default=*/"\"generic\"", "The device profile">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
                           "::mlir::gpu::GPUDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::spirv::SPIRVDialect"];
}

def VulkanEntryPoints : Pass<"tacq-vulkan-entry-points", "::mlir::ModuleOp"> {
  let summary = "Turn kernel functions into entry points, each in a gpu.module of its own";
  let description = [{
    Bindings stay arguments, in storage buffers; behind them come a buffer of the symbols' values and
    the status. An invocation does the tasks that are its number plus multiples of the number of
    invocations, so that any grid does all of them. Where workgroups begin in the order of dispatches,
    there are flags behind the status: a workgroup waits for one at its barrier with `tacq.await`, or
    from the beginning, and counts at another in the end.
  }];
  let options = [
    Option<"profile", "profile", "std::string", /*default=*/"\"generic\"", "The device profile">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::spirv::SPIRVDialect",
                           "::tacq::TACQDialect"];
}

def VulkanExpandMath : Pass<"tacq-vulkan-expand-math"> {
  let summary = "Elementary functions of f32 in arithmetic";
  let description = [{
    Vulkan's own sines, exponentials and powers have errors that would change results; these are as
    on the CPU. Functions of f64 stay, since shaders have none.
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def VulkanNarrowTypes : Pass<"tacq-vulkan-narrow-types"> {
  let summary = "Elements of 8 and 16 bits in buffers and registers of 32-bit words";
  let description = [{
    A buffer of such elements becomes one of words; elements are shifted out of them, and stored with
    atomic operations on the word, since other invocations store its other elements. Integers live
    in the low bits of 32, what is above them is undefined. f16 and bf16 live as their bits and are
    converted to and from f32 in integer arithmetic, rounding to nearest even. Types that the target
    of the gpu.module computes with and stores stay. 64-bit integers that
    become an index, which has 32 bits, are clamped to its range.
  }];
  let statistics = [
    Statistic<"numStores", "word-stores", "Stores of elements smaller than a word">
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect"];
}

def VulkanToSPIRV : Pass<"tacq-vulkan-to-spirv", "::mlir::ModuleOp"> {
  let summary = "Entry points to spirv.module operations";
  let description = [{
    Index values are 32-bit integers. What has no form in SPIR-V, or needs a capability that the
    profile does not have, is an error.
  }];
  let dependentDialects = ["::mlir::spirv::SPIRVDialect"];
}

#endif // TACQ_VULKAN_PASSES_TD
