//===- GraphPasses.h - Passes over the graph of an imported model -*- C++ -*-===//
//
// They run on functions whose types are inferred (tacq-infer-shapes).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_GRAPH_GRAPHPASSES_H
#define TACQ_GRAPH_GRAPHPASSES_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {

class ParameterStore;

#define GEN_PASS_DECL
#include "tacq/Graph/Passes.h.inc"

/// The result that tacq-append-next-token adds.
inline constexpr llvm::StringLiteral nextTokenName = "next_token";

struct GraphPipelineOptions {
  /// Remarks at what was recognized and at what nearly was, with the reason.
  bool remarks = false;
  /// Ends with tacq-fuse-linear; without it every linear operation has one weight, and its bias,
  /// its activation and its residual are nodes (calibration needs its input and its result).
  bool fuse = true;
  /// The parameters' bytes; without a store the files are opened from `folder`.
  ParameterStore *parameters = nullptr;
  std::string folder;
};

/// From an inferred graph to tacq.linear, tacq.norm, tacq.rope and tacq.attention, with their
/// neighbours fused.
void buildGraphPipeline(mlir::OpPassManager &manager, const GraphPipelineOptions &options = {});

void registerGraphPasses();

} // namespace tacq

#endif // TACQ_GRAPH_GRAPHPASSES_H
