//===- NamedOperationTest.cpp - Named operations against differences ------===//

#include "GradientCase.h"
#include "gtest/gtest.h"
#include <limits>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

namespace {

class OperationGradient : public ::testing::TestWithParam<GradientCase> {};

TEST_P(OperationGradient, AgreesWithDifferences) {
  for (unsigned seed = 0; seed < 2; ++seed)
    checkGradients(GetParam(), seed);
}

std::string nameOfCase(const ::testing::TestParamInfo<GradientCase> &info) {
  return info.param.name;
}

using Kind = GradientInput::Kind;

//===----------------------------------------------------------------------===//
// tacq.norm
//===----------------------------------------------------------------------===//

/// Inputs: x and, if there are more, gain and bias.
BuildGraph norm(NormKind kind) {
  return [kind](GraphBuilder &b, ArrayRef<Value> x) -> Value {
    return b.builder.create<NormOp>(b.loc, x[0].getType(), x[0], x.size() > 1 ? x[1] : Value(),
                                    x.size() > 2 ? x[2] : Value(), kind,
                                    APFloat(1e-3), "norm");
  };
}

INSTANTIATE_TEST_SUITE_P(
    Norm, OperationGradient,
    ::testing::Values(
        GradientCase{"RmsPlain", {{{"a", "b", "20"}}}, norm(NormKind::RMS)},
        GradientCase{"Rms", {{{"a", "b", "20"}}, {{"20"}}}, norm(NormKind::RMS)},
        GradientCase{"LayerPlain", {{{"a", "5"}}}, norm(NormKind::Layer)},
        GradientCase{"Layer", {{{"a", "b", "20"}}, {{"20"}}, {{"20"}}}, norm(NormKind::Layer)}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// tacq.rope
//===----------------------------------------------------------------------===//

BuildGraph rope(bool interleaved) {
  return [interleaved](GraphBuilder &b, ArrayRef<Value> x) -> Value {
    return b.builder.create<RopeOp>(b.loc, x[0].getType(), x[0], x[1], x[2], interleaved, "rope");
  };
}

std::vector<GradientInput> ropeInputs(const char *batch, const char *pairs) {
  return {{{"a", "s", "3", "16"}},
          {{batch, "s", pairs}, -1, 1, Kind::Constant},
          {{batch, "s", pairs}, -1, 1, Kind::Constant}};
}

INSTANTIATE_TEST_SUITE_P(
    Rope, OperationGradient,
    ::testing::Values(GradientCase{"Halves", ropeInputs("1", "8"), rope(false)},
                      GradientCase{"PartialHalves", ropeInputs("a", "5"), rope(false)},
                      GradientCase{"Interleaved", ropeInputs("a", "8"), rope(true)},
                      GradientCase{"PartialInterleaved", ropeInputs("1", "6"), rope(true)}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// tacq.linear
//===----------------------------------------------------------------------===//

struct LinearForm {
  std::vector<WeightOrder> orders;
  bool biases = false;
  Activation activation = Activation::None;
  bool gated = false, residual = false;
};

/// Inputs: x, the weights, the biases, the residual. Several results are joined.
BuildGraph linear(const LinearForm &form) {
  return [form](GraphBuilder &b, ArrayRef<Value> x) -> Value {
    size_t count = form.orders.size();
    ArrayRef<Value> weights = x.slice(1, count);
    ArrayRef<Value> biases = form.biases ? x.slice(1 + count, count) : ArrayRef<Value>();
    SmallVector<int32_t> orders;
    SmallVector<Type> types;
    for (auto [order, weight] : llvm::zip(form.orders, weights)) {
      orders.push_back(int32_t(order));
      Dims dims = *dimsOf(x[0]), own = *dimsOf(weight);
      dims.back() = own[order == WeightOrder::NK ? 0 : 1];
      types.push_back(tensorType(elementTypeOf(x[0]), dims));
    }
    if (form.gated)
      types.pop_back();
    auto op = b.builder.create<LinearOp>(
        b.loc, types, x[0], weights, biases, form.residual ? x.back() : Value(),
        b.builder.getI32ArrayAttr(orders), form.activation, form.gated, "linear");
    if (op.getResults().size() == 1)
      return op.getResults()[0];
    return b.create("Concat", op.getResults(), {b.attr("axis", int64_t(-1))});
  };
}

constexpr auto NK = WeightOrder::NK, KN = WeightOrder::KN;

GradientCase activated(const char *name, Activation activation) {
  return {name,
          {{{"a", "b", "6"}}, {{"18", "6"}, -1, 1, Kind::Parameter}, {{"18"}}},
          linear({{NK}, /*biases=*/true, activation})};
}

GradientCase gated(const char *name, Activation activation) {
  return {name,
          {{{"a", "b", "6"}},
           {{"18", "6"}, -1, 1, Kind::Parameter},
           {{"6", "18"}, -1, 1, Kind::Parameter}},
          linear({{NK, KN}, /*biases=*/false, activation, /*gated=*/true})};
}

INSTANTIATE_TEST_SUITE_P(
    Linear, OperationGradient,
    ::testing::Values(
        GradientCase{"RowsFirst", {{{"a", "b", "6"}}, {{"18", "6"}, -1, 1, Kind::Parameter}},
                     linear({{NK}})},
        GradientCase{"ColumnsFirst", {{{"a", "b", "6"}}, {{"6", "18"}, -1, 1, Kind::Parameter}},
                     linear({{KN}})},
        // Both orders of a square weight at once: the packed weight is not that of the other order.
        GradientCase{"Square", {{{"a", "b", "8"}}, {{"8", "8"}, -1, 1, Kind::Parameter}},
                     linear({{NK}})},
        GradientCase{"Several",
                     {{{"a", "b", "6"}},
                      {{"18", "6"}, -1, 1, Kind::Parameter},
                      {{"6", "5"}, -1, 1, Kind::Parameter},
                      {{"18"}},
                      {{"5"}}},
                     linear({{NK, KN}, /*biases=*/true})},
        GradientCase{"Residual",
                     {{{"a", "b", "6"}}, {{"18", "6"}, -1, 1, Kind::Parameter}, {{"a", "b", "18"}}},
                     linear({{NK}, false, Activation::SiLU, false, /*residual=*/true})},
        GradientCase{"ResidualOfInput",
                     {{{"a", "b", "6"}}, {{"6", "6"}, -1, 1, Kind::Parameter}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       SmallVector<Value> operands(x);
                       operands.push_back(b.create("Mul", {x[0], x[0]}));
                       return linear({{NK}, false, Activation::None, false, true})(b, operands);
                     }},
        activated("SiLU", Activation::SiLU), activated("Gelu", Activation::Gelu),
        activated("GeluTanh", Activation::GeluTanh), activated("ReLU", Activation::ReLU),
        gated("Gated", Activation::None), gated("GatedSiLU", Activation::SiLU),
        gated("GatedGelu", Activation::Gelu), gated("GatedGeluTanh", Activation::GeluTanh),
        gated("GatedReLU", Activation::ReLU)),
    nameOfCase);

//===----------------------------------------------------------------------===//
// tacq.attention
//===----------------------------------------------------------------------===//

/// Inputs: q, k, v, then an i64 key mask if there is one, then the bias.
BuildGraph attention(bool causal, bool keyMask = false, bool bias = false) {
  return [=](GraphBuilder &b, ArrayRef<Value> x) -> Value {
    Dims dims = *dimsOf(x[0]), value = *dimsOf(x[2]);
    dims.back() = value.back();
    return b.builder
        .create<AttentionOp>(b.loc, TypeRange{tensorType(elementTypeOf(x[0]), dims)}, x[0], x[1],
                             x[2], Value(), Value(), keyMask ? x[3] : Value(),
                             bias ? x.back() : Value(), APFloat(0.3), causal, "attention")
        .getOut();
  };
}

std::vector<GradientInput> attentionInputs(const char *heads, const char *keyHeads,
                                           const char *keys, const char *valueSize = "8",
                                           std::vector<GradientInput> more = {}) {
  std::vector<GradientInput> inputs = {{{"a", "s", heads, "8"}},
                                       {{"a", keys, keyHeads, "8"}},
                                       {{"a", keys, keyHeads, valueSize}}};
  inputs.insert(inputs.end(), more.begin(), more.end());
  return inputs;
}

INSTANTIATE_TEST_SUITE_P(
    Attention, OperationGradient,
    ::testing::Values(
        GradientCase{"Full", attentionInputs("2", "2", "t"), attention(false)},
        GradientCase{"Causal", attentionInputs("2", "2", "s"), attention(true)},
        GradientCase{"Grouped", attentionInputs("6", "2", "s", "5"), attention(true)},
        // Longer than a block of queries and of keys.
        GradientCase{"Long",
                     {{{"1", "150", "2", "20"}}, {{"1", "150", "1", "20"}}, {{"1", "150", "1", "20"}}},
                     attention(true)},
        GradientCase{"LongFull",
                     {{{"2", "70", "2", "8"}}, {{"2", "131", "1", "8"}}, {{"2", "131", "1", "17"}}},
                     attention(false)},
        GradientCase{"KeyMask",
                     attentionInputs("4", "2", "t", "8", {{{"a", "t"}, 0, 2, Kind::Index}}),
                     attention(false, true)},
        GradientCase{"CausalKeyMask",
                     attentionInputs("4", "2", "s", "8", {{{"a", "s"}, 0, 2, Kind::Index}}),
                     attention(true, true)},
        GradientCase{"ConstantBias",
                     attentionInputs("4", "2", "t", "8",
                                     {{{"1", "4", "s", "t"}, -1, 1, Kind::Constant}}),
                     attention(false, false, true)},
        GradientCase{"Bias", attentionInputs("4", "2", "t", "8", {{{"1", "4", "s", "t"}}}),
                     attention(false, false, true)},
        GradientCase{"BiasForAllHeads", attentionInputs("2", "2", "s", "8", {{{"a", "1", "s", "s"}}}),
                     attention(true, false, true)}),
    nameOfCase);

} // namespace
