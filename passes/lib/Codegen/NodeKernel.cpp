//===- NodeKernel.cpp - Kernels of generic nodes --------------------------===//

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "tacq/Codegen/KernelBuilder.h"

using namespace mlir;
using namespace tacq;

/// Inner loops below this many elements cost more in tasks than they save.
static constexpr int64_t minInnerElements = 64;
/// Elements a task, where a single dimension is split.
static constexpr int64_t elementsPerTask = 1024;

/// One element kernel: the outer dimensions are tasks, the inner ones loops.
static void emitElementKernel(KernelBuilder &k, Value root) {
  Dims dims = k.dims(root);
  size_t split = dims.size();
  int64_t inner = 1;
  while (!k.isScalar() && split > 0 && inner < minInnerElements) {
    std::optional<int64_t> extent = dims[--split].constant();
    if (!extent)
      break;
    inner *= std::max<int64_t>(*extent, 1);
  }
  auto emitAt = [&](ArrayRef<Value> outer, ValueRange rest) {
    KernelBuilder::Index at(outer);
    at.append(rest.begin(), rest.end());
    k.store(0, at, k.load(root, at));
  };
  ArrayRef<Sym> outerDims = ArrayRef(dims).take_front(split),
                innerDims = ArrayRef(dims).drop_front(split);
  if (split == 0 && !dims.empty()) {
    // No outer dimension is left: the first inner one is split.
    Sym extent = dims.front();
    k.parallel(Sym::ceilDiv(extent, elementsPerTask), [&](Value task) {
      Value first = k.mul(task, k.index(elementsPerTask));
      Value count = k.min(k.sub(k.sym(extent), first), k.index(elementsPerTask));
      k.loop(count, [&](Value i) {
        Value at = k.add(first, i);
        k.reduce(innerDims.drop_front(), {}, [&](ValueRange rest, ValueRange) {
          emitAt(at, rest);
          return SmallVector<Value>();
        });
      });
    });
    return;
  }
  k.parallel(elementCount(outerDims), [&](Value task) {
    KernelBuilder::Index outer = k.delinearize(task, outerDims);
    k.reduce(innerDims, {}, [&](ValueRange rest, ValueRange) {
      emitAt(outer, rest);
      return SmallVector<Value>();
    });
  });
}

LogicalResult tacq::emitNodeKernel(KernelBuilder &k) {
  Operation *terminator = k.region().front().getTerminator();
  for (NodeOp node : k.region().front().getOps<NodeOp>())
    if (const OpSpec *spec = lookupOp(node); spec && spec->loops && !spec->element)
      return spec->loops(k, node);
  if (terminator->getNumOperands() != 1)
    return terminator->emitError("an element kernel has one result");
  // A node at the root may have a better loop nest than one element after the other.
  if (auto root = terminator->getOperand(0).getDefiningOp<NodeOp>(); root && !k.isScalar())
    if (const OpSpec *spec = lookupOp(root); spec && spec->loops && succeeded(spec->loops(k, root)))
      return success();
  emitElementKernel(k, terminator->getOperand(0));
  return success();
}
