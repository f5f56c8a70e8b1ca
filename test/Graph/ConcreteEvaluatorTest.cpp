//===- ConcreteEvaluatorTest.cpp - The evaluator against ONNX's reference -===//
//
// The expected elements come from the reference implementation of ONNX (package onnx, class
// ReferenceEvaluator) on the same operands.
//
//===----------------------------------------------------------------------===//

#include "tacq/Graph/ConcreteEvaluator.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace mlir;
using namespace tacq;

namespace {

struct Case {
  const char *op, *attributes;
  std::vector<std::pair<const char *, const char *>> operands;
  const char *type;
  std::vector<int64_t> shape;
  std::vector<double> elements;
};

std::ostream &operator<<(std::ostream &stream, const Case &test) { return stream << test.op; }

class EvaluatorTest : public ::testing::Test {
protected:
  EvaluatorTest() { context.loadDialect<TACQDialect, func::FuncDialect>(); }

  /// The operand of the function's return.
  Value parse(const std::string &body) {
    module = parseSourceString<ModuleOp>(body, &context);
    if (!module)
      return nullptr;
    auto function = *module->getOps<func::FuncOp>().begin();
    return function.getBody().front().getTerminator()->getOperand(0);
  }

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
};

class NodeTest : public EvaluatorTest, public ::testing::WithParamInterface<Case> {};

std::optional<ConcreteTensor> noLeaf(Value, ArrayRef<int64_t>) { return std::nullopt; }

} // namespace

TEST_P(NodeTest, SameAsReference) {
  const Case &test = GetParam();
  std::string text = std::string("func.func @main() -> ") + test.type + " {\n", names, types;
  for (auto [i, operand] : llvm::enumerate(test.operands)) {
    auto [value, type] = operand;
    std::string name = "%i" + std::to_string(i);
    text += name + " = tacq.constant " + value + " : " + type + " : " + type + "\n";
    names += (i ? ", " : "") + name;
    types += (i ? ", " : "") + std::string(type);
  }
  text += std::string("%o = tacq.node \"") + test.op + "\" opset 18 (" + names + ") {" +
          test.attributes + "} : (" + types + ") -> " + test.type + "\nreturn %o : " + test.type +
          "\n}";
  Value value = parse(text);
  ASSERT_TRUE(value) << text;
  ConcreteEvaluator evaluator({}, noLeaf);
  ConcreteEvaluator::Tensor result = evaluator.evaluate(value);
  ASSERT_TRUE(result) << evaluator.reason() << "\n" << text;
  EXPECT_EQ(std::vector<int64_t>(result->shape.begin(), result->shape.end()), test.shape) << text;
  ASSERT_EQ(result->size(), int64_t(test.elements.size())) << text;
  for (size_t i = 0; i < test.elements.size(); ++i)
    EXPECT_EQ(result->real(i), test.elements[i]) << "element " << i << " of\n" << text;
}

