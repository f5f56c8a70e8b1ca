//===- Passes.td - Passes over the graph of an imported model --------------===//

#ifndef TACQ_GRAPH_PASSES_TD
#define TACQ_GRAPH_PASSES_TD

include "mlir/Pass/PassBase.td"

class RecognizerPass<string name, string root> : Pass<name, root> {
  let options = [Option<"remarks", "remarks", "bool", "false",
                        "Remarks at what was recognized and at what nearly was, with the reason">];
  let statistics = [
    Statistic<"numRecognized", "recognized", "Patterns that were replaced">,
    Statistic<"numNearMatches", "near-matches", "Nodes that looked like the pattern and were left">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def CleanupViews : Pass<"tacq-cleanup-views", "::mlir::func::FuncOp"> {
  let summary = "Merge data movement, drop nodes that do nothing, share equal nodes";
  let description = [{
    Transposes of transposes and reshapes of reshapes become one node or none; Identity, Cast to the
    same type, Expand and Slice to the same dimensions, multiplication by 1 and addition of 0 go.
    Nodes that differ in their name only become one.
  }];
  let statistics = [
    Statistic<"numRemoved", "removed", "Nodes that did nothing">,
    Statistic<"numMerged", "merged", "Data movement merged with the one before it">,
    Statistic<"numShared", "shared", "Nodes equal to an earlier one">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def RecognizeLinear : RecognizerPass<"tacq-recognize-linear", "::mlir::func::FuncOp"> {
  let summary = "MatMul and Gemm with a parameter become tacq.linear";
  let description = [{
    The parameter may be behind Transpose, Cast to a wider type, or a reshape that adds axes of size
    1 in front. A Gemm's factors and bias stay nodes behind the linear operation.
  }];
}

def RecognizeNorm : RecognizerPass<"tacq-recognize-norm", "::mlir::func::FuncOp"> {
  let summary = "RMS and layer normalization become tacq.norm";
  let description = [{
    Both as one node and spelled out; in the latter casts to fp32 and back are part of it.
  }];
}

def RecognizeRope : RecognizerPass<"tacq-recognize-rope", "::mlir::func::FuncOp"> {
  let summary = "Rotary position embedding becomes tacq.rope";
  let description = [{
    `x * cos + concat(-x2, x1) * sin` and the RotaryEmbedding node. The tables of the former are as
    wide as `x`: it is recognized only if both halves of them are known to be equal.
  }];
}

def RecognizeAttention : RecognizerPass<"tacq-recognize-attention", "::mlir::func::FuncOp"> {
  let summary = "Scaled dot-product attention becomes tacq.attention";
  let description = [{
    Products around a softmax, and the Attention node. Layout and repetition of heads and the meaning
    of masks are found by evaluating the nodes at several sizes, whatever they are. A mask that fits
    no predicate stays a tensor that is added to the scores.
  }];
}

def FuseLinear : RecognizerPass<"tacq-fuse-linear", "::mlir::func::FuncOp"> {
  let summary = "Fuse biases, activations, gates and residuals into tacq.linear, and join those of one input";
}

def AppendNextToken : Pass<"tacq-append-next-token", "::mlir::func::FuncOp"> {
  let summary = "The likeliest token behind the last position becomes a result, next_token";
  let description = [{
    The index of the largest logit of the last position, the lowest one of equals, for each sequence.
    Logits are the result of that name, or the only result of three axes of floating-point numbers
    with a fixed vocabulary; a function without them stays as it is. A device then chooses the token itself, and hands a few
    bytes to the host in place of all logits.
  }];
  let statistics = [Statistic<"numAppended", "appended", "Results that were added">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def UnifyParams : Pass<"tacq-unify-params", "::mlir::ModuleOp"> {
  let summary = "One parameter for all copies of the same bytes, under the user's name";
  let description = [{
    Parameters with the same elements, as they are or transposed, become one: the one whose name the
    user gave, if any. A parameter without such a name gets the path of the node that reads it.
  }];
  let options = [
    Option<"folder", "folder", "std::string", "\"\"",
           "The folder that the parameters' files are relative to">,
    Option<"remarks", "remarks", "bool", "false", "Remarks at what was unified and renamed">
  ];
  let statistics = [
    Statistic<"numUnified", "unified", "Parameters that were copies of another">,
    Statistic<"numRenamed", "renamed", "Parameters that got the name of a node">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

#endif // TACQ_GRAPH_PASSES_TD
