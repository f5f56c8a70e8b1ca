//===- GraphSegments.h - A graph in pieces between its linears --*- C++ -*-===//
//
// Quantizing one layer after the other needs the inputs of each layer as the layers before it,
// already quantized, produce them. Running the model from its start for each layer would cost the
// square of its depth. So the graph is cut at the inputs of its linear layers: segment i computes
// the input of layer i from what the segments before it have left, and every operation of the model
// runs once.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_QUANTIZEMODEL_GRAPHSEGMENTS_H
#define TACQ_LIB_QUANTIZEMODEL_GRAPHSEGMENTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/ADT/SetVector.h"

namespace tacq {

/// Linear layers that read the same input.
struct LinearGroup {
  mlir::Value input;
  llvm::SmallVector<LinearOp, 3> linears;
};

/// The linear operations of a function whose single weight is a parameter that `wanted` accepts, by
/// their input, in the order of the graph. The function must not be fused.
llvm::SmallVector<LinearGroup>
collectLinearGroups(mlir::func::FuncOp function,
                    llvm::function_ref<bool(llvm::StringRef param)> wanted);

/// The function of a model's graph.
mlir::func::FuncOp mainFunction(mlir::ModuleOp module);

/// The name of an argument: that of the model's input.
llvm::StringRef argumentName(mlir::func::FuncOp function, mlir::BlockArgument argument);

/// The name of the parameter that is the weight of a linear operation with one weight, or "".
llvm::StringRef weightName(LinearOp linear);

class GraphSegments {
public:
  /// One segment for each of the cuts, which are values of the function.
  GraphSegments(mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> cuts);

  struct Segment {
    /// One function `main`; argument i is named "v<i>", result i "r<i>".
    mlir::OwningOpRef<mlir::ModuleOp> module;
    /// Values of the original function, in the order of the arguments and of the results.
    llvm::SmallVector<mlir::Value> inputs, outputs;
    /// Parameters that hold decoded weights, f32 [N, K], and whose they are.
    llvm::SmallVector<std::pair<std::string, std::string>> decoded;
  };

  /// Builds segment i. Linear operations whose weight's name `isDecoded` accepts read a parameter
  /// of their own, f32 [N, K], whose bytes the caller provides.
  Segment build(unsigned i, llvm::function_ref<bool(llvm::StringRef param)> isDecoded);

  /// What is needed behind segment i: all else may be forgotten.
  const llvm::SetVector<mlir::Value> &liveAfter(unsigned i) const { return live[i]; }

private:
  mlir::func::FuncOp function;
  llvm::SmallVector<mlir::Value> cuts;
  /// The operations of each segment, in the order of the graph.
  llvm::SmallVector<llvm::SmallVector<mlir::Operation *>> ops;
  llvm::SmallVector<llvm::SetVector<mlir::Value>> live;
};

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_GRAPHSEGMENTS_H
