//===- HeadLayout.cpp - How a tensor of attention heads is laid out -------===//

#include "tacq/Graph/HeadLayout.h"
#include <array>
#include <map>

using namespace mlir;
using namespace tacq;

ConcreteEvaluator::Environment tacq::sampleSizes(ArrayRef<Sym> dims, unsigned variant) {
  static const int64_t sizes[] = {2, 3, 5, 4, 7, 6, 1};
  ConcreteEvaluator::Environment environment;
  // In the order of the text, so that the same model is always tested with the same sizes.
  std::map<std::string, int64_t> names;
  for (const Sym &dim : dims)
    dim.collectNames([&](StringRef name) { names[name.str()] = 0; });
  unsigned next = variant;
  for (auto &[name, size] : names)
    environment[name] = sizes[next++ % std::size(sizes)];
  return environment;
}

/// One step up through a node that only moves elements or scales all of them.
static Value stepUp(Value value, double &scale) {
  auto node = value.getDefiningOp<NodeOp>();
  if (!node || !isNode(node, node.getOpType()) || node.getNumResults() == 0 ||
      node.getOutputs().front() != value)
    return nullptr;
  StringRef type = node.getOpType();
  static const char *const views[] = {"Reshape", "Transpose", "Unsqueeze", "Squeeze",
                                      "Expand",  "Flatten",   "Identity",  "Tile"};
  if (llvm::is_contained(views, type))
    return node.getInputs().front();
  if (type == "Cast")
    return elementTypeOf(value) == elementTypeOf(node.getInputs().front())
               ? node.getInputs().front()
               : Value();
  if (type == "Mul")
    if (auto split = splitOperands(node, [](Value v) { return scalarOf(v).has_value(); })) {
      if (!sameDims(split->second, value))
        return nullptr;
      scale *= *scalarOf(split->first);
      return split->second;
    }
  if (type == "Div")
    if (std::optional<double> divisor = scalarOf(node.getInputs()[1]))
      if (*divisor != 0 && sameDims(node.getInputs()[0], value)) {
        scale /= *divisor;
        return node.getInputs()[0];
      }
  return nullptr;
}

namespace {

/// The sizes of what was asked for.
struct HeadSizes {
  Sym batch, sequence;
  int64_t heads, features;
};

} // namespace

/// Where batch, head, sequence and feature are among four axes in this order.
static std::array<unsigned, 4> axesOfOrder(HeadLayout order) {
  switch (order) {
  case HeadLayout::BSHD:
    return {0, 2, 1, 3};
  case HeadLayout::BHDS:
    return {0, 1, 3, 2};
  default:
    return {0, 1, 2, 3};
  }
}

/// The dimensions that a source of this layout has.
static Dims layoutDims(HeadLayout layout, const HeadSizes &sizes, int64_t heads) {
  Sym h(heads), d(sizes.features);
  switch (layout) {
  case HeadLayout::BSHD:
    return {sizes.batch, sizes.sequence, h, d};
  case HeadLayout::BHSD:
    return {sizes.batch, h, sizes.sequence, d};
  case HeadLayout::BHDS:
    return {sizes.batch, h, d, sizes.sequence};
  case HeadLayout::BSF:
    return {sizes.batch, sizes.sequence, h * d};
  case HeadLayout::RowsF:
    return {sizes.batch * sizes.sequence, h * d};
  }
  return {};
}

/// The strides of batch, head, sequence and feature in a source of this layout.
static std::array<int64_t, 4> layoutStrides(HeadLayout layout, int64_t heads, int64_t sequence,
                                            int64_t features) {
  int64_t all = heads * sequence * features;
  switch (layout) {
  case HeadLayout::BHSD:
    return {all, sequence * features, features, 1};
  case HeadLayout::BHDS:
    return {all, sequence * features, 1, sequence};
  default:
    return {all, features, heads * features, 1};
  }
}

