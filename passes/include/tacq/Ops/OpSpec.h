//===- OpSpec.h - What the compiler knows of an ONNX operator ---*- C++ -*-===//
//
// There is no operation class per ONNX operator. An operator is an entry in a table: how to infer
// its results' types, and one of three ways to compute it:
//
//   decompose  rewrites the node into simpler nodes;
//   element    gives the code of one element of a result as a function of its index, so that chains
//              of such nodes are fused by inlining one into the other;
//   loops      emits a whole kernel with its own loop nest, where a result is not a function of its
//              index (TopK, CumSum, Scatter, recurrent layers) or needs blocking (matmul).
//
// Tables live in passes/lib/Ops, one file per family.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_OPS_OPSPEC_H
#define TACQ_OPS_OPSPEC_H

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/ADT/STLExtras.h"
#include <functional>
#include <optional>

namespace tacq {

class KernelBuilder;

/// Attribute of a Gather whose data are stored in panels (#tacq.panel): their width.
inline constexpr llvm::StringLiteral panelWidthName = "panel_width";

/// Attributes of a node under their ONNX names, with ONNX's defaults given by the caller.
class NodeAttrs {
public:
  explicit NodeAttrs(NodeOp node) : attrs(node.getAttrs()) {}
  bool has(llvm::StringRef name) const { return bool(attrs.get(name)); }
  int64_t integer(llvm::StringRef name, int64_t fallback) const;
  double real(llvm::StringRef name, double fallback) const;
  std::string string(llvm::StringRef name, llvm::StringRef fallback) const;
  llvm::SmallVector<int64_t> integers(llvm::StringRef name) const;
  llvm::SmallVector<double> reals(llvm::StringRef name) const;

private:
  mlir::DictionaryAttr attrs;
};

/// The absent optional operand.
inline bool isAbsent(mlir::Value value) { return mlir::isa<mlir::NoneType>(value.getType()); }

/// What shape inference sees of a node, and where it puts the results' types. All results are to be
/// set, except those of type none.
class InferContext {
public:
  InferContext(NodeOp node)
      : node(node), attrs(node), types(node.getNumResults()), resultValues(node.getNumResults()) {}

  mutable NodeOp node;
  NodeAttrs attrs;

  int64_t opset() const { return node.getOpset(); }
  unsigned operandCount() const { return node.getInputs().size(); }
  unsigned resultCount() const { return node.getNumResults(); }
  /// True if operand i is given.
  bool has(unsigned i) const { return i < operandCount() && !isAbsent(node.getInputs()[i]); }
  mlir::Value operand(unsigned i) const { return node.getInputs()[i]; }
  mlir::Type elementType(unsigned i) const {
    return mlir::cast<mlir::ShapedType>(operand(i).getType()).getElementType();
  }
  /// Symbolic dimensions of operand i; inference calls the table only when all operands have them.
  Dims dims(unsigned i) const { return *dimsOf(operand(i)); }
  int64_t rank(unsigned i) const { return dims(i).size(); }

  /// Elements of an integer (or bool) tensor operand of known small size, as symbolic expressions.
  /// Where they are not known at compile time, the tensor is read at run time and the elements get
  /// names; nullopt if the number of elements is not static or above 4096.
  std::optional<Dims> values(unsigned i);
  /// As `values`, but only if they are known without reading a tensor at run time.
  std::optional<Dims> knownValues(unsigned i) const;
  /// All elements as constants, or nullopt.
  std::optional<llvm::SmallVector<int64_t>> constants(unsigned i) const;
  /// The constant elements of a floating-point (or integer) operand, or nullopt.
  std::optional<llvm::SmallVector<double>> constantReals(unsigned i) const;

  void setResult(unsigned i, mlir::Type element, llvm::ArrayRef<Sym> dims) {
    types[i] = tensorType(element, dims);
  }
  /// Elements of integer result i, row-major; only for up to 4096 elements. The node then folds.
  void setValues(unsigned i, llvm::ArrayRef<Sym> values) {
    resultValues[i] = Dims(values.begin(), values.end());
  }

  /// Inference fails: the reason is the second half of "node 'x' (Op, opset n): <reason>".
  mlir::LogicalResult fail(const llvm::Twine &reason) {
    failure_ = reason.str();
    return mlir::failure();
  }
  /// As `fail`, for a valid node that TACQ cannot compile.
  mlir::LogicalResult unsupported(const llvm::Twine &reason) {
    isUnsupported_ = true;
    return fail(reason);
  }
  /// The call is valid only if a == b; decided now if it can be, else checked at every call.
  mlir::LogicalResult require(const Sym &a, const Sym &b, const llvm::Twine &what);
  /// As `require`, a <= b.
  mlir::LogicalResult requireAtMost(const Sym &a, const Sym &b, const llvm::Twine &what);

  /// Normalizes a negative axis; reports one that is out of range.
  mlir::FailureOr<int64_t> axis(int64_t value, int64_t rank);
  /// The shape that ONNX (numpy) broadcasting gives; with run-time checks where sizes are symbolic.
  mlir::FailureOr<Dims> broadcast(llvm::ArrayRef<Sym> a, llvm::ArrayRef<Sym> b);

