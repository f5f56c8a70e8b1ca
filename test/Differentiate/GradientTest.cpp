//===- GradientTest.cpp - Every differentiable node against differences ---===//

#include "GradientCase.h"
#include "gtest/gtest.h"
#include <limits>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

namespace {

class NodeGradient : public ::testing::TestWithParam<GradientCase> {};

TEST_P(NodeGradient, AgreesWithDifferences) {
  // One draw of sizes tells all there is to tell of a single operand.
  for (unsigned seed = 0; seed < (GetParam().inputs.size() > 1 ? 2u : 1u); ++seed)
    checkGradients(GetParam(), seed);
}

std::string nameOfCase(const ::testing::TestParamInfo<GradientCase> &info) {
  return info.param.name;
}

using Kind = GradientInput::Kind;

/// A node of one tensor of unknown sizes with elements in [low, high).
GradientCase unary(const char *name, const char *op, double low, double high,
                   std::function<SmallVector<NamedAttribute>(GraphBuilder &)> attrs = {}) {
  std::string opType = op;
  return {
      name, {{{"a", "b", "5"}, low, high}}, [opType, attrs](GraphBuilder &b, ArrayRef<Value> x) {
        return b.create(opType, {x[0]}, attrs ? attrs(b) : SmallVector<NamedAttribute>());
      }};
}

BuildGraph node(const char *op) {
  std::string opType = op;
  return [opType](GraphBuilder &b, ArrayRef<Value> x) { return b.create(opType, x); };
}

/// A node with one attribute.
template <typename T> BuildGraph node(const char *op, const char *attribute, T value) {
  std::string opType = op, name = attribute;
  return [opType, name, value](GraphBuilder &b, ArrayRef<Value> x) {
    return b.create(opType, x, {b.attr(name, value)});
  };
}

/// A reduction over the axes, an operand.
BuildGraph reduce(const char *op, std::vector<int64_t> axes, int64_t keepDims) {
  std::string opType = op;
  return [=](GraphBuilder &b, ArrayRef<Value> x) {
    SmallVector<Value> operands = {x[0]};
    if (!axes.empty())
      operands.push_back(b.integers(axes));
    return b.create(opType, operands, {b.attr("keepdims", keepDims)});
  };
}

template <typename T>
std::function<SmallVector<NamedAttribute>(GraphBuilder &)> with(const char *name, T value) {
  return [=](GraphBuilder &b) { return SmallVector<NamedAttribute>{b.attr(name, value)}; };
}

/// A node of Microsoft's domain.
BuildGraph contributed(const char *op) {
  std::string opType = op;
  return [opType](GraphBuilder &b, ArrayRef<Value> x) {
    auto made =
        b.builder.create<NodeOp>(b.loc, x[0].getType(), opType, x, b.builder.getDictionaryAttr({}),
                                 opType, 1, "com.microsoft");
    EXPECT_TRUE(mlir::succeeded(inferNode(made)));
    return made.getResult(0);
  };
}

//===----------------------------------------------------------------------===//
// Functions of one number
//===----------------------------------------------------------------------===//

INSTANTIATE_TEST_SUITE_P(
    Unary, NodeGradient,
    ::testing::Values(
        unary("Exp", "Exp", -1, 1), unary("Log", "Log", 0.5, 2), unary("Sqrt", "Sqrt", 0.5, 2),
        unary("Reciprocal", "Reciprocal", 0.5, 2), unary("Abs", "Abs", -1, 1),
        unary("Neg", "Neg", -1, 1), unary("Tanh", "Tanh", -2, 2),
        unary("Sigmoid", "Sigmoid", -3, 3), unary("Erf", "Erf", -2, 2), unary("Sin", "Sin", -2, 2),
        unary("Cos", "Cos", -2, 2), unary("Tan", "Tan", -1, 1), unary("Asin", "Asin", -0.8, 0.8),
        unary("Acos", "Acos", -0.8, 0.8), unary("Atan", "Atan", -2, 2),
        unary("Sinh", "Sinh", -1, 1), unary("Cosh", "Cosh", -1, 1), unary("Asinh", "Asinh", -2, 2),
        unary("Acosh", "Acosh", 1.5, 3), unary("Atanh", "Atanh", -0.8, 0.8),
        unary("Relu", "Relu", -1, 1), unary("LeakyRelu", "LeakyRelu", -1, 1),
        unary("LeakyReluAlpha", "LeakyRelu", -1, 1, with("alpha", 0.3)),
        unary("ThresholdedRelu", "ThresholdedRelu", -1, 2, with("alpha", 0.5)),
        unary("Elu", "Elu", -1, 1, with("alpha", 0.7)), unary("Selu", "Selu", -1, 1),
        unary("Celu", "Celu", -1, 1, with("alpha", 0.7)),
        unary("HardSigmoid", "HardSigmoid", -4, 4), unary("HardSwish", "HardSwish", -5, 5),
        unary("Softplus", "Softplus", -2, 2), unary("Softsign", "Softsign", -2, 2),
        unary("Gelu", "Gelu", -2, 2),
        unary("GeluTanh", "Gelu", -2, 2, with("approximate", StringRef("tanh"))),
        unary("Mish", "Mish", -2, 2), unary("Shrink", "Shrink", -2, 2),
        unary("Swish", "Swish", -2, 2, with("alpha", 1.5)), unary("Identity", "Identity", -1, 1)),
    nameOfCase);

INSTANTIATE_TEST_SUITE_P(
    Contributed, NodeGradient,
    ::testing::Values(
        GradientCase{"MicrosoftGelu", {{{"a", "8"}, -2, 2}}, contributed("Gelu")},
        GradientCase{"BiasGelu", {{{"a", "8"}, -2, 2}, {{"8"}}}, contributed("BiasGelu")},
        GradientCase{"FastGelu", {{{"a", "8"}, -2, 2}}, contributed("FastGelu")},
        GradientCase{"FastGeluOfBias", {{{"a", "8"}, -2, 2}, {{"8"}}}, contributed("FastGelu")},
        GradientCase{"QuickGelu", {{{"a", "8"}, -2, 2}}, contributed("QuickGelu")}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

const std::vector<GradientInput> broadcast = {{{"a", "1", "4"}}, {{"b", "4"}}};
const std::vector<GradientInput> apart = {{{"a", "3", "4"}, 0.6, 2}, {{"3", "1"}, 0.6, 2}};

// Elements of one are never near those of the other.
const std::vector<GradientInput> staggered = {{{"4", "1", "5"}, -1, 1, Kind::Distinct},
                                              {{"10", "5"}, -1, 1, Kind::Distinct}};

BuildGraph power(double exponent) {
  return [exponent](GraphBuilder &b, ArrayRef<Value> x) {
    return b.create("Pow", {x[0], b.scalar(b.builder.getF32Type(), exponent)});
  };
}

INSTANTIATE_TEST_SUITE_P(
    Arithmetic, NodeGradient,
    ::testing::Values(
        GradientCase{"Add", broadcast, node("Add")}, GradientCase{"Sub", broadcast, node("Sub")},
        GradientCase{"Mul", broadcast, node("Mul")}, GradientCase{"Div", apart, node("Div")},
        GradientCase{"AddSame",
                     {{{"a", "b"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Mul", {b.create("Add", {x[0], x[0]}), x[0]});
                     }},
        GradientCase{"Sum", {{{"a", "4"}}, {{"4"}}, {{"1"}}}, node("Sum")},
        GradientCase{"Mean", {{{"a", "4"}}, {{"4"}}, {{"1"}}}, node("Mean")},
        GradientCase{"Min", staggered, node("Min")}, GradientCase{"Max", staggered, node("Max")},
        GradientCase{"Square", {{{"a", "4"}}}, power(2)},
        GradientCase{"SquareRoot", {{{"a", "4"}, 0.5, 2}}, power(0.5)},
        GradientCase{"Cube", {{{"a", "4"}}}, power(3)},
        GradientCase{"InverseRoot", {{{"a", "4"}, 0.5, 2}}, power(-0.5)},
        GradientCase{
            "PowOfTensor", {{{"a", "4"}, 0.5, 2}, {{"4"}, 0, 3, Kind::Constant}}, node("Pow")},
        GradientCase{"Clip",
                     {{{"a", "8"}, -2, 2}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Type f32 = b.builder.getF32Type();
                       return b.create("Clip", {x[0], b.scalar(f32, -0.5), b.scalar(f32, 1)});
                     }},
        GradientCase{"ClipBelow",
                     {{{"a", "8"}, -2, 2}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Clip", {x[0], b.scalar(b.builder.getF32Type(), -0.5)});
                     }},
        GradientCase{"PRelu", {{{"a", "3", "4"}}, {{"3", "1"}}}, node("PRelu")},
        GradientCase{"Where",
                     {{{"a", "1", "4"}}, {{"b", "4"}}, {{"b", "1"}, -1, 1, Kind::Constant}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Value condition =
                           b.create("Less", {x[2], b.scalar(b.builder.getF32Type(), 0)});
                       return b.create("Where", {condition, x[0], x[1]});
                     }},
        GradientCase{"Cast",
                     {{{"a", "4"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Value wide = b.cast(x[0], b.builder.getF64Type());
                       return b.cast(b.create("Mul", {wide, wide}), b.builder.getF32Type());
                     }},
        GradientCase{"CastLike",
                     {{{"a", "4"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Value wide = b.cast(x[0], b.builder.getF64Type());
                       return b.create("CastLike", {b.create("Mul", {wide, wide}), x[0]});
                     }},
        GradientCase{"Rounding",
                     {{{"a", "4"}, -2, 2}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Value steps =
                           b.create("Add", {b.create("Floor", x[0]), b.create("Ceil", {x[0]})});
                       steps = b.create("Add", {steps, b.create("Sign", {x[0]})});
                       return b.create("Mul", {x[0], steps});
                     }}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

const std::vector<GradientInput> cube = {{{"a", "b", "6"}}};
const std::vector<GradientInput> distinctCube = {{{"a", "b", "6"}, -1, 1, Kind::Distinct}};
const std::vector<GradientInput> positiveCube = {{{"a", "b", "6"}, 0.5, 2}};

INSTANTIATE_TEST_SUITE_P(
    Reductions, NodeGradient,
    ::testing::Values(GradientCase{"ReduceSum", cube, reduce("ReduceSum", {1}, 0)},
                      GradientCase{"ReduceSumAll", cube, reduce("ReduceSum", {}, 0)},
                      GradientCase{"ReduceSumKept", cube, reduce("ReduceSum", {0, -1}, 1)},
                      GradientCase{"ReduceMean", cube, reduce("ReduceMean", {0, 1}, 0)},
                      GradientCase{"ReduceMeanLast", cube, reduce("ReduceMean", {-1}, 1)},
                      GradientCase{"ReduceMax", distinctCube, reduce("ReduceMax", {2}, 0)},
                      GradientCase{"ReduceMin", distinctCube, reduce("ReduceMin", {1}, 1)},
                      GradientCase{"ReduceL1", cube, reduce("ReduceL1", {1}, 1)},
                      GradientCase{"ReduceL2", cube, reduce("ReduceL2", {2}, 0)},
                      GradientCase{"ReduceSumSquare", cube, reduce("ReduceSumSquare", {0}, 0)},
                      GradientCase{"ReduceLogSum", positiveCube, reduce("ReduceLogSum", {2}, 0)},
                      GradientCase{"ReduceLogSumExp", cube, reduce("ReduceLogSumExp", {2}, 1)},
                      GradientCase{"Softmax", cube, node("Softmax", "axis", int64_t(-1))},
                      GradientCase{"SoftmaxInner", cube, node("Softmax", "axis", int64_t(1))},
                      GradientCase{"SoftmaxFlat",
                                   {{{"3", "2", "4"}}},
                                   [](GraphBuilder &b, ArrayRef<Value> x) {
                                     return b.create("Softmax", {x[0]},
                                                     {b.attr("axis", int64_t(1))}, 11);
                                   }},
                      GradientCase{"LogSoftmax", cube, node("LogSoftmax", "axis", int64_t(-1))},
                      GradientCase{"CumSum", cube,
                                   [](GraphBuilder &b, ArrayRef<Value> x) {
                                     return b.create("CumSum", {x[0], b.integers({1}, true)});
                                   }},
                      GradientCase{"CumSumReverse", cube,
                                   [](GraphBuilder &b, ArrayRef<Value> x) {
                                     return b.create("CumSum", {x[0], b.integers({-1}, true)},
                                                     {b.attr("reverse", int64_t(1)),
                                                      b.attr("exclusive", int64_t(1))});
                                   }}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

INSTANTIATE_TEST_SUITE_P(
    Products, NodeGradient,
    ::testing::Values(
        GradientCase{"MatMul", {{{"a", "b", "5"}}, {{"a", "5", "c"}}}, node("MatMul")},
        GradientCase{
            "MatMulBroadcast", {{{"a", "1", "b", "5"}}, {{"3", "5", "c"}}}, node("MatMul")},
        GradientCase{"MatMulOfOneMatrix", {{{"a", "b", "5"}}, {{"5", "c"}}}, node("MatMul")},
        GradientCase{"MatMulRow", {{{"5"}}, {{"a", "5", "c"}}}, node("MatMul")},
        GradientCase{"MatMulColumn", {{{"a", "b", "5"}}, {{"5"}}}, node("MatMul")},
        GradientCase{"MatMulDot", {{{"5"}}, {{"5"}}}, node("MatMul")},
        GradientCase{"Gemm",
                     {{{"5", "a"}}, {{"c", "5"}}, {{"c"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Gemm", x,
                                       {b.attr("transA", int64_t(1)), b.attr("transB", int64_t(1)),
                                        b.attr("alpha", 0.5), b.attr("beta", 2.0)});
                     }},
        GradientCase{"Einsum",
                     {{{"a", "b", "5"}}, {{"a", "c", "5"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Einsum", x,
                                       {b.attr("equation", StringRef("bik,bjk->bij"))});
                     }}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// Movement
//===----------------------------------------------------------------------===//

BuildGraph slice(std::vector<int64_t> starts, std::vector<int64_t> ends, std::vector<int64_t> axes,
                 std::vector<int64_t> steps) {
  return [=](GraphBuilder &b, ArrayRef<Value> x) {
    return b.create(
        "Slice", {x[0], b.integers(starts), b.integers(ends), b.integers(axes), b.integers(steps)});
  };
}

const std::vector<GradientInput> wide = {{{"a", "b", "9"}}};

INSTANTIATE_TEST_SUITE_P(
    Movement, NodeGradient,
    ::testing::Values(
        GradientCase{"Transpose", cube,
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Transpose", {x[0]},
                                       {b.attr("perm", ArrayRef<int64_t>{2, 0, 1})});
                     }},
        GradientCase{"TransposeReversed", cube, node("Transpose")},
        GradientCase{"Reshape", cube,
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Reshape", {x[0], b.integers({0, -1, 2})});
                     }},
        GradientCase{"Flatten", cube, node("Flatten", "axis", int64_t(2))},
        GradientCase{"SqueezeUnsqueeze",
                     {{{"a", "1", "4"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       Value squeezed = b.create("Squeeze", {x[0], b.integers({1})});
                       return b.create("Unsqueeze", {squeezed, b.integers({0, 3})});
                     }},
        GradientCase{"Expand",
                     {{{"a", "1", "4"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Expand", {x[0], b.integers({2, 1, 3, 4})});
                     }},
        GradientCase{"Tile",
                     {{{"a", "3"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Tile", {x[0], b.integers({2, 3})});
                     }},
        GradientCase{"Concat",
                     {{{"a", "b", "2"}}, {{"a", "c", "2"}}, {{"a", "1", "2"}}},
                     node("Concat", "axis", int64_t(1))},
        GradientCase{"Split", wide,
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       auto parts = b.createMany("Split", {x[0], b.integers({2, 3, 4})}, 3,
                                                 {b.attr("axis", int64_t(-1))});
                       // The second part is not used.
                       return b.create("Concat", {parts[2], parts[0]},
                                       {b.attr("axis", int64_t(2))});
                     }},
        GradientCase{"Slice", wide, slice({1, 2}, {INT64_MAX, 7}, {1, 2}, {1, 1})},
        GradientCase{"SliceSteps", wide, slice({1}, {9}, {2}, {2})},
        GradientCase{"SliceBack", wide, slice({-1, -2}, {INT64_MIN, -8}, {1, 2}, {-1, -3})},
        GradientCase{"SliceFromEnd", wide, slice({-3}, {INT64_MAX}, {2}, {1})},
        GradientCase{"Pad",
                     {{{"a", "3"}}},
                     [](GraphBuilder &b, ArrayRef<Value> x) {
                       return b.create("Pad", {x[0], b.integers({1, 2, 0, 3})});
                     }},
        GradientCase{"Trilu", {{{"a", "5", "4"}}}, node("Trilu", "upper", int64_t(0))},
        GradientCase{"Gather",
                     {{{"a", "4", "b"}}, {{"c", "3"}, -4, 4, Kind::Index}},
                     node("Gather", "axis", int64_t(1))},
        GradientCase{"Embedding",
                     {{{"7", "4"}}, {{"a", "b"}, 0, 7, Kind::Index}},
                     node("Gather", "axis", int64_t(0))},
        GradientCase{"GatherElementsOne",
                     {{{"a", "b", "6"}}, {{"a", "b", "1"}, -6, 6, Kind::Index}},
                     node("GatherElements", "axis", int64_t(2))},
        GradientCase{"GatherElements",
                     {{{"a", "6", "5"}}, {{"a", "3", "4"}, -6, 6, Kind::Index}},
                     node("GatherElements", "axis", int64_t(1))},
        GradientCase{
            "GatherND", {{{"4", "4", "5"}}, {{"a", "2"}, 0, 4, Kind::Index}}, node("GatherND")}),
    nameOfCase);

//===----------------------------------------------------------------------===//
// Composites, which are decomposed
//===----------------------------------------------------------------------===//

INSTANTIATE_TEST_SUITE_P(
    Composites, NodeGradient,
    ::testing::Values(GradientCase{"LayerNormalization",
                                   {{{"a", "3", "4"}}, {{"3", "4"}}, {{"3", "4"}}},
                                   node("LayerNormalization", "axis", int64_t(1))},
                      GradientCase{"RMSNormalization",
                                   {{{"a", "3", "4"}}, {{"3", "4"}}},
                                   [](GraphBuilder &b, ArrayRef<Value> x) {
                                     return b.create("RMSNormalization", x,
                                                     {b.attr("axis", int64_t(1))}, 23);
                                   }},
                      GradientCase{
                          "Attention",
                          {{{"2", "4", "a", "8"}}, {{"2", "2", "a", "8"}}, {{"2", "2", "a", "8"}}},
                          [](GraphBuilder &b, ArrayRef<Value> x) {
                            return b.create("Attention", x, {b.attr("is_causal", int64_t(1))}, 23);
                          }},
                      GradientCase{"RotaryEmbedding",
                                   {{{"2", "3", "a", "8"}},
                                    {{"2", "a", "4"}, -1, 1, Kind::Constant},
                                    {{"2", "a", "4"}, -1, 1, Kind::Constant}},
                                   [](GraphBuilder &b, ArrayRef<Value> x) {
                                     return b.create("RotaryEmbedding", x,
                                                     {b.attr("interleaved", int64_t(1))}, 23);
                                   }}),
    nameOfCase);

} // namespace
