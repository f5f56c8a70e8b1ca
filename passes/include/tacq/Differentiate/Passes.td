//===- Passes.td - Gradients of a model -----------------------------------===//

#ifndef TACQ_DIFFERENTIATE_PASSES_TD
#define TACQ_DIFFERENTIATE_PASSES_TD

include "mlir/Pass/PassBase.td"

def AppendLoss : Pass<"tacq-append-loss", "::mlir::ModuleOp"> {
  let summary = "Add a loss of an output to the results of @main";
  let description = [{
    The result `loss` is one f32 number.

    `cross-entropy` adds the argument `labels`, i64 of [batch, sequence]: the mean over b and i >= 1
    of `-log softmax(output[b, i - 1])[labels[b, i]]`. Labels of -100 are left out; with no other
    label the loss is 0. The output is [batch, sequence, classes].

    `kl` adds the argument `reference_logits`, of the output's type, beside `labels`: the mean, over
    the same positions, of the Kullback-Leibler divergence of the output's probabilities from the
    reference's, `Σ p (log p - log q)` with q of the output.

    `mse` adds the argument `target`, of the output's type: the mean of the squared differences.
  }];
  let options = [
    Option<"kind", "kind", "std::string", "\"cross-entropy\"", "cross-entropy, kl or mse">,
    Option<"output", "output", "std::string", "\"logits\"", "The name of the output">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def Differentiate : Pass<"tacq-differentiate", "::mlir::ModuleOp"> {
  let summary = "Add gradients of a scalar result to the results of @main, by reverse mode";
  let description = [{
    For each of the `parameters` (names of parameters or of floating-point arguments; `*` stands for
    the weights of all linear operations) the result `gradient:NAME` is added, in f32 and in the
    parameter's shape. The other results go, except the differentiated one and those to keep.

    With `taps`, a weight of a linear operation gives two results instead, from which the caller
    computes `∂L/∂W = dYᵀ X` and the Hessian `Xᵀ X`: `input:NAME`, the rows of the operation's input,
    [rows, K], once for all operations that read the same input; and `output_gradient:NAME`, the
    gradient of the product, [rows, N]. The function's attribute `tacq.taps` lists, in the order of
    the graph, the names of parameter and results, rows (N), columns (K) and the order of the
    parameter's axes. A weight with several uses has a tap at each; uses other than in linear
    operations are not part of a tap.

    Only what lies between the parameters and the result is differentiated. Nodes without a rule of
    their own are decomposed where they can be. All nodes that cannot be differentiated are reported
    at once. Attention's probabilities are computed again instead of being kept; attention with a
    cache is an error: run tacq-drop-caches first.
  }];
  let options = [
    Option<"result", "result", "std::string", "\"loss\"", "The scalar result to differentiate">,
    ListOption<"parameters", "parameters", "std::string", "Names, or * (the default)">,
    Option<"taps", "taps", "bool", "false",
           "Inputs and output gradients of linear operations instead of their weights' gradients">,
    ListOption<"keepResults", "keep-results", "std::string", "Results that stay">
  ];
  let statistics = [
    Statistic<"numDifferentiated", "differentiated", "Operations that gradients went through">,
    Statistic<"numDecomposed", "decomposed", "Nodes that were decomposed to be differentiated">,
    Statistic<"numTaps", "taps", "Linear weights with input and output gradient as results">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

#endif // TACQ_DIFFERENTIATE_PASSES_TD