  // Read by the driver of the inference.
  struct Requirement {
    Sym lhs, rhs;
    std::string message;
    bool atMost;
  };
  /// Creates the names for the elements of a tensor that is read at run time.
  std::function<std::optional<Dims>(mlir::Value)> readSymbols;
  llvm::SmallVector<mlir::Type> types;
  llvm::SmallVector<std::optional<Dims>> resultValues;
  llvm::SmallVector<Requirement> requirements;
  std::string failure_;
  bool isUnsupported_ = false;
};

using InferFn = mlir::LogicalResult (*)(InferContext &);
/// Replaces the node by simpler ones, created before it; returns the values for all its results
/// (a null value for an unused one), or an empty vector if this form is not supported.
using DecomposeFn = llvm::SmallVector<mlir::Value> (*)(class NodeBuilder &, NodeOp);
/// The element of result `result` at `index` (one `index` value for each dimension).
using ElementFn = mlir::Value (*)(KernelBuilder &, NodeOp, unsigned result, mlir::ValueRange index);
/// Emits the kernel; must call KernelBuilder::parallel exactly once and store all used results.
/// Where the operator has an element function as well, it may decline by failing before it emits
/// anything.
using LoopsFn = mlir::LogicalResult (*)(KernelBuilder &, NodeOp);

struct OpSpec {
  llvm::StringRef name;
  InferFn infer = nullptr;
  DecomposeFn decompose = nullptr;
  ElementFn element = nullptr;
  LoopsFn loops = nullptr;
  /// An element costs no more than a load: it may be computed again by each of several users.
  bool cheap = false;
  /// An element costs a loop: it is computed once into memory, never inlined into a larger loop.
  bool heavy = false;
  llvm::StringRef domain = "";
  /// Tells why a particular node cannot be compiled (types, attribute values); empty if it can.
  /// Called after inference, for nodes that nothing has recognized.
  std::string (*unsupported)(NodeOp) = nullptr;
};

/// The entry for an operator, or null.
const OpSpec *lookupOp(llvm::StringRef domain, llvm::StringRef name);
inline const OpSpec *lookupOp(NodeOp node) { return lookupOp(node.getDomain(), node.getOpType()); }

// The tables, one function per family.
llvm::ArrayRef<OpSpec> elementwiseOps();   // arithmetic, comparison, logic, activations, casts
llvm::ArrayRef<OpSpec> movementOps();      // reshape, transpose, slice, pad, concat, expand, tile …
llvm::ArrayRef<OpSpec> shapeOps();         // Shape, Size, Range, ConstantOfShape, Constant …
llvm::ArrayRef<OpSpec> indexingOps();      // Gather*, Scatter*, OneHot, TopK, ArgMax, NonZero …
llvm::ArrayRef<OpSpec> reductionOps();     // Reduce*, CumSum, Softmax, LogSoftmax …
llvm::ArrayRef<OpSpec> contractionOps();   // MatMul, Gemm, Einsum, Conv, ConvTranspose
llvm::ArrayRef<OpSpec> poolingOps();       // *Pool, Resize, Upsample, GridSample …
llvm::ArrayRef<OpSpec> normalizationOps(); // BatchNormalization, LayerNormalization …
llvm::ArrayRef<OpSpec> quantizationOps();  // QuantizeLinear, DequantizeLinear, MatMulInteger …
llvm::ArrayRef<OpSpec> recurrentOps();     // LSTM, GRU, RNN
llvm::ArrayRef<OpSpec> attentionOps();     // Attention, RotaryEmbedding (as composites)
llvm::ArrayRef<OpSpec> controlFlowOps();   // If, Loop, Scan (inference only)

/// Makes nodes with inferred types; for decompositions and graph passes. Every node made is
/// inferred at once, so that its result's dimensions can be asked for.
class NodeBuilder {
public:
  NodeBuilder(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef nodeName)
      : builder(builder), loc(loc), nodeName(nodeName) {}

  /// A node of opset 21 (or `opset`); asserts that inference succeeds on it.
  mlir::Value create(llvm::StringRef opType, mlir::ValueRange operands,
                     llvm::ArrayRef<mlir::NamedAttribute> attrs = {}, int64_t opset = 21);
  llvm::SmallVector<mlir::Value> createMany(llvm::StringRef opType, mlir::ValueRange operands,
                                            unsigned results,
                                            llvm::ArrayRef<mlir::NamedAttribute> attrs = {},
                                            int64_t opset = 21);
  mlir::NamedAttribute attr(llvm::StringRef name, int64_t value);
  mlir::NamedAttribute attr(llvm::StringRef name, double value);
  mlir::NamedAttribute attr(llvm::StringRef name, llvm::StringRef value);
  mlir::NamedAttribute attr(llvm::StringRef name, llvm::ArrayRef<int64_t> value);
  /// An integer tensor constant of rank 1 (or 0 with `scalar`).
  mlir::Value integers(llvm::ArrayRef<int64_t> values, bool scalar = false);
  mlir::Value symbols(llvm::ArrayRef<Sym> values);
  /// A scalar constant of the element type.
  mlir::Value scalar(mlir::Type element, double value);
  mlir::Value none();

  mlir::OpBuilder &builder;
  mlir::Location loc;

private:
  std::string nodeName;
};

/// Runs the inference of one node and sets its results' types; diagnostics on failure.
mlir::LogicalResult inferNode(NodeOp node);

} // namespace tacq

#endif // TACQ_OPS_OPSPEC_H
