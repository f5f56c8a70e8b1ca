//===- GradientCase.h - Gradients against finite differences ----*- C++ -*-===//
//
// A case builds a graph y(x) whose gradient is compared with central differences of the loss
// mean((y - t)²) along random directions. y comes from the compiled module in f32; the loss and its
// differences are computed from it in f64.
//
// With steps of h = 1e-3 around numbers of size 1, rounding of y (6e-8) disturbs a difference by
// 6e-5 of y / x, and a third derivative of size 1 by 2e-7: 3e-3 of Σ |g · v| leaves room for
// operations that add up many elements, and is well below the share of a single element.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_TEST_DIFFERENTIATE_GRADIENTCASE_H
#define TACQ_TEST_DIFFERENTIATE_GRADIENTCASE_H

#include "CompiledGraph.h"
#include "tacq/Graph/GraphMatch.h"
#include <functional>
#include <ostream>
#include <random>

namespace tacq::test {

struct GradientInput {
  /// Numbers or names; a name has the same size wherever it stands.
  std::vector<const char *> dims;
  double low = -1, high = 1;
  enum Kind {
    Argument,  ///< its gradient is checked
    Constant,  ///< an argument without a gradient
    Parameter, ///< its gradient is checked; changing it compiles the graph again
    Distinct,  ///< as Argument; no two elements are equal, or nearly so
    Index,     ///< i64 in [low, high)
  } kind = Argument;
};

/// Builds y from the inputs.
using BuildGraph = std::function<mlir::Value(GraphBuilder &, llvm::ArrayRef<mlir::Value>)>;

struct GradientCase {
  const char *name;
  std::vector<GradientInput> inputs;
  BuildGraph build;
};

inline void PrintTo(const GradientCase &test, std::ostream *stream) { *stream << test.name; }

/// Sizes of the names are drawn anew for each seed. Failures are reported to GoogleTest.
void checkGradients(const GradientCase &test, unsigned seed);

} // namespace tacq::test

#endif // TACQ_TEST_DIFFERENTIATE_GRADIENTCASE_H
