//===- Passes.td - From an inference graph to a calibration graph ----------===//

#ifndef TACQ_CALIBRATION_PASSES_TD
#define TACQ_CALIBRATION_PASSES_TD

include "mlir/Pass/PassBase.td"

def DropCaches : Pass<"tacq-drop-caches", "::mlir::func::FuncOp"> {
  let summary = "Run whole sequences: attention without a cache, the model without its pasts";
  let description = [{
    The past of every `tacq.attention`, the function's argument behind it, and the present keys and
    values among the results go. The past's extent is 0 from then on: it is replaced in types,
    symbolic values and requirements, and a dimension that had to equal an expression with it gets
    that expression's name (`total` = `past + sequence` becomes `sequence`). Requirements that then
    hold for all sizes go.

    A cache that is anything but an input appended to by one attention is reported.
  }];
  let statistics = [
    Statistic<"numCaches", "caches", "Attentions that lost their cache">,
    Statistic<"numRequirements", "requirements", "Requirements that hold without a cache">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def WidenFloats : Pass<"tacq-widen-floats", "::mlir::func::FuncOp"> {
  let summary = "Compute in f32 what the model computes in f16 or bf16";
  let description = [{
    Inputs, results, constants and every value between become f32; casts that then do nothing go.
    Parameters keep their type, as they are stored: a linear operation takes such a weight as it is,
    any other user gets it through a Cast.
  }];
  let statistics = [
    Statistic<"numWidened", "widened", "Values that became f32">,
    Statistic<"numCasts", "casts", "Casts that do nothing any more">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def AllowBf16 : Pass<"tacq-allow-bf16", "::mlir::func::FuncOp"> {
  let summary = "Let linear operations round their factors to bf16";
  let description = [{
    Linear operations with an f32 or f16 input and floating-point weights get `allow_bf16`: a target
    with products of bf16 may use them, with sums in f32. Gradients that are steps of an optimizer
    bear that; statistics do not get it.
  }];
  let statistics = [Statistic<"numAllowed", "allowed", "Linear operations that may round">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def TapInputs : Pass<"tacq-tap-inputs", "::mlir::func::FuncOp"> {
  let summary = "Make the inputs of linear operations the function's results";
  let description = [{
    For each of the `parameters` (`*` stands for all) that is the weight of a linear operation, the
    operation's input is added to the results under the name `input:NAME`, once for all operations
    that read the same. Other results go, except those to keep. The attribute `tacq.taps` lists the
    weights in the order of the graph as tacq-differentiate does, without gradients. What no result
    needs any more goes.
  }];
  let options = [
    ListOption<"parameters", "parameters", "std::string", "Names, or * (the default)">,
    ListOption<"keepResults", "keep-results", "std::string", "Results that stay">
  ];
  let statistics = [Statistic<"numTaps", "taps", "Weights whose inputs became results">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

#endif // TACQ_CALIBRATION_PASSES_TD
