//===- LinearTest.cpp - Linear kernels against a scalar reference ---------===//

#include "HotKernelTest.h"
#include "tacq/CPU/WeightPacking.h"
#include <cmath>

using namespace tacq;
using namespace tacq::test;

namespace {

struct Case {
  std::vector<int64_t> features;
  int64_t depth;
  std::string type = "f32";
  std::string weightType = "f32";
  bool bias = false, residual = false, gated = false, kn = false;
  std::string activation = "none";
  /// Factors may be rounded to bf16; those of the test are such numbers.
  bool bf16 = false;
};

/// Numbers of f32 that bf16 has, too.
void truncateToBf16(Tensor &tensor) {
  for (size_t i = 0; i < tensor.bytes.size(); i += sizeof(float))
    tensor.bytes[i] = tensor.bytes[i + 1] = 0;
}

double reference(const std::string &activation, double x) {
  if (activation == "silu")
    return x / (1 + std::exp(-x));
  if (activation == "gelu")
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  if (activation == "gelu_tanh")
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  if (activation == "relu")
    return std::max(x, 0.0);
  return x;
}

mlir::Type parseType(mlir::MLIRContext &context, const std::string &name) {
  if (name == "f32")
    return mlir::Float32Type::get(&context);
  if (name == "f16")
    return mlir::Float16Type::get(&context);
  return mlir::BFloat16Type::get(&context);
}

std::string describe(const Case &c) {
  std::string rows = "tensor<?x" + std::to_string(c.depth) + "x" + c.type +
                     ", #tacq.shape<[\"rows\", \"" + std::to_string(c.depth) + "\"]>>";
  auto result = [&](int64_t n) {
    return "tensor<?x" + std::to_string(n) + "x" + c.type + ", #tacq.shape<[\"rows\", \"" +
           std::to_string(n) + "\"]>>";
  };
  std::string arguments = "%x: " + rows, types = rows, weights, biases, order, layouts;
  auto append = [](std::string &list, const std::string &item) {
    list += (list.empty() ? "" : ", ") + item;
  };
  for (size_t i = 0; i < c.features.size(); ++i) {
    std::string n = std::to_string(c.features[i]), k = std::to_string(c.depth);
    std::string type = "tensor<" + (c.kn ? k + "x" + n : n + "x" + k) + "x" + c.weightType + ">";
    append(weights, "%w" + std::to_string(i));
    append(arguments, "%w" + std::to_string(i) + ": " + type);
    append(types, type);
    append(order, c.kn ? "1 : i32" : "0 : i32");
    append(layouts, "#tacq.panel<16, " + c.weightType + ">");
  }
  if (c.bias)
    for (size_t i = 0; i < c.features.size(); ++i) {
      std::string type = "tensor<" + std::to_string(c.features[i]) + "x" + c.type + ">";
      append(biases, "%b" + std::to_string(i));
      append(arguments, "%b" + std::to_string(i) + ": " + type);
      append(types, type);
    }
  std::vector<int64_t> results = c.features;
  if (c.gated)
    results.resize(1);
  if (c.residual) {
    append(arguments, "%r: " + result(results[0]));
    append(types, result(results[0]));
  }
  std::string resultTypes, names;
  for (size_t i = 0; i < results.size(); ++i) {
    append(resultTypes, result(results[i]));
    append(names, "%y#" + std::to_string(i));
  }
  return "func.func @k(" + arguments + ") -> (" + resultTypes +
         ") {\n  %y:" + std::to_string(results.size()) + " = tacq.linear %x, weights(" + weights +
         ")" + (c.bias ? " biases(" + biases + ")" : "") + (c.residual ? " residual(%r)" : "") +
         " {weight_order = [" + order + "], weight_layouts = [" + layouts + "]" +
         (c.activation == "none" ? "" : ", activation = " + std::string("@@")) +
         (c.gated ? ", gated" : "") + (c.bf16 ? ", allow_bf16" : "") + ", node_name = \"y\"} : (" +
         types + ") -> (" + resultTypes + ")\n  return " + names + " : " + resultTypes + "\n}\n";
}

class Linear : public testing::TestWithParam<CpuTarget> {
protected:
  void check(const Case &c, const std::vector<int64_t> &rowCounts) {
    static const std::map<std::string, std::string> activations = {
        {"silu", "1 : i32"}, {"gelu", "2 : i32"}, {"gelu_tanh", "3 : i32"}, {"relu", "4 : i32"}};
    std::string text = describe(c);
    if (size_t at = text.find("@@"); at != std::string::npos)
      text.replace(at, 2, activations.at(c.activation));
    HotKernel kernel = HotKernel::compile(text, GetParam());
    std::unique_ptr<mlir::MLIRContext> context = makeContext();
    std::vector<Tensor> weights, packed, biases;
    for (size_t i = 0; i < c.features.size(); ++i) {
      weights.push_back(Tensor::random(c.features[i] * c.depth, c.weightType, 10 + i, 0.5f));
      if (c.bf16)
        truncateToBf16(weights[i]);
      biases.push_back(Tensor::random(c.features[i], c.type, 20 + i));
      auto layout = PanelAttr::get(context.get(), 16, parseType(*context, c.weightType));
      Tensor panels{c.weightType, weights[i].width, {}};
      packWeight(weights[i].data(), c.kn ? WeightOrder::KN : WeightOrder::NK, c.features[i],
                 c.depth, layout, [&](const void *data, size_t size) {
                   auto *bytes = static_cast<const char *>(data);
                   panels.bytes.insert(panels.bytes.end(), bytes, bytes + size);
                   return true;
                 });
      ASSERT_EQ(panels.bytes.size(), packedWeightBytes(c.features[i], c.depth, layout));
      packed.push_back(std::move(panels));
    }
    size_t results = c.gated ? 1 : c.features.size();
    for (int64_t rows : rowCounts) {
      SCOPED_TRACE(rows);
      Tensor x = Tensor::random(rows * c.depth, c.type, 1);
      if (c.bf16)
        truncateToBf16(x);
      Tensor residual = Tensor::random(rows * c.features[0], c.type, 2);
      std::vector<Tensor> outputs;
      for (size_t i = 0; i < results; ++i)
        // One row more, which must stay as it is.
        outputs.push_back(Tensor::filled((rows + 1) * c.features[i], c.type, 77.0f));
      std::vector<Tensor *> bindings = {&x};
      for (Tensor &tensor : packed)
        bindings.push_back(&tensor);
      if (c.bias)
        for (Tensor &tensor : biases)
          bindings.push_back(&tensor);
      if (c.residual)
        bindings.push_back(&residual);
      for (Tensor &tensor : outputs)
        bindings.push_back(&tensor);
      kernel.run(bindings, {{"rows", rows}});

      auto dot = [&](size_t i, int64_t row, int64_t n) {
        double sum = c.bias ? biases[i].at(n) : 0;
        for (int64_t j = 0; j < c.depth; ++j)
          sum += double(x.at(row * c.depth + j)) *
                 weights[i].at(c.kn ? j * c.features[i] + n : n * c.depth + j);
        return sum;
      };
      int failures = 0;
      for (size_t i = 0; i < results && failures < 3; ++i)
        for (int64_t row = 0; row <= rows && failures < 3; ++row)
          for (int64_t n = 0; n < c.features[i] && failures < 3; ++n) {
            double expected = 77.0;
            if (row < rows) {
              expected = reference(c.activation, dot(i, row, n));
              if (c.gated)
                expected *= dot(1, row, n);
              if (c.residual)
                expected += residual.at(row * c.features[0] + n);
            }
            double tolerance = (c.type == "f32"   ? 2e-5
                                : c.type == "f16" ? 1.5e-3
                                                  : 1e-2) *
                               (1 + std::fabs(expected));
            double actual = outputs[i].at(row * c.features[i] + n);
            EXPECT_NEAR(actual, expected, tolerance)
                << "result " << i << " row " << row << " feature " << n;
            failures += std::fabs(actual - expected) > tolerance;
          }
    }
  }
};

const std::vector<int64_t> manyRows = {1, 2, 3, 4, 5, 7, 11, 12, 13, 24, 30, 96, 97, 200};

TEST_P(Linear, SingleWeight) { check({{64}, 40}, manyRows); }
TEST_P(Linear, FeaturesAndColumnsWithRemainders) {
  check({{37}, 13}, manyRows);
  check({{3}, 1}, {1, 5});
  check({{49}, 7}, {1, 30});
}
TEST_P(Linear, OtherOrderOfAxes) {
  Case c{{50}, 33};
  c.kn = true;
  check(c, {1, 6, 25});
}
TEST_P(Linear, BiasActivationResidual) {
  for (const char *activation : {"none", "silu", "gelu", "gelu_tanh", "relu"}) {
    SCOPED_TRACE(activation);
    Case c{{40}, 24};
    c.bias = c.residual = true;
    c.activation = activation;
    check(c, {1, 3, 14});
  }
}
TEST_P(Linear, Gated) {
  Case c{{44, 44}, 30};
  c.gated = true;
  c.activation = "silu";
  check(c, manyRows);
  c.bias = c.residual = true;
  check(c, {1, 9});
}
TEST_P(Linear, SeveralWeights) {
  Case c{{64, 32, 32}, 48};
  check(c, {1, 2, 13, 100});
  Case odd{{40, 17, 23}, 48};
  odd.bias = true;
  check(odd, {1, 2, 13, 100});
}
TEST_P(Linear, HalfPrecision) {
  Case c{{70}, 530, "f16", "f16"};
  check(c, {1, 2, 4, 12, 17});
  c.bias = c.residual = true;
  check(c, {1, 13});
  check({{32, 16}, 256, "f16", "f16"}, {1, 13});
}
TEST_P(Linear, BFloat16) { check({{33}, 100, "bf16", "bf16"}, {1, 3, 14}); }
TEST_P(Linear, HalfPrecisionWeightsOfFullPrecisionInputs) {
  check({{40}, 64, "f32", "f16"}, {1, 3, 14});
}

class Bf16Linear : public Linear {};

TEST_P(Bf16Linear, FactorsThatMayBeRounded) {
  Case c{{64}, 32};
  c.bf16 = true;
  check(c, manyRows);
  // A piece of K and a part of one; panels that a task lacks.
  c.features = {80};
  c.depth = 288;
  check(c, {1, 2, 31, 32, 33, 96, 97, 200});
  c.features = {37};
  c.bias = c.residual = true;
  c.activation = "silu";
  check(c, {1, 5, 100});
  c.residual = false;
  c.features = {70, 70};
  c.gated = true;
  check(c, {1, 5, 100});
  // Products of tiles take 32 columns at a time.
  c.depth = 40;
  check(c, {1, 5, 100});
  Case several{{64, 32, 17}, 64};
  several.bf16 = true;
  check(several, {1, 2, 100});
}
TEST_P(Bf16Linear, RoundingOfFactorsIsBounded) {
  // Each factor is off by 2^-9 of itself at most, so each product by twice that.
  std::string text = R"(
    func.func @k(%x: tensor<40x256xf32>, %w: tensor<16x256xf32>) -> tensor<40x16xf32> {
      %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], allow_bf16,
        weight_layouts = [#tacq.panel<16, f32>], node_name = "y"}
        : (tensor<40x256xf32>, tensor<16x256xf32>) -> tensor<40x16xf32>
      return %y : tensor<40x16xf32>
    })";
  HotKernel kernel = HotKernel::compile(text, GetParam());
  Tensor x = Tensor::random(40 * 256, "f32", 1), w = Tensor::random(16 * 256, "f32", 2, 0.5f);
  Tensor y = Tensor::filled(40 * 16, "f32", 0);
  kernel.run({&x, &w, &y});
  double largest = 0;
  for (int row = 0; row < 40; ++row)
    for (int n = 0; n < 16; ++n) {
      double sum = 0, magnitudes = 0;
      for (int j = 0; j < 256; ++j) {
        double product = double(x.at(row * 256 + j)) * w.at(j * 16 + n);
        sum += product;
        magnitudes += std::fabs(product);
      }
      double error = std::fabs(y.at(row * 16 + n) - sum);
      EXPECT_LE(error, magnitudes * 0x1.01p-8) << row << ' ' << n;
      largest = std::max(largest, error);
    }
  // Targets without such products stay exact.
  if (GetParam().amx)
    EXPECT_GT(largest, 1e-3);
  else
    EXPECT_LT(largest, 1e-4);
}

