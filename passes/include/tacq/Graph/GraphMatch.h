//===- GraphMatch.h - Asking what a node is and what its operands are -*- C++ -*-===//

#ifndef TACQ_GRAPH_GRAPHMATCH_H
#define TACQ_GRAPH_GRAPHMATCH_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

/// The node that makes the value if it is the standard operator `opType`; else null.
NodeOp nodeOf(mlir::Value value, llvm::StringRef opType);
/// True if the node is a standard operator of this name.
bool isNode(mlir::Operation *op, llvm::StringRef opType);
/// True if the value's only use is by `user`, any number of times.
bool isUsedOnlyBy(mlir::Value value, mlir::Operation *user);

/// The element of a tensor with one element, of any rank, that is constant or computed from
/// constants.
std::optional<double> scalarOf(mlir::Value value);
/// The elements of a constant or symbolic integer tensor.
std::optional<Dims> symbolsOf(mlir::Value value);
/// As symbolsOf, if all are constants.
std::optional<llvm::SmallVector<int64_t>> integersOf(mlir::Value value);
/// The axes of a node in either form (operand or attribute), normalized for `rank`; nullopt if they
/// are not constant. None given is an empty list.
std::optional<llvm::SmallVector<int64_t>> axesOf(NodeOp node, unsigned operand, int64_t rank);

mlir::Type elementTypeOf(mlir::Value value);
/// The named operations are computed in f32: values of f32, f16 or bf16 qualify.
bool isComputedInF32(mlir::Value value);
/// The rank of a tensor, -1 if it is not known.
int64_t rankOf(mlir::Value value);
bool sameDims(mlir::Value a, mlir::Value b);
/// True if the value is a parameter or a constant.
bool isWeight(mlir::Value value);

/// Splits a binary node's operands into (matching, other) for the first order in which
/// `matches(operand)` holds.
std::optional<std::pair<mlir::Value, mlir::Value>>
splitOperands(NodeOp node, llvm::function_ref<bool(mlir::Value)> matches);

/// Makes data movement nodes; each returns its operand where nothing moves.
class GraphBuilder : public NodeBuilder {
public:
  GraphBuilder(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef nodeName)
      : NodeBuilder(builder, loc, nodeName) {}

  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<Sym> dims);
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> permutation);
  mlir::Value cast(mlir::Value value, mlir::Type element);
  mlir::Value expand(mlir::Value value, llvm::ArrayRef<Sym> dims);
  /// Elements [start, end) of one axis.
  mlir::Value slice(mlir::Value value, int64_t axis, int64_t start, int64_t end);
};

/// What a recognizer found, for its statistics and for people: remarks on request.
class MatchReport {
public:
  MatchReport(bool remarks, llvm::StringRef what) : remarks(remarks), what(what.str()) {}

  void matched(mlir::Operation *op, llvm::StringRef nodeName, const llvm::Twine &detail = "");
  /// The node looked like the pattern, but is left as it is.
  void nearMatch(mlir::Operation *op, llvm::StringRef nodeName, const llvm::Twine &reason);

  /// The pattern is there, but a part of it has no better form.
  void note(mlir::Operation *op, llvm::StringRef nodeName, const llvm::Twine &text);

  unsigned matches = 0, nearMatches = 0;

private:
  bool remarks;
  std::string what;
};

/// Removes nodes without uses, last to first.
void eraseDeadNodes(mlir::Block &block);
/// Moves constants, symbolic tensors and parameters to the head of the block, so that they are seen
/// from everywhere in it.
void hoistConstants(mlir::Block &block);

} // namespace tacq

#endif // TACQ_GRAPH_GRAPHMATCH_H
