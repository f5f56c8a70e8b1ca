//===- Passes.td - Passes of the CPU target --------------------------------===//

#ifndef TACQ_CPU_PASSES_TD
#define TACQ_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def PackWeights : Pass<"tacq-pack-weights"> {
  let summary = "Store the weights of linear operations in panels or tiles";
  let description = [{
    Gives the weights that are parameters their layout, on a `tacq.get_param` of its own and in
    `weight_layouts`. Dense weights are stored in panels; a `Gather` of rows of such a weight, an
    embedding that is the head's weight, reads the panels, whose width it has as `panel_width`,
    if the weight's rows are the result's features. Mixed-precision ones are stored in tiles,
    and what is multiplied with them becomes integers before (`tacq.quantize_rows`), once for all
    linear operations that read it, or stays as it is with `activations=f32`. Integers have 8 or 16
    bits; with `auto` they have 16 for operations whose weights have less than 2^20 elements each:
    models of such weights are small and fast, and can afford integers whose rounding does not
    show in results. A gated operation is split
    where its kernel could not combine the two products: if its weights are not all
    mixed-precision, if the rows of one are sorted, or if they differ in bits, groups, decoding or
    in how their circuits are stored.
  }];
  let options = [Option<"activations", "activations", "std::string", "\"auto\"",
                        "What is multiplied with mixed-precision weights: int8, int16, f32 or "
                        "auto">];
  let statistics = [
    Statistic<"numDense", "panels", "Weights stored in panels">,
    Statistic<"numMixed", "tiles", "Mixed-precision weights stored in tiles">,
    Statistic<"numShared", "shared-tables", "Gathers that read a weight's panels">,
    Statistic<"numQuantized", "quantized-inputs", "Inputs that are quantized">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def TileKernels : Pass<"tacq-tile-kernels", "::mlir::ModuleOp"> {
  let summary = "Choose how kernels go through their mixed-precision weights";
  let description = [{
    Gives the kernels of linear operations with mixed-precision weights their `tilings`, by a cost
    model, or as the module's `tacq.tilings` (a list of `#tacq.tiling`, which a measurement made)
    say for the weight and the target.
  }];
  let options = [ListOption<"targets", "targets", "std::string", "The CPU targets">];
  let statistics = [
    Statistic<"numTiled", "kernels", "Kernels with a tiling">,
    Statistic<"numMeasured", "measured", "Tilings that a measurement chose">
  ];
  let dependentDialects = ["::tacq::TACQDialect", "::tacq::rt::ScheduleDialect"];
}

def EmitCpuKernels : Pass<"tacq-emit-cpu-kernels", "::mlir::ModuleOp"> {
  let summary = "Replace functions, whose bodies are kernels' regions, by the kernels";
  let description = [{
    For looking at the code of one kernel; `tacq-compile --emit kernels` shows those of a model. The
    number of tasks of a kernel becomes its `tacq.tasks`.
  }];
  let options = [Option<"target", "target", "std::string", "\"x86-64-v4\"", "The CPU target">,
                 Option<"capacity", "capacity", "std::string", "\"\"",
                        "The symbol of the cache's capacity; without it, caches are dense">,
                 Option<"append", "append", "bool", "false",
                        "Of an attention with a cache, the kernel that appends">,
                 Option<"attendAppends", "attend-appends", "bool", "false",
                        "The kernel that attends appends itself where queries are few">];
  let dependentDialects = ["::mlir::arith::ArithDialect",   "::mlir::func::FuncDialect",
                           "::mlir::LLVM::LLVMDialect",     "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // TACQ_CPU_PASSES_TD