TEST_P(Linear, RowCountThatIsConstant) {
  // A tile is never larger than the rows there are.
  std::string text = R"(
    func.func @k(%x: tensor<2x20xf32>, %w: tensor<16x20xf32>) -> tensor<2x16xf32> {
      %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32],
        weight_layouts = [#tacq.panel<16, f32>], node_name = "y"}
        : (tensor<2x20xf32>, tensor<16x20xf32>) -> tensor<2x16xf32>
      return %y : tensor<2x16xf32>
    })";
  HotKernel kernel = HotKernel::compile(text, GetParam());
  Tensor x = Tensor::random(40, "f32", 1), w = Tensor::random(320, "f32", 2);
  Tensor y = Tensor::filled(32, "f32", 0);
  kernel.run({&x, &w, &y});
  for (int row = 0; row < 2; ++row)
    for (int n = 0; n < 16; ++n) {
      double sum = 0;
      for (int j = 0; j < 20; ++j)
        sum += double(x.at(row * 20 + j)) * w.at(j * 16 + n);
      EXPECT_NEAR(y.at(row * 16 + n), sum, 1e-5);
    }
}

INSTANTIATE_TEST_SUITE_P(Targets, Linear, testing::ValuesIn(kernelTargets()), targetName);
INSTANTIATE_TEST_SUITE_P(Targets, Bf16Linear,
                         testing::ValuesIn(kernelTargets(/*everyByteProduct=*/true)), targetName);

} // namespace