INSTANTIATE_TEST_SUITE_P(
    Nodes, NodeTest,
    ::testing::ValuesIn(std::vector<Case>{
        // clang-format off
    {"Add", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[10, 20, 30]>", "tensor<3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {10, 21, 32, 13, 24, 35}},
    {"Sub", "", {{"dense<[[1], [2]]>", "tensor<2x1xi64>"}, {"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {1, 0, -1, -1, -2, -3}},
    {"Mul", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[-1]>", "tensor<1xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, -1, -2, -3, -4, -5}},
    {"Div", "", {{"dense<[7, -7, 9]>", "tensor<3xi64>"}, {"dense<[2, 2, -4]>", "tensor<3xi64>"}}, "tensor<3xi64>", {3}, {3, -3, -2}},
    {"Mod", "", {{"dense<[7, -7, 9]>", "tensor<3xi64>"}, {"dense<[3, 3, -4]>", "tensor<3xi64>"}}, "tensor<3xi64>", {3}, {1, 2, -3}},
    {"Mod", "fmod = 1 : i64", {{"dense<[7, -7, 9]>", "tensor<3xi64>"}, {"dense<[3, 3, -4]>", "tensor<3xi64>"}}, "tensor<3xi64>", {3}, {1, -1, 1}},
    {"Pow", "", {{"dense<[2, 3]>", "tensor<2xi64>"}, {"dense<[5, 2]>", "tensor<2xi64>"}}, "tensor<2xi64>", {2}, {32, 9}},
    {"Max", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[2]>", "tensor<1xi64>"}, {"dense<[[1], [4]]>", "tensor<2x1xi64>"}}, "tensor<2x3xi64>", {2, 3}, {2, 2, 2, 4, 4, 5}},
    {"Min", "", {{"dense<[1.0, 5.0]>", "tensor<2xf32>"}, {"dense<[2.0, 3.0]>", "tensor<2xf32>"}}, "tensor<2xf32>", {2}, {1, 3}},
    {"And", "", {{"dense<[true, true, false]>", "tensor<3xi1>"}, {"dense<[true, false, false]>", "tensor<3xi1>"}}, "tensor<3xi1>", {3}, {1, 0, 0}},
    {"Or", "", {{"dense<[true, true, false]>", "tensor<3xi1>"}, {"dense<[true, false, false]>", "tensor<3xi1>"}}, "tensor<3xi1>", {3}, {1, 1, 0}},
    {"Xor", "", {{"dense<[true, true, false]>", "tensor<3xi1>"}, {"dense<[true, false, false]>", "tensor<3xi1>"}}, "tensor<3xi1>", {3}, {0, 1, 0}},
    {"Not", "", {{"dense<[true, false]>", "tensor<2xi1>"}}, "tensor<2xi1>", {2}, {0, 1}},
    {"Equal", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[0, 1, 5]>", "tensor<3xi64>"}}, "tensor<2x3xi1>", {2, 3}, {1, 1, 0, 0, 0, 1}},
    {"Less", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[1], [4]]>", "tensor<2x1xi64>"}}, "tensor<2x3xi1>", {2, 3}, {1, 0, 0, 1, 0, 0}},
    {"LessOrEqual", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[1], [4]]>", "tensor<2x1xi64>"}}, "tensor<2x3xi1>", {2, 3}, {1, 1, 0, 1, 1, 0}},
    {"Greater", "", {{"dense<[1.0, 2.0]>", "tensor<2xf32>"}, {"dense<[2.0, 1.0]>", "tensor<2xf32>"}}, "tensor<2xi1>", {2}, {0, 1}},
    {"GreaterOrEqual", "", {{"dense<[1.0, 2.0]>", "tensor<2xf32>"}, {"dense<[1.0, 3.0]>", "tensor<2xf32>"}}, "tensor<2xi1>", {2}, {1, 0}},
    {"Where", "", {{"dense<[[true], [false]]>", "tensor<2x1xi1>"}, {"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[7, 8, 9]>", "tensor<3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 1, 2, 7, 8, 9}},
    {"Clip", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<1>", "tensor<i64>"}, {"dense<3>", "tensor<i64>"}}, "tensor<2x3xi64>", {2, 3}, {1, 1, 2, 3, 3, 3}},
    {"IsNaN", "", {{"dense<[0x7FC00000, 1.0]>", "tensor<2xf32>"}}, "tensor<2xi1>", {2}, {1, 0}},
    {"Sign", "", {{"dense<[-2.0, 0.0, 3.0]>", "tensor<3xf32>"}}, "tensor<3xf32>", {3}, {-1, 0, 1}},
    {"Floor", "", {{"dense<[-1.5, 1.5]>", "tensor<2xf32>"}}, "tensor<2xf32>", {2}, {-2, 1}},
    {"Neg", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, -1, -2, -3, -4, -5}},
    {"Abs", "", {{"dense<[-3, 2]>", "tensor<2xi64>"}}, "tensor<2xi64>", {2}, {3, 2}},
    {"Cast", "to = 7 : i64", {{"dense<[1.899999976158142, -1.899999976158142, 0.0]>", "tensor<3xf32>"}}, "tensor<3xi64>", {3}, {1, -1, 0}},
    {"Cast", "to = 9 : i64", {{"dense<[-2, 0, 3]>", "tensor<3xi64>"}}, "tensor<3xi1>", {3}, {1, 0, 1}},
    {"Cast", "to = 1 : i64", {{"dense<[true, false]>", "tensor<2xi1>"}}, "tensor<2xf32>", {2}, {1, 0}},
    {"Range", "", {{"dense<2>", "tensor<i64>"}, {"dense<9>", "tensor<i64>"}, {"dense<3>", "tensor<i64>"}}, "tensor<3xi64>", {3}, {2, 5, 8}},
    {"Range", "", {{"dense<3>", "tensor<i64>"}, {"dense<0>", "tensor<i64>"}, {"dense<-1>", "tensor<i64>"}}, "tensor<3xi64>", {3}, {3, 2, 1}},
    {"CumSum", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<1>", "tensor<i64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 1, 3, 3, 7, 12}},
    {"CumSum", "exclusive = 1 : i64, reverse = 1 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<0>", "tensor<i64>"}}, "tensor<2x3xi64>", {2, 3}, {3, 4, 5, 0, 0, 0}},
    {"Trilu", "upper = 0 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 0, 0, 3, 4, 0}},
    {"Trilu", "upper = 1 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<1>", "tensor<i64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 1, 2, 0, 0, 5}},
    {"Reshape", "", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}, {"dense<[0, -1]>", "tensor<2xi64>"}}, "tensor<2x12xi64>", {2, 12}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},
    {"Reshape", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[3, 2]>", "tensor<2xi64>"}}, "tensor<3x2xi64>", {3, 2}, {0, 1, 2, 3, 4, 5}},
    {"Unsqueeze", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[0, -1]>", "tensor<2xi64>"}}, "tensor<1x2x3x1xi64>", {1, 2, 3, 1}, {0, 1, 2, 3, 4, 5}},
    {"Squeeze", "", {{"dense<[[[[0, 1, 2]], [[3, 4, 5]]]]>", "tensor<1x2x1x3xi64>"}, {"dense<[0]>", "tensor<1xi64>"}}, "tensor<2x1x3xi64>", {2, 1, 3}, {0, 1, 2, 3, 4, 5}},
    {"Squeeze", "", {{"dense<[[[[0, 1, 2]], [[3, 4, 5]]]]>", "tensor<1x2x1x3xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 1, 2, 3, 4, 5}},
    {"Flatten", "axis = 2 : i64", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}}, "tensor<6x4xi64>", {6, 4}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23}},
    {"Expand", "", {{"dense<[[1], [2]]>", "tensor<2x1xi64>"}, {"dense<[2, 1, 3]>", "tensor<3xi64>"}}, "tensor<2x2x3xi64>", {2, 2, 3}, {1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2}},
    {"Tile", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[2, 2]>", "tensor<2xi64>"}}, "tensor<4x6xi64>", {4, 6}, {0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5, 0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}},
    {"Transpose", "perm = array<i64: 2, 0, 1>", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}}, "tensor<4x2x3xi64>", {4, 2, 3}, {0, 4, 8, 12, 16, 20, 1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22, 3, 7, 11, 15, 19, 23}},
    {"Transpose", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}}, "tensor<3x2xi64>", {3, 2}, {0, 3, 1, 4, 2, 5}},
    {"Slice", "", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}, {"dense<[1, -3]>", "tensor<2xi64>"}, {"dense<[9, -1]>", "tensor<2xi64>"}, {"dense<[0, 2]>", "tensor<2xi64>"}}, "tensor<1x3x2xi64>", {1, 3, 2}, {13, 14, 17, 18, 21, 22}},
    {"Slice", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[-1]>", "tensor<1xi64>"}, {"dense<[-9]>", "tensor<1xi64>"}, {"dense<[1]>", "tensor<1xi64>"}, {"dense<[-2]>", "tensor<1xi64>"}}, "tensor<2x2xi64>", {2, 2}, {2, 0, 5, 3}},
    {"Slice", "", {{"dense<[0, 1, 2, 3, 4]>", "tensor<5xi64>"}, {"dense<[4]>", "tensor<1xi64>"}, {"dense<[0]>", "tensor<1xi64>"}, {"dense<[0]>", "tensor<1xi64>"}, {"dense<[-3]>", "tensor<1xi64>"}}, "tensor<2xi64>", {2}, {4, 1}},
    {"Concat", "axis = -1 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[7], [8]]>", "tensor<2x1xi64>"}}, "tensor<2x4xi64>", {2, 4}, {0, 1, 2, 7, 3, 4, 5, 8}},
    {"Gather", "axis = 1 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[0, -1]]>", "tensor<1x2xi64>"}}, "tensor<2x1x2xi64>", {2, 1, 2}, {0, 2, 3, 5}},
    {"Gather", "axis = 0 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<1>", "tensor<i64>"}}, "tensor<3xi64>", {3}, {3, 4, 5}},
    {"GatherElements", "axis = 1 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[0, 2], [-1, 1]]>", "tensor<2x2xi64>"}}, "tensor<2x2xi64>", {2, 2}, {0, 2, 5, 4}},
    {"GatherND", "", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}, {"dense<[[0, 1], [1, -1]]>", "tensor<2x2xi64>"}}, "tensor<2x4xi64>", {2, 4}, {4, 5, 6, 7, 20, 21, 22, 23}},
    {"GatherND", "batch_dims = 1 : i64", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}, {"dense<[[1], [2]]>", "tensor<2x1xi64>"}}, "tensor<2x4xi64>", {2, 4}, {4, 5, 6, 7, 20, 21, 22, 23}},
    {"ScatterND", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[[1, 0], [0, 2]]>", "tensor<2x2xi64>"}, {"dense<[70, 80]>", "tensor<2xi64>"}}, "tensor<2x3xi64>", {2, 3}, {0, 1, 80, 70, 4, 5}},
    {"ConstantOfShape", "", {{"dense<[2, 2]>", "tensor<2xi64>"}}, "tensor<2x2xf32>", {2, 2}, {0, 0, 0, 0}},
    {"ReduceSum", "keepdims = 0 : i64", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[1]>", "tensor<1xi64>"}}, "tensor<2xi64>", {2}, {3, 12}},
    {"ReduceMax", "", {{"dense<[[0, 1, 2], [3, 4, 5]]>", "tensor<2x3xi64>"}, {"dense<[0]>", "tensor<1xi64>"}}, "tensor<1x3xi64>", {1, 3}, {3, 4, 5}},
    {"ReduceMin", "keepdims = 0 : i64", {{"dense<[[[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]]>", "tensor<2x3x4xi64>"}, {"dense<[0, 2]>", "tensor<2xi64>"}}, "tensor<3xi64>", {3}, {0, 4, 8}},
    {"ReduceProd", "", {{"dense<[2, 3, 4]>", "tensor<3xi64>"}}, "tensor<1xi64>", {1}, {24}},
    {"ReduceMean", "", {{"dense<[1.0, 2.0, 6.0]>", "tensor<3xf32>"}}, "tensor<1xf32>", {1}, {3}},
    {"BitwiseAnd", "", {{"dense<[6, 5]>", "tensor<2xi64>"}, {"dense<[3, 4]>", "tensor<2xi64>"}}, "tensor<2xi64>", {2}, {2, 4}},
    {"BitwiseOr", "", {{"dense<[6, 5]>", "tensor<2xi64>"}, {"dense<[3, 4]>", "tensor<2xi64>"}}, "tensor<2xi64>", {2}, {7, 5}},
        // clang-format on
    }),
    [](const ::testing::TestParamInfo<Case> &info) {
      return std::string(info.param.op) + std::to_string(info.index);
    });

