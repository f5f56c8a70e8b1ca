//===- ContractionDerivatives.cpp - Matrix products -----------------------===//

#include "Derivatives.h"

using namespace mlir;
using namespace tacq;

static void deriveMatMul(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  Value first = node.getInputs()[0], second = node.getInputs()[1], g = gradients[0];
  Value x = first, y = second;
  Dims xDims = *dimsOf(x), yDims = *dimsOf(y), gDims = *dimsOf(g);
  // A vector is a matrix of one row on the left and of one column on the right.
  if (yDims.size() == 1) {
    gDims.push_back(Sym(1));
    y = b.reshape(y, {yDims[0], Sym(1)});
  }
  if (xDims.size() == 1) {
    gDims.insert(gDims.end() - 1, Sym(1));
    x = b.reshape(x, {Sym(1), xDims[0]});
  }
  g = b.reshape(g, gDims);
  if (b.wants(first)) {
    Value gradient = b.create("MatMul", {g, b.transposeLast(y)});
    // The axis that a vector got goes again.
    b.accumulate(first, b.reshape(b.sumTo(gradient, *dimsOf(x)), xDims));
  }
  if (!b.wants(second))
    return;
  // The rows of all matrices that meet one matrix are rows of one.
  if (rankOf(y) == 2 && rankOf(x) > 2) {
    x = b.rows(x);
    g = b.rows(g);
  }
  Value gradient = b.create("MatMul", {b.transposeLast(x), g});
  b.accumulate(second, b.reshape(b.sumTo(gradient, *dimsOf(y)), yDims));
}

/// alpha · A' · B' + beta · C, where A' and B' may be transposed.
static void deriveGemm(GradientBuilder &b, NodeOp node, ArrayRef<Value> gradients) {
  NodeAttrs attrs(node);
  Value x = node.getInputs()[0], y = node.getInputs()[1];
  bool turnX = attrs.integer("transA", 0) != 0, turnY = attrs.integer("transB", 0) != 0;
  double alpha = attrs.real("alpha", 1.0), beta = attrs.real("beta", 1.0);
  Value g = alpha == 1.0 ? gradients[0] : b.mul(gradients[0], alpha);
  auto turned = [&](Value matrix, bool turn) { return turn ? b.transposeLast(matrix) : matrix; };
  if (b.wants(x))
    b.accumulate(x, turned(b.create("MatMul", {g, turned(y, !turnY)}), turnX));
  if (b.wants(y))
    b.accumulate(y, turned(b.create("MatMul", {turned(x, !turnX), g}), turnY));
  if (Value bias = operandOf(node, 2); bias && b.wants(bias))
    b.accumulate(bias, beta == 1.0 ? gradients[0] : b.mul(gradients[0], beta));
}

ArrayRef<Derivative> tacq::contractionDerivatives() {
  static const Derivative table[] = {{"MatMul", deriveMatMul}, {"Gemm", deriveGemm}};
  return table;
}
