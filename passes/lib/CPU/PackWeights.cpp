//===- PackWeights.cpp - Chooses the layouts of the weights ---------------===//
//
// Dense weights are stored in panels, from which rows of a table that is a weight, too, are
// gathered. Mixed-precision ones are stored in tiles, and what is multiplied with them is quantized
// before, unless it is to stay as it is.
//
//===----------------------------------------------------------------------===//

#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/Passes.h"
#include "tacq/CPU/WeightPacking.h"
#include "tacq/Codegen/MixedFormat.h"
#include "tacq/Ops/OpSpec.h"

namespace tacq {
#define GEN_PASS_DEF_PACKWEIGHTS
#include "tacq/CPU/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

struct PackWeightsPass : tacq::impl::PackWeightsBase<PackWeightsPass> {
  using PackWeightsBase::PackWeightsBase;

  void runOnOperation() override;

private:
  /// By input, columns of a block and bits.
  using QuantizedInputs = DenseMap<std::tuple<Value, int64_t, int64_t>, QuantizeRowsOp>;
  void packDense(LinearOp linear);
  void packMixed(LinearOp linear, QuantizedInputs &inputs);
  void setLayouts(LinearOp linear, function_ref<Attribute(Value)> layoutOf);
  void gatherFromPanels();
};

constexpr StringLiteral weightOrderAttribute = "tacq.weight_order";

/// That of a model with some hundred million weights.
constexpr int64_t smallWeight = int64_t(1) << 20;

bool isMixed(Value weight) { return isa<MixedType>(weight.getType()); }

/// A weight that was given a layout keeps it.
LayoutAttr mixedLayoutOf(Value weight) {
  if (auto param = weight.getDefiningOp<GetParamOp>())
    if (auto given = dyn_cast_or_null<LayoutAttr>(param.getLayoutAttr()))
      return given;
  return cpuMixedLayout(cast<MixedType>(weight.getType()));
}

/// Whether products with the weight can afford an input of more bits, without being asked.
bool isSmall(Value weight) {
  auto type = cast<MixedType>(weight.getType());
  return type.getRows() * type.getColumns() < smallWeight;
}

bool isSorted(Value weight) {
  return isMixed(weight) && mixedLayoutOf(weight).getRows() == RowOrder::Sorted;
}

/// The columns of the input that share a scale: all of them are multiplied with one of the weight.
int64_t blockOf(MixedType type) {
  int64_t group = type.getGroup() == 0 ? type.getColumns() : type.getGroup();
  for (int64_t block : {128, 64})
    if (group >= type.getColumns() || group % block == 0)
      return block;
  return 32;
}

/// Whether the same code decodes both; true where there is none for one of them.
bool haveSameForm(Value first, Value second) {
  auto formatOf = [](Value weight) {
    auto type = cast<MixedType>(weight.getType());
    return MixedFormat::get(type, mixedLayoutOf(weight), blockOf(type));
  };
  std::optional<MixedFormat> a = formatOf(first), b = formatOf(second);
  return !a || !b || a->hasSameForm(*b);
}

Value createNode(OpBuilder &builder, LinearOp linear, StringRef op, ValueRange inputs,
                 DictionaryAttr attributes = {}) {
  return builder
      .create<NodeOp>(linear.getLoc(), inputs[0].getType(), op, inputs, attributes,
                      linear.getNodeName())
      .getOutputs()[0];
}

Value createActivation(OpBuilder &builder, LinearOp linear, Value x) {
  auto gelu = [&](StringRef approximation) {
    NamedAttribute attribute =
        builder.getNamedAttr("approximate", builder.getStringAttr(approximation));
    return createNode(builder, linear, "Gelu", x, builder.getDictionaryAttr(attribute));
  };
  switch (linear.getActivation()) {
  case Activation::None:
    return x;
  case Activation::SiLU:
    return createNode(builder, linear, "Mul", {x, createNode(builder, linear, "Sigmoid", x)});
  case Activation::Gelu:
    return gelu("none");
  case Activation::GeluTanh:
    return gelu("tanh");
  case Activation::ReLU:
    return createNode(builder, linear, "Relu", x);
  }
  llvm_unreachable("unknown activation");
}

/// Two products and nodes in place of a gated product whose weights do not share the order of their
/// rows, or their form: a kernel has the two factors of a result in different tasks, or different
/// code for them.
LinearOp splitGate(LinearOp linear) {
  OpBuilder builder(linear);
  Type type = linear.getResults()[0].getType();
  auto products = builder.create<LinearOp>(linear.getLoc(), TypeRange{type, type}, linear.getX(),
                                           linear.getWeights(), linear.getBiases(), Value(),
                                           linear.getWeightOrder(), Activation::None,
                                           /*gated=*/false, linear.getNodeName());
  Value y = createActivation(builder, linear, products.getResults()[0]);
  y = createNode(builder, linear, "Mul", {y, products.getResults()[1]});
  if (Value residual = linear.getResidual())
    y = createNode(builder, linear, "Add", {y, residual});
  linear.getResults()[0].replaceAllUsesWith(y);
  linear.erase();
  return products;
}

/// One product for each kind of weight.
std::pair<LinearOp, LinearOp> splitKinds(LinearOp linear) {
  OpBuilder builder(linear);
  LinearOp made[2];
  for (bool kind : {false, true}) {
    SmallVector<Type> types;
    SmallVector<Value> weights, biases, results;
    SmallVector<Attribute> orders;
    for (auto [i, weight] : llvm::enumerate(linear.getWeights())) {
      if (isMixed(weight) != kind)
        continue;
      types.push_back(linear.getResults()[i].getType());
      results.push_back(linear.getResults()[i]);
      weights.push_back(weight);
      orders.push_back(linear.getWeightOrder()[i]);
      if (!linear.getBiases().empty())
        biases.push_back(linear.getBiases()[i]);
    }
    made[kind] =
        builder.create<LinearOp>(linear.getLoc(), types, linear.getX(), weights, biases, Value(),
                                 builder.getArrayAttr(orders), linear.getActivation(),
                                 /*gated=*/false, linear.getNodeName());
    for (auto [old, result] : llvm::zip(results, made[kind].getResults()))
      old.replaceAllUsesWith(result);
  }
  linear.erase();
  return {made[false], made[true]};
}

QuantizeRowsOp quantizeRows(Value x, int64_t block, int64_t bits, StringRef name) {
  OpBuilder builder(x.getContext());
  builder.setInsertionPointAfterValue(x);
  Dims dims = *dimsOf(x.getType());
  int64_t columns = *dims.back().constant();
  Dims integers = dims, scales = dims;
  int64_t planes = bits / 8;
  integers.back() = Sym(planes * int64_t(llvm::alignTo(columns, quantizedColumns)));
  scales.back() = Sym(planes * int64_t(llvm::divideCeil(columns, block)));
  scales.push_back(Sym(2));
  return builder.create<QuantizeRowsOp>(
      x.getLoc(), tensorType(builder.getI8Type(), integers),
      tensorType(builder.getF32Type(), scales), x, builder.getI64IntegerAttr(block),
      builder.getI64IntegerAttr(bits), builder.getStringAttr(name));
}

} // namespace