TEST_F(EvaluatorTest, SizesAndLeavesAreTheCallers) {
  Value value = parse(R"(
    !x = tensor<?xi64, #tacq.shape<["n"]>>
    func.func @main(%x: !x) -> !x {
      %n = tacq.symbolic ["2*n + m"] : tensor<i64>
      %y = tacq.node "Add" opset 18 (%x, %n) : (!x, tensor<i64>) -> !x
      return %y : !x
    })");
  ASSERT_TRUE(value);
  ConcreteEvaluator::Environment sizes;
  sizes["n"] = 3;
  sizes["m"] = 100;
  ConcreteEvaluator evaluator(
      sizes, [](Value leaf, ArrayRef<int64_t> shape) -> std::optional<ConcreteTensor> {
        if (leaf.getDefiningOp())
          return std::nullopt;
        EXPECT_EQ(shape, ArrayRef<int64_t>({3}));
        ConcreteTensor tensor = ConcreteTensor::zeros(shape, /*isReal=*/false);
        tensor.integers = {1, 2, 3};
        return tensor;
      });
  ConcreteEvaluator::Tensor result = evaluator.evaluate(value);
  ASSERT_TRUE(result) << evaluator.reason();
  EXPECT_EQ(result->integers, (std::vector<int64_t>{107, 108, 109}));
}

