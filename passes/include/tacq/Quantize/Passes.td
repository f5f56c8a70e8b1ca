//===- Passes.td - From dense to mixed-precision weights -------------------===//

#ifndef TACQ_QUANTIZE_PASSES_TD
#define TACQ_QUANTIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

def UseMixedWeights : Pass<"tacq-use-mixed-weights", "::mlir::ModuleOp"> {
  let summary = "Linear operations read mixed-precision weights";
  let description = [{
    The weights that `types` names, and those that a caller of the compiler hands over, become values
    of a `!tacq.mixed` type where linear operations read them; what else reads the parameter keeps
    the dense one. `types` is a dictionary of types by parameter:
    `types="{w = !tacq.mixed<64x128, bits = 2, group = 0, decode = …>}"`.
  }];
  let options = [Option<"types", "types", "std::string", "\"\"",
                        "Types of the weights, by their parameters' names">];
  let statistics = [
    Statistic<"numWeights", "weights", "Uses of weights that became mixed-precision">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def NarrowParameters : Pass<"tacq-narrow-parameters", "::mlir::ModuleOp"> {
  let summary = "Store the f32 matrices of linear operations and of lookups as f16";
  let description = [{
    Parameters of f32 with two axes that only linear operations and the data operand of Gather read
    become parameters of f16; a Gather's result is cast back. One that has a value beyond the range
    of f16 stays as it is.
  }];
  let options = [Option<"folder", "folder", "std::string", "\"\"",
                        "The folder of the parameters' files">];
  let statistics = [
    Statistic<"numNarrowed", "narrowed", "Parameters that became f16">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

#endif // TACQ_QUANTIZE_PASSES_TD
