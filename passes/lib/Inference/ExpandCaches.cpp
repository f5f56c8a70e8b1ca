//===- ExpandCaches.cpp - Caches that cannot be used in place -------------===//

#include "ExpandCaches.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Ops/OpSpec.h"
#include <limits>

using namespace mlir;
using namespace tacq;

/// A past that grows from call to call: its extent is named, not fixed.
static bool isCache(Value past, Value present, Block &entry) {
  auto argument = dyn_cast<BlockArgument>(past);
  std::optional<Dims> dims = dimsOf(past);
  return argument && dims && !(*dims)[2].constant() && argument.getOwner() == &entry &&
         past.hasOneUse() && present.hasOneUse() && *present.user_begin() == entry.getTerminator();
}

namespace {
class CacheExpander {
public:
  explicit CacheExpander(AttentionOp attention)
      : attention(attention), builder(attention),
        nodes(builder, attention.getLoc(), attention.getNodeName()) {}

  void run() {
    Value key = append(attention.getPastKey(), attention.getK(), attention.getPresentKey());
    Value value = append(attention.getPastValue(), attention.getV(), attention.getPresentValue());
    Value bias = attention.getBias();
    if (attention.getCausal()) {
      Value causal = causalBias();
      bias = bias ? nodes.create("Add", {bias, causal}) : causal;
    }
    // Without a cache causality would count from the first key on: it is in the bias.
    auto plain = builder.create<AttentionOp>(
        attention.getLoc(), attention.getOut().getType(), TypeRange(), attention.getQ(), key, value,
        Value(), Value(), attention.getKeyMask(), bias, attention.getScaleAttr(), UnitAttr(),
        attention.getNodeNameAttr());
    attention.getOut().replaceAllUsesWith(plain.getOut());
    attention.erase();
  }

private:
  /// Both cache and `added` as keys or values of an attention; the uses of `present` get the cache.
  Value append(Value past, Value added, Value present) {
    NamedAttribute swap = nodes.attr("perm", ArrayRef<int64_t>{0, 2, 1, 3});
    Value all = nodes.create("Concat", {past, nodes.create("Transpose", added, swap)},
                             nodes.attr("axis", int64_t(2)));
    all.setType(present.getType());
    present.replaceAllUsesWith(all);
    return nodes.create("Transpose", all, swap);
  }

  /// 0 where key t <= query s + past, else minus infinity; [1, 1, S, T].
  Value causalBias() {
    Type element = cast<ShapedType>(attention.getBias() ? attention.getBias().getType()
                                                        : attention.getQ().getType())
                       .getElementType();
    Sym queries = (*dimsOf(attention.getQ()))[1], past = (*dimsOf(attention.getPastKey()))[2],
        keys = (*dimsOf(attention.getPresentKey()))[2];
    Value key = positions(keys, {0, 1, 2}), query = positions(queries, {0, 1, 3});
    Value last = nodes.create("Add", {query, nodes.symbols({past})});
    Value hidden = nodes.scalar(element, -std::numeric_limits<double>::infinity());
    return nodes.create(
        "Where", {nodes.create("LessOrEqual", {key, last}), nodes.scalar(element, 0), hidden});
  }

  /// 0, 1, … `count` - 1, with axes of size 1.
  Value positions(const Sym &count, ArrayRef<int64_t> axes) {
    Value zero = nodes.integers(0, /*scalar=*/true), one = nodes.integers(1, /*scalar=*/true);
    Value end = nodes.create("Squeeze", {nodes.symbols({count}), nodes.integers(0)});
    return nodes.create("Unsqueeze",
                        {nodes.create("Range", {zero, end, one}), nodes.integers(axes)});
  }

  AttentionOp attention;
  OpBuilder builder;
  NodeBuilder nodes;
};
} // namespace

void tacq::expandCaches(func::FuncOp function) {
  Block &entry = function.getBody().front();
  SmallVector<AttentionOp> attentions;
  function.walk([&](AttentionOp attention) {
    if (attention.getPastKey() &&
        (!isCache(attention.getPastKey(), attention.getPresentKey(), entry) ||
         !isCache(attention.getPastValue(), attention.getPresentValue(), entry)))
      attentions.push_back(attention);
  });
  for (AttentionOp attention : attentions)
    CacheExpander(attention).run();
}