TEST_F(EvaluatorTest, RoundsToTheElementType) {
  Value value = parse(R"(
    func.func @main() -> tensor<f16> {
      %x = tacq.constant dense<2048.0> : tensor<f16> : tensor<f16>
      %one = tacq.constant dense<1.0> : tensor<f16> : tensor<f16>
      %y = tacq.node "Add" opset 18 (%x, %one) : (tensor<f16>, tensor<f16>) -> tensor<f16>
      return %y : tensor<f16>
    })");
  ASSERT_TRUE(value);
  ConcreteEvaluator evaluator({}, noLeaf);
  ConcreteEvaluator::Tensor result = evaluator.evaluate(value);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->real(0), 2048.0);
}

TEST_F(EvaluatorTest, TellsWhatCannotBeEvaluated) {
  Value value = parse(R"(
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %y = tacq.node "Softmax" opset 18 (%x) named "probabilities" : (tensor<4xf32>) -> tensor<4xf32>
      return %y : tensor<4xf32>
    })");
  ASSERT_TRUE(value);
  ConcreteEvaluator unknownInput({}, noLeaf);
  EXPECT_FALSE(unknownInput.evaluate(value));
  EXPECT_EQ(unknownInput.reason(), "it depends on an input of the model");
  ConcreteEvaluator unknownNode(
      {}, [&](Value leaf, ArrayRef<int64_t> shape) -> std::optional<ConcreteTensor> {
        if (leaf == value)
          return std::nullopt;
        return ConcreteTensor::zeros(shape, /*isReal=*/true);
      });
  EXPECT_FALSE(unknownNode.evaluate(value));
  EXPECT_EQ(unknownNode.reason(),
            "node 'probabilities' (Softmax): its operator is not one of index "
            "or mask arithmetic");
  ConcreteEvaluator tooLarge({}, noLeaf, /*maxElements=*/3);
  EXPECT_FALSE(tooLarge.evaluate(value));
  EXPECT_EQ(tooLarge.reason(), "a tensor is too large to be evaluated at compile time");
}

TEST_F(EvaluatorTest, RefusesIndicesOutOfRange) {
  Value value = parse(R"(
    func.func @main() -> tensor<i64> {
      %x = tacq.constant dense<[1, 2]> : tensor<2xi64> : tensor<2xi64>
      %i = tacq.constant dense<2> : tensor<i64> : tensor<i64>
      %y = tacq.node "Gather" opset 18 (%x, %i) named "pick" : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
      return %y : tensor<i64>
    })");
  ASSERT_TRUE(value);
  ConcreteEvaluator evaluator({}, noLeaf);
  EXPECT_FALSE(evaluator.evaluate(value));
  EXPECT_EQ(evaluator.reason(), "node 'pick' (Gather): an index is out of range");
}