void PackWeightsPass::setLayouts(LinearOp linear, function_ref<Attribute(Value)> layoutOf) {
  OpBuilder builder(linear);
  SmallVector<Attribute> layouts;
  for (auto [weight, order] : llvm::zip(linear.getWeightsMutable(), linear.getWeightOrder())) {
    Attribute layout = layoutOf(weight.get());
    layouts.push_back(layout);
    auto param = weight.get().getDefiningOp<GetParamOp>();
    if (!param)
      continue;
    auto packed =
        builder.create<GetParamOp>(param.getLoc(), param.getType(), param.getParamAttr(), layout);
    // A parameter that is used in both orders is packed in two ways.
    if (cast<IntegerAttr>(order).getInt() == int64_t(WeightOrder::KN))
      packed->setAttr(weightOrderAttribute, builder.getStringAttr("kn"));
    weight.set(packed);
    if (param.use_empty())
      param.erase();
  }
  linear.setWeightLayoutsAttr(builder.getArrayAttr(layouts));
}

void PackWeightsPass::packDense(LinearOp linear) {
  auto canPack = [](Value weight) {
    auto type = dyn_cast<RankedTensorType>(weight.getType());
    auto param = weight.getDefiningOp<GetParamOp>();
    if (!param || param.getLayout() || !type || !type.hasStaticShape())
      return false;
    Type element = type.getElementType();
    return element.isF32() || element.isF16() || element.isBF16();
  };
  if (!llvm::all_of(linear.getWeights(), canPack))
    return;
  numDense += linear.getWeights().size();
  setLayouts(linear, [&](Value weight) {
    auto type = cast<RankedTensorType>(weight.getType());
    return PanelAttr::get(type.getContext(), cpuPanelWidth, type.getElementType());
  });
}

