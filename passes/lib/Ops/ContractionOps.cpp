//===- ContractionOps.cpp - MatMul and Gemm -------------------------------===//

#include "ContractionTables.h"
#include "KernelMath.h"
#include "MatMulKernel.h"

using namespace mlir;
using namespace tacq;

namespace {

//===----------------------------------------------------------------------===//
// MatMul
//===----------------------------------------------------------------------===//

LogicalResult inferMatMul(InferContext &ctx) {
  Dims a = ctx.dims(0), b = ctx.dims(1);
  if (a.empty() || b.empty())
    return ctx.fail("a scalar cannot be an operand of a matrix product");
  const Sym &depth = b.size() == 1 ? b[0] : b[b.size() - 2];
  if (failed(ctx.require(a.back(), depth, "the inner sizes of a matrix product must be equal")))
    return failure();
  ArrayRef<Sym> aBatch = ArrayRef(a).drop_back(std::min<size_t>(a.size(), 2)),
                bBatch = ArrayRef(b).drop_back(std::min<size_t>(b.size(), 2));
  FailureOr<Dims> result = ctx.broadcast(aBatch, bBatch);
  if (failed(result))
    return failure();
  if (a.size() > 1)
    result->push_back(a[a.size() - 2]);
  if (b.size() > 1)
    result->push_back(b.back());
  ctx.setResult(0, ctx.elementType(0), *result);
  return success();
}

/// The number of a batch within an operand whose batch dimensions may be broadcast.
Value batchOf(KernelBuilder &k, ValueRange index, ArrayRef<Sym> batchDims, ArrayRef<Sym> own) {
  KernelBuilder::Index at;
  for (auto [i, dim] : llvm::enumerate(own)) {
    size_t axis = batchDims.size() - own.size() + i;
    if (dim == batchDims[axis])
      at.push_back(index[axis]);
    else
      at.push_back(k.select(k.equal(k.sym(dim), k.index(1)), k.index(0), index[axis]));
  }
  return k.linearize(at, own);
}

/// Operands that the kernel computes element by element.
void emitScalarMatMul(KernelBuilder &k, NodeOp node) {
  Value a = node.getInputs()[0], b = node.getInputs()[1];
  Dims aDims = k.dims(a), bDims = k.dims(b), dims = k.dims(node.getResult(0));
  Type type = computeType(k.elementType(a));
  k.parallel(elementCount(dims), [&](Value task) {
    KernelBuilder::Index at = k.delinearize(task, dims);
    ArrayRef<Value> batch = ArrayRef(at).drop_back((aDims.size() > 1) + (bDims.size() > 1));
    ArrayRef<Sym> batchDims = ArrayRef(dims).take_front(batch.size());
    auto operandIndex = [&](ArrayRef<Sym> own, bool isLeft, Value depth) {
      KernelBuilder::Index index;
      size_t ownBatch = own.size() - std::min<size_t>(own.size(), 2);
      for (size_t i = 0; i < ownBatch; ++i) {
        size_t axis = batch.size() - ownBatch + i;
        bool same = own[i] == batchDims[axis];
        index.push_back(
            same ? batch[axis]
                 : k.select(k.equal(k.sym(own[i]), k.index(1)), k.index(0), batch[axis]));
      }
      if (own.size() == 1)
        index.push_back(depth);
      else if (isLeft)
        index.append({at[batch.size()], depth});
      else
        index.append({depth, at.back()});
      return index;
    };
    Value sum = k.reduce(aDims.back(), k.constant(type, 0), [&](ValueRange i, ValueRange carried) {
      Value product = mulFast(k, k.load(a, operandIndex(aDims, true, i[0])),
                              k.load(b, operandIndex(bDims, false, i[0])));
      return SmallVector<Value>{addAnyOrder(k, carried[0], product)};
    })[0];
    k.store(0, at, sum);
  });
}

LogicalResult emitMatMulNode(KernelBuilder &k, NodeOp node) {
  MatMulProblem p;
  p.a = node.getInputs()[0], p.b = node.getInputs()[1];
  if (!k.inputOf(p.a) || !k.inputOf(p.b)) {
    emitScalarMatMul(k, node);
    return success();
  }
  Dims a = k.dims(p.a), b = k.dims(p.b);
  p.depth = a.back();
  p.m = a.size() > 1 ? a[a.size() - 2] : Sym(1);
  p.n = b.size() > 1 ? b.back() : Sym(1);
  // One column is consecutive along the depth, whichever way it is written.
  p.bTransposed = p.n.isConstant(1);
  Dims aBatch(ArrayRef(a).drop_back(std::min<size_t>(a.size(), 2))),
      bBatch(ArrayRef(b).drop_back(std::min<size_t>(b.size(), 2)));
  if (elementCount(bBatch).isConstant(1)) {
    // One right side for all batches: their rows are rows of one matrix.
    p.m = p.m * elementCount(aBatch);
    p.batches = 1;
    p.offsets = [&](Value) { return std::array<Value, 3>{k.index(0), k.index(0), k.index(0)}; };
    emitMatMul(k, p);
    return success();
  }
  Dims dims = k.dims(node.getResult(0));
  Dims batchDims(ArrayRef(dims).drop_back((a.size() > 1) + (b.size() > 1)));
  p.batches = elementCount(batchDims);
  p.offsets = [&](Value batch) {
    KernelBuilder::Index at = k.delinearize(batch, batchDims);
    return std::array<Value, 3>{k.mul(batchOf(k, at, batchDims, aBatch), k.sym(p.m * p.depth)),
                                k.mul(batchOf(k, at, batchDims, bBatch), k.sym(p.depth * p.n)),
                                k.mul(batch, k.sym(p.m * p.n))};
  };
  emitMatMul(k, p);
  return success();
}

//===----------------------------------------------------------------------===//
// Gemm
//===----------------------------------------------------------------------===//

LogicalResult inferGemm(InferContext &ctx) {
  if (ctx.rank(0) != 2 || ctx.rank(1) != 2)
    return ctx.fail("its operands must be matrices");
  Dims a = ctx.dims(0), b = ctx.dims(1);
  if (ctx.attrs.integer("transA", 0))
    std::swap(a[0], a[1]);
  if (ctx.attrs.integer("transB", 0))
    std::swap(b[0], b[1]);
  if (failed(ctx.require(a[1], b[0], "the inner sizes of a matrix product must be equal")))
    return failure();
  Dims result = {a[0], b[1]};
  if (ctx.has(2)) {
    if (ctx.rank(2) > 2)
      return ctx.fail("its third operand must have at most two dimensions");
    FailureOr<Dims> both = ctx.broadcast(result, ctx.dims(2));
    if (failed(both))
      return failure();
  }
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// alpha, beta and C become nodes of their own; the product alone has a kernel.
SmallVector<Value> decomposeGemm(NodeBuilder &builder, NodeOp node) {
  NodeAttrs attrs(node);
  double alpha = attrs.real("alpha", 1.0), beta = attrs.real("beta", 1.0);
  ValueRange inputs = node.getInputs();
  bool hasC = inputs.size() > 2 && !isAbsent(inputs[2]);
  if (alpha == 1.0 && !hasC)
    return {};
  Type element = cast<ShapedType>(inputs[0].getType()).getElementType();
  Value result = builder.create("Gemm", {inputs[0], inputs[1]},
                                {builder.attr("transA", attrs.integer("transA", 0)),
                                 builder.attr("transB", attrs.integer("transB", 0))});
  if (alpha != 1.0)
    result = builder.create("Mul", {result, builder.scalar(element, alpha)});
  if (!hasC || beta == 0.0)
    return {result};
  Value c = inputs[2];
  if (beta != 1.0)
    c = builder.create("Mul", {c, builder.scalar(element, beta)});
  return {builder.create("Add", {result, c})};
}

/// An operand is a constant within the kernel.
void emitScalarGemm(KernelBuilder &k, const MatMulProblem &p) {
  Type type = computeType(k.elementType(p.a));
  k.parallel(p.m, [&](Value row) {
    k.loop(k.sym(p.n), [&](Value column) {
      Value sum = k.reduce(p.depth, k.constant(type, 0), [&](ValueRange i, ValueRange carried) {
        KernelBuilder::Index left = {row, i[0]}, right = {i[0], column};
        if (p.aTransposed)
          std::swap(left[0], left[1]);
        if (p.bTransposed)
          std::swap(right[0], right[1]);
        Value product = mulFast(k, k.load(p.a, left), k.load(p.b, right));
        return SmallVector<Value>{addAnyOrder(k, carried[0], product)};
      })[0];
      k.store(0, {row, column}, sum);
    });
  });
}

LogicalResult emitGemm(KernelBuilder &k, NodeOp node) {
  NodeAttrs attrs(node);
  MatMulProblem p;
  p.a = node.getInputs()[0], p.b = node.getInputs()[1];
  p.aTransposed = attrs.integer("transA", 0) != 0;
  p.bTransposed = attrs.integer("transB", 0) != 0;
  Dims a = k.dims(p.a), b = k.dims(p.b);
  p.m = a[p.aTransposed], p.depth = a[!p.aTransposed], p.n = b[!p.bTransposed];
  if (!k.inputOf(p.a) || !k.inputOf(p.b)) {
    emitScalarGemm(k, p);
    return success();
  }
  p.batches = 1;
  p.offsets = [&](Value) { return std::array<Value, 3>{k.index(0), k.index(0), k.index(0)}; };
  emitMatMul(k, p);
  return success();
}

std::vector<OpSpec> makeTable() {
  OpSpec matMul;
  matMul.name = "MatMul";
  matMul.infer = inferMatMul;
  matMul.loops = emitMatMulNode;
  OpSpec gemm;
  gemm.name = "Gemm";
  gemm.infer = inferGemm;
  gemm.decompose = decomposeGemm;
  gemm.loops = emitGemm;
  std::vector<OpSpec> table = {matMul, gemm};
  llvm::append_range(table, einsumOps());
  llvm::append_range(table, convolutionOps());
  return table;
}

} // namespace

ArrayRef<OpSpec> tacq::contractionOps() {
  static const std::vector<OpSpec> table = makeTable();
  return table;
}