/// Numbers the source's elements, runs the chain down to `value` and compares.
static bool chainIs(Value value, HeadLayout order, Value source, HeadLayout layout,
                    const HeadSizes &sizes, int64_t heads, unsigned variant) {
  Dims all = *dimsOf(value);
  for (Value v = value; v != source;) {
    double scale = 1;
    v = stepUp(v, scale);
    if (std::optional<Dims> dims = dimsOf(v))
      all.append(*dims);
  }
  ConcreteEvaluator evaluator(
      sampleSizes(all, variant),
      [&](Value leaf, ArrayRef<int64_t> shape) -> std::optional<ConcreteTensor> {
        if (leaf == source) {
          ConcreteTensor numbered = ConcreteTensor::zeros(shape, /*isReal=*/false);
          for (int64_t i = 0; i < numbered.size(); ++i)
            numbered.integers[i] = i;
          return numbered;
        }
        // Scaling moves nothing; it is accounted for apart.
        if (leaf != value && isa_and_nonnull<FloatType>(elementTypeOf(leaf)) && scalarOf(leaf)) {
          ConcreteTensor one = ConcreteTensor::zeros(shape, /*isReal=*/false);
          one.integers.assign(one.integers.size(), 1);
          return one;
        }
        return std::nullopt;
      },
      /*maxElements=*/int64_t(1) << 24);
  ConcreteEvaluator::Tensor result = evaluator.evaluate(value);
  std::optional<int64_t> batch = evaluator.evaluate(sizes.batch);
  std::optional<int64_t> sequence = evaluator.evaluate(sizes.sequence);
  if (!result || !batch || !sequence ||
      result->size() != *batch * sizes.heads * *sequence * sizes.features)
    return false;
  std::array<unsigned, 4> axes = axesOfOrder(order);
  std::array<int64_t, 4> strides = layoutStrides(layout, heads, *sequence, sizes.features);
  int64_t repeat = sizes.heads / heads;
  bool same = true;
  forEachIndex(result->shape, [&](ArrayRef<int64_t> index, int64_t linear) {
    int64_t from = index[axes[0]] * strides[0] + index[axes[1]] / repeat * strides[1] +
                   index[axes[2]] * strides[2] + index[axes[3]] * strides[3];
    same &= result->integer(linear) == from;
  });
  return same;
}

std::optional<HeadView> tacq::findHeadView(Value value, HeadLayout order, bool repeated,
                                           std::string &reason) {
  std::optional<Dims> dims = dimsOf(value);
  if (!dims || dims->size() != 4) {
    reason = "an operand does not have the four axes batch, heads, sequence and features";
    return std::nullopt;
  }
  std::array<unsigned, 4> axes = axesOfOrder(order);
  std::optional<int64_t> heads = (*dims)[axes[1]].constant();
  std::optional<int64_t> features = (*dims)[axes[3]].constant();
  if (!heads || !features || *heads <= 0 || *features <= 0) {
    reason = "the number of heads or of features is not constant";
    return std::nullopt;
  }
  HeadSizes sizes{(*dims)[axes[0]], (*dims)[axes[2]], *heads, *features};

  SmallVector<std::pair<Value, double>> chain{{value, 1}};
  while (true) {
    double scale = chain.back().second;
    Value up = stepUp(chain.back().first, scale);
    if (!up)
      break;
    chain.push_back({up, scale});
  }
  for (auto [source, scale] : llvm::reverse(chain)) {
    std::optional<Dims> sourceDims = dimsOf(source);
    if (!sourceDims)
      continue;
    for (HeadLayout layout :
         {HeadLayout::BSHD, HeadLayout::BHSD, HeadLayout::BHDS, HeadLayout::BSF, HeadLayout::RowsF})
      for (int64_t repeat = 1; repeat <= (repeated ? *heads : 1); ++repeat)
        if (*heads % repeat == 0 && *sourceDims == layoutDims(layout, sizes, *heads / repeat) &&
            chainIs(value, order, source, layout, sizes, *heads / repeat, 0) &&
            chainIs(value, order, source, layout, sizes, *heads / repeat, 2))
          return HeadView{source,          layout,    sizes.batch, sizes.sequence,
                          *heads / repeat, *features, repeat,      scale};
  }
  reason = "the movement of an operand is none of the known head layouts";
  return std::nullopt;
}

Value tacq::toSequenceMajor(GraphBuilder &builder, const HeadView &view) {
  if (view.layout == HeadLayout::BHSD)
    return builder.transpose(view.source, {0, 2, 1, 3});
  if (view.layout == HeadLayout::BHDS)
    return builder.transpose(view.source, {0, 3, 1, 2});
  return builder.reshape(view.source,
                         {view.batch, view.sequence, Sym(view.heads), Sym(view.features)});
}
