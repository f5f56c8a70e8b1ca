//===- Passes.td - Passes over imported nodes ------------------------------===//

#ifndef TACQ_OPS_PASSES_TD
#define TACQ_OPS_PASSES_TD

include "mlir/Pass/PassBase.td"

def InferShapes : Pass<"tacq-infer-shapes", "::mlir::func::FuncOp"> {
  let summary = "Give every value a ranked type with symbolic dimensions";
  let description = [{
    Walks the nodes in order and infers their results from the operator tables. Integer tensors of
    known small size become `tacq.symbolic` or `tacq.constant`; If with a known condition is replaced
    by its branch, Loop and Scan with a known trip count are unrolled. All operators without a table
    entry are reported at once.
  }];
  let options = [
    Option<"maxUnroll", "max-unroll", "int64_t", "1024",
           "Iterations of a Loop or Scan that are unrolled at most">
  ];
  let statistics = [
    Statistic<"numFolded", "folded", "Nodes of shape arithmetic that were folded">,
    Statistic<"numUnrolled", "unrolled", "Loops that were unrolled">
  ];
  let dependentDialects = ["::tacq::TACQDialect"];
}

def Decompose : Pass<"tacq-decompose", "::mlir::func::FuncOp"> {
  let summary = "Rewrite composite nodes into simpler ones";
  let description = [{
    Applies the decompositions of the operator tables until none is left. Runs after the recognizers,
    which match composite nodes as they are. What can then not be computed, by an element function or
    a loop nest, is reported: all nodes at once.
  }];
  let statistics = [Statistic<"numDecomposed", "decomposed", "Nodes that were rewritten">];
  let dependentDialects = ["::tacq::TACQDialect"];
}

#endif // TACQ_OPS_PASSES_TD
