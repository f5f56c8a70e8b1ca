//===- Passes.td - From dense to mixed-precision weights -------------------===//

#ifndef TACQ_QUANTIZE_PASSES_TD
#define TACQ_QUANTIZE_PASSES_TD

include "mlir/Pass/PassBase.td"

def PlanWeights : Pass<"tacq-plan-weights", "::mlir::ModuleOp"> {
  let summary = "Say of each weight what it is to become";
  let description = [{
    Gives the parameters that a plan names their `tacq.plan`, and the module the circuit's
    `tacq.circuit_plan`. The plan is a file of tacq-plan or, by `bits`, one format for all
    projections of attention and MLP. The weights may be those of any graph with `tacq.linear`
    operations that are not fused.

    ```mlir
    module attributes {tacq.circuit_plan = {layout = "slots", part = 3.5e-3}} {
      tacq.param @w {tacq.plan = {bits = 2 : i64, codebook = false, group = 0 : i64}} …
    ```
  }];
  let options = [Option<"plan", "plan", "std::string", "\"\"", "PLAN.json; else `bits` counts">,
                 Option<"bits", "bits", "unsigned", "2", "2, 3, 4 or 8">,
                 Option<"group", "group", "int64_t", "0",
                        "Columns that share a scale; 0: a whole row">,
                 Option<"codebook", "codebook", "bool", "false", "Levels fitted for each row">,
                 Option<"circuit", "circuit", "double", "0",
                        "Part of the weights that the circuit keeps, at 4 bytes an entry">,
                 Option<"layout", "circuit-layout", "std::string", "\"slots\"",
                        "slots, scattered or uniform">];
  let statistics = [Statistic<"numWeights", "weights", "Weights that are to be quantized">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def EstimateSaliency : Pass<"tacq-estimate-saliency", "::mlir::ModuleOp"> {
  let summary = "What the loss gains from keeping a weight, by gradient and quantization error";
  let description = [{
    Quantizes the weights of the plan without a circuit, Q, and computes the saliency of those that
    take part in it. By `gradient` it is that of TaCQ, S = G |W - Q| |W|, where G sums up the
    gradients of the sample; by `curvature` the second-order estimate of what keeping a weight
    saves, S = F_n H_kk (W - Q)², where F_n are the squares of the row's gradient and H is the
    Hessian of the input. `automatic` takes `curvature` where the plan has fitted levels. S is an
    analysis of the module, which tacq-select-circuit reads. The input of a layer is that of the
    model with the layers before it quantized if the program that runs the pass has sample data; in
    tacq-opt the Hessians are those of the statistics.
  }];
  let options = [
                 Option<"stats", "stats", "std::string", "\"\"",
                        "Statistics of tacq-calibrate: gradients and Hessians">,
                 Option<"folder", "folder", "std::string", "\"\"",
                        "The folder of the parameters' files">,
                 Option<"method", "method", "std::string", "\"gptq\"",
                        "gptq (errors compensated) or nearest (each weight by itself)">,
                 Option<"saliency", "saliency", "std::string", "\"automatic\"",
                        "automatic, gradient or curvature">,
                 Option<"damping", "damping", "double", "0.01",
                        "Damping of the Hessians, part of their mean diagonal">,
                 Option<"actOrder", "act-order", "bool", "false",
                        "Quantize the columns of large inputs first">,
                 Option<"clip", "clip", "bool", "true",
                        "Search for scales that clip the range of a group">,
                 Option<"threads", "threads", "unsigned", "0", "0: as many as the machine has">];
  let statistics = [Statistic<"numWeights", "weights", "Weights whose saliency was estimated">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def SelectCircuit : Pass<"tacq-select-circuit", "::mlir::ModuleOp"> {
  let summary = "Choose the weights that are kept, by their saliency";
  let description = [{
    Takes the most salient weights over all tensors, in the layout of the plan: scattered, or in
    slots or uniformly where the same bytes are spent. The number of entries of each weight becomes
    its parameter's `tacq.circuit_entries`; the positions are an analysis that
    tacq-quantize-weights reads.
  }];
  let statistics = [
    Statistic<"numEntries", "entries", "Weights that the circuit keeps">,
    Statistic<"numTensors", "tensors", "Weights of which it keeps any">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def DrawCircuit : Pass<"tacq-draw-circuit", "::mlir::ModuleOp"> {
  let summary = "Choose the weights that are kept at random, to measure speed";
  let description = [{
    In place of tacq-estimate-saliency and tacq-select-circuit where there is no sample: circuits of
    the plan's size and layout at random positions. Slots are spread over tiles as in a language
    model: most have none, few have many.
  }];
  let options = [Option<"seed", "seed", "uint64_t", "0", "The same seed draws the same circuits">];
  let statistics = [
    Statistic<"numEntries", "entries", "Weights that the circuit keeps">,
    Statistic<"numTensors", "tensors", "Weights of which it keeps any">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def QuantizeWeights : Pass<"tacq-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "Quantize the weights of the plan around their circuits";
  let description = [{
    Linear operations then read weights of `!tacq.mixed` types. Their elements go to the program that
    runs the pass; in tacq-opt the types are all that remains. `circuit-values` says what the circuit
    keeps: the weight with the compensation of what was quantized before it, as the paper has it, or
    the original one.
  }];
  let options = [
                 Option<"stats", "stats", "std::string", "\"\"",
                        "Statistics of tacq-calibrate: gradients and Hessians">,
                 Option<"folder", "folder", "std::string", "\"\"",
                        "The folder of the parameters' files">,
                 Option<"method", "method", "std::string", "\"gptq\"",
                        "gptq (errors compensated) or nearest (each weight by itself)">,
                 Option<"damping", "damping", "double", "0.01",
                        "Damping of the Hessians, part of their mean diagonal">,
                 Option<"actOrder", "act-order", "bool", "false",
                        "Quantize the columns of large inputs first">,
                 Option<"clip", "clip", "bool", "true",
                        "Search for scales that clip the range of a group">,
                 Option<"circuitValues", "circuit-values", "std::string", "\"compensated\"",
                        "compensated or original">,
                 Option<"threads", "threads", "unsigned", "0", "0: as many as the machine has">];
  let statistics = [
    Statistic<"numWeights", "weights", "Weights that were quantized">,
    Statistic<"numEntries", "entries", "Weights that the circuit keeps">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

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
