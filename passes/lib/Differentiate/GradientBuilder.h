//===- GradientBuilder.h - Builds the gradients of one operation -*- C++ -*-===//

#ifndef TACQ_LIB_DIFFERENTIATE_GRADIENTBUILDER_H
#define TACQ_LIB_DIFFERENTIATE_GRADIENTBUILDER_H

#include "tacq/Graph/GraphMatch.h"
#include "llvm/ADT/MapVector.h"

namespace tacq {

/// The gradient of a product with a weight: of one use of a parameter by a linear operation.
struct LinearTap {
  LinearOp linear;
  unsigned weight;
  /// ∂L/∂(x · Wᵀ), null if the result does not depend on it.
  mlir::Value outputGradient;
};

/// What a walk from the results to the operands has found so far.
struct GradientState {
  /// Values that depend on something whose gradient is asked for.
  llvm::DenseSet<mlir::Value> active;
  llvm::DenseMap<mlir::Value, mlir::Value> gradients;
  /// Weights whose products are results, instead of their gradients.
  llvm::MapVector<std::pair<mlir::Operation *, unsigned>, LinearTap> taps;
};

class GradientBuilder : public GraphBuilder {
public:
  GradientBuilder(mlir::OpBuilder &builder, mlir::Location loc, llvm::StringRef nodeName,
                  GradientState &state)
      : GraphBuilder(builder, loc, nodeName), name(nodeName.str()), state(state) {}

  /// True if the gradient of the value is asked for.
  bool wants(mlir::Value value) const { return state.active.contains(value); }
  /// Adds to the gradient of a value, summed over the axes along which the value was broadcast.
  /// Nothing happens for a value whose gradient nobody wants.
  void accumulate(mlir::Value value, mlir::Value gradient);
  /// The sum so far, or null.
  mlir::Value gradientOf(mlir::Value value) const { return state.gradients.lookup(value); }
  /// Replaces the sum by one that contains it.
  void setGradient(mlir::Value value, mlir::Value sum) { state.gradients[value] = sum; }
  LinearTap *tapOf(LinearOp linear, unsigned weight);
  llvm::StringRef nodeName() const { return name; }

  // Elementwise arithmetic, with ONNX's broadcasting.
  mlir::Value add(mlir::Value x, mlir::Value y) { return create("Add", {x, y}); }
  mlir::Value sub(mlir::Value x, mlir::Value y) { return create("Sub", {x, y}); }
  mlir::Value mul(mlir::Value x, mlir::Value y) { return create("Mul", {x, y}); }
  mlir::Value div(mlir::Value x, mlir::Value y) { return create("Div", {x, y}); }
  mlir::Value neg(mlir::Value x) { return create("Neg", {x}); }
  mlir::Value square(mlir::Value x) { return mul(x, x); }
  mlir::Value reciprocal(mlir::Value x) { return create("Reciprocal", {x}); }
  mlir::Value sqrt(mlir::Value x) { return create("Sqrt", {x}); }
  mlir::Value exp(mlir::Value x) { return create("Exp", {x}); }
  mlir::Value add(mlir::Value x, double y) { return add(x, constantLike(x, y)); }
  mlir::Value mul(mlir::Value x, double y) { return mul(x, constantLike(x, y)); }
  /// y - x
  mlir::Value subFrom(double y, mlir::Value x) { return sub(constantLike(x, y), x); }
  mlir::Value less(mlir::Value x, mlir::Value y) { return create("Less", {x, y}); }
  mlir::Value equal(mlir::Value x, mlir::Value y) { return create("Equal", {x, y}); }
  mlir::Value where(mlir::Value condition, mlir::Value x, mlir::Value y) {
    return create("Where", {condition, x, y});
  }
  /// x where the condition holds, else 0.
  mlir::Value where(mlir::Value condition, mlir::Value x) {
    return where(condition, x, constantLike(x, 0));
  }
  /// A scalar of the element type of `like`.
  mlir::Value constantLike(mlir::Value like, double value) {
    return scalar(elementTypeOf(like), value);
  }
  mlir::Value zeros(mlir::Type element, llvm::ArrayRef<Sym> dims) {
    return expand(scalar(element, 0), dims);
  }

  /// Sums with the axes kept.
  mlir::Value sum(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  mlir::Value mean(mlir::Value x, llvm::ArrayRef<int64_t> axes);
  /// 0, 1, … n - 1 along `axis` of a tensor of rank `rank` with extents of 1 elsewhere; i64.
  mlir::Value positions(const Sym &n, int64_t axis, int64_t rank);
  /// Elements [start, start + size) of one axis.
  mlir::Value part(mlir::Value x, int64_t axis, const Sym &start, const Sym &size);
  /// Exchanges the last two axes.
  mlir::Value transposeLast(mlir::Value x);
  /// All axes but the last as one.
  mlir::Value rows(mlir::Value x);
  /// Undoes a broadcast: sums over the axes that the dimensions do not have or have as 1.
  mlir::Value sumTo(mlir::Value x, llvm::ArrayRef<Sym> dims);

private:
  std::string name;
  GradientState &state;
};

} // namespace tacq

#endif // TACQ_LIB_DIFFERENTIATE_GRADIENTBUILDER_H