void PackWeightsPass::packMixed(LinearOp linear, QuantizedInputs &inputs) {
  int64_t block = quantizedColumns;
  for (Value weight : linear.getWeights())
    block = std::min(block, blockOf(cast<MixedType>(weight.getType())));
  numMixed += linear.getWeights().size();
  setLayouts(linear, mixedLayoutOf);
  if (activations == "f32")
    return;
  bool wide = activations == "int16" ||
              (activations == "auto" && llvm::all_of(linear.getWeights(), isSmall));
  int64_t bits = wide ? 16 : 8;
  QuantizeRowsOp &input = inputs[{linear.getX(), block, bits}];
  if (!input) {
    input = quantizeRows(linear.getX(), block, bits, linear.getNodeName());
    ++numQuantized;
  }
  linear.getXMutable().assign(input.getQ());
  linear.getXScalesMutable().assign(input.getScales());
}

/// An embedding that is the head's weight, too, is stored once.
void PackWeightsPass::gatherFromPanels() {
  llvm::DenseMap<Attribute, GetParamOp> panels;
  getOperation()->walk([&](GetParamOp param) {
    if (isa_and_nonnull<PanelAttr>(param.getLayoutAttr()) && !param->hasAttr(weightOrderAttribute))
      panels.try_emplace(param.getParamAttr(), param);
  });
  getOperation()->walk([&](NodeOp node) {
    auto param = node.getOpType() == "Gather" ? node.getInputs()[0].getDefiningOp<GetParamOp>()
                                              : GetParamOp();
    GetParamOp packed = param ? panels.lookup(param.getParamAttr()) : GetParamOp();
    if (!packed || param.getLayoutAttr() || NodeAttrs(node).integer("axis", 0) != 0)
      return;
    auto layout = cast<PanelAttr>(packed.getLayoutAttr());
    OpBuilder builder(param);
    auto table =
        builder.create<GetParamOp>(param.getLoc(), param.getType(), param.getParamAttr(), layout);
    node.getInputsMutable()[0].set(table);
    NamedAttrList attributes(node.getAttrs());
    attributes.set(panelWidthName, builder.getI64IntegerAttr(layout.getWidth()));
    node.setAttrsAttr(attributes.getDictionary(&getContext()));
    ++numShared;
    if (param.use_empty())
      param.erase();
  });
}

void PackWeightsPass::runOnOperation() {
  if (!llvm::is_contained({"auto", "int8", "int16", "f32"}, StringRef(activations))) {
    getOperation()->emitError("activations are auto, int8, int16 or f32, not '")
        << activations << "'";
    return signalPassFailure();
  }
  QuantizedInputs inputs;
  SmallVector<LinearOp> linears;
  getOperation()->walk([&](LinearOp linear) { linears.push_back(linear); });
  for (LinearOp linear : linears) {
    if (linear.getWeightLayouts())
      continue;
    auto weights = linear.getWeights();
    bool someMixed = llvm::any_of(weights, isMixed), allMixed = llvm::all_of(weights, isMixed);
    if (!someMixed) {
      packDense(linear);
      continue;
    }
    if (linear.getGated() &&
        (!allMixed || llvm::any_of(weights, isSorted) || !haveSameForm(weights[0], weights[1])))
      linear = splitGate(linear);
    if (!allMixed) {
      auto [plain, rest] = splitKinds(linear);
      packDense(plain);
      linear = rest;
    }
    packMixed(linear, inputs);
  }
  gatherFromPanels();
}
