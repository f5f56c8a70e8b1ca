//===- ConcreteEvaluator.h - Values of small tensors at given sizes -*- C++ -*-===//
//
// Recognizers decide by what a subgraph computes: they give every named dimension a small value,
// feed the subgraph's inputs and look at the numbers. The evaluator knows the operators of index
// and mask arithmetic and of data movement; it is not a runtime for models.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_GRAPH_CONCRETEEVALUATOR_H
#define TACQ_GRAPH_CONCRETEEVALUATOR_H

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

/// A dense row-major tensor whose elements are all reals or all integers (bool: 0 and 1).
struct ConcreteTensor {
  llvm::SmallVector<int64_t> shape;
  bool isReal = false;
  std::vector<double> reals;
  std::vector<int64_t> integers;

  static ConcreteTensor zeros(llvm::ArrayRef<int64_t> shape, bool isReal);
  int64_t size() const { return isReal ? reals.size() : integers.size(); }
  int64_t rank() const { return shape.size(); }
  double real(int64_t i) const { return isReal ? reals[i] : double(integers[i]); }
  int64_t integer(int64_t i) const { return isReal ? int64_t(reals[i]) : integers[i]; }
  void set(int64_t i, double value) {
    if (isReal)
      reals[i] = value;
    else
      integers[i] = int64_t(value);
  }
  void copyElement(int64_t to, const ConcreteTensor &source, int64_t from) {
    if (isReal)
      reals[to] = source.real(from);
    else
      integers[to] = source.integer(from);
  }
};

/// Number of elements of a shape.
int64_t elementCount(llvm::ArrayRef<int64_t> shape);
/// Row-major strides, in elements.
llvm::SmallVector<int64_t> stridesOf(llvm::ArrayRef<int64_t> shape);
/// Calls `visit(index, linear)` for every index of the shape, in row-major order.
void forEachIndex(llvm::ArrayRef<int64_t> shape,
                  llvm::function_ref<void(llvm::ArrayRef<int64_t>, int64_t)> visit);

class ConcreteEvaluator {
public:
  using Environment = llvm::StringMap<int64_t>;
  using Tensor = std::shared_ptr<const ConcreteTensor>;
  /// Asked for every value before it is computed; nullopt means that it is to be computed. The
  /// shape is that of the value's type at the given sizes.
  using Leaf =
      std::function<std::optional<ConcreteTensor>(mlir::Value, llvm::ArrayRef<int64_t> shape)>;

  /// `maxElements` bounds every tensor; larger ones cannot be evaluated.
  ConcreteEvaluator(const Environment &environment, Leaf leaf, int64_t maxElements = 1 << 22)
      : environment(environment), leaf(std::move(leaf)), maxElements(maxElements) {}

  /// The value's elements; null if they cannot be computed, and reason() tells why.
  Tensor evaluate(mlir::Value value);
  const std::string &reason() const { return failure; }

  std::optional<int64_t> evaluate(const Sym &sym) const;
  std::optional<llvm::SmallVector<int64_t>> shapeOf(mlir::Value value) const;

private:
  Tensor compute(mlir::Value value);
  Tensor fail(const llvm::Twine &why);

  Environment environment;
  Leaf leaf;
  int64_t maxElements;
  llvm::DenseMap<mlir::Value, Tensor> known;
  std::string failure;
};

/// A node with its operands' elements (null: absent), as the operator functions see it.
struct ConcreteNode {
  mutable NodeOp node;
  llvm::SmallVector<ConcreteEvaluator::Tensor> operands;
  /// The result's shape if its type tells it.
  std::optional<llvm::SmallVector<int64_t>> resultShape;
  int64_t maxElements;

  const ConcreteTensor &operand(unsigned i) const { return *operands[i]; }
  bool has(unsigned i) const { return i < operands.size() && operands[i]; }
  /// The elements of an integer operand or, in older opsets, of the attribute.
  llvm::SmallVector<int64_t> integers(unsigned operand, llvm::StringRef attribute) const;
};

/// The first result, or nullopt with a reason. Each function knows one family of operators and
/// leaves `known` false for the others.
std::optional<ConcreteTensor> evaluateElementwise(const ConcreteNode &node, bool &known,
                                                  std::string &reason);
std::optional<ConcreteTensor> evaluateMovement(const ConcreteNode &node, bool &known,
                                               std::string &reason);

} // namespace tacq

#endif // TACQ_GRAPH_CONCRETEEVALUATOR_H
