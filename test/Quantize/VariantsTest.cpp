//===- VariantsTest.cpp - The best of several quantizations of a layer ----===//

#include "../AssertOk.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "tacq/Quantize/ModelQuantizer.h"
#include "tacq/Register.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>
#include <random>
#include <set>

using namespace mlir;
using namespace tacq;

namespace {

/// logits = 2 C relu(A x): no layer is the head, which is never planned alike.
constexpr const char *graph = R"(
!x = tensor<?x?x32xf32, #tacq.shape<["b", "s", "32"]>>
!h = tensor<?x?x48xf32, #tacq.shape<["b", "s", "48"]>>
!y = tensor<?x?x24xf32, #tacq.shape<["b", "s", "24"]>>
module {
  tacq.param @a : tensor<48x32xf32> from <"w", 0, 6144>
  tacq.param @c : tensor<24x48xf32> from <"w", 6144, 4608>
  func.func @main(%x: !x {tacq.name = "x"}) -> (!y {tacq.name = "logits"}) {
    %wa = tacq.get_param @a : tensor<48x32xf32>
    %wc = tacq.get_param @c : tensor<24x48xf32>
    %a = tacq.linear %x, weights(%wa) {node_name = "a", weight_order = [0 : i32]} : (!x, tensor<48x32xf32>) -> !h
    %h = tacq.node "Relu" opset 14 (%a) : (!h) -> !h
    %c = tacq.linear %h, weights(%wc) {node_name = "c", weight_order = [0 : i32]} : (!h, tensor<24x48xf32>) -> !y
    %y = tacq.node "Add" opset 14 (%c, %c) : (!y, !y) -> !y
    return %y : !y
  }
}
)";
constexpr int64_t inputs = 32, hidden = 48, classes = 24, length = 40;
constexpr size_t sampleCount = 6;

using Weight = std::vector<float>;

Weight product(const Weight &w, int64_t rows, int64_t columns, const float *x) {
  Weight y(rows);
  for (int64_t n = 0; n < rows; ++n) {
    double sum = 0;
    for (int64_t k = 0; k < columns; ++k)
      sum += double(w[n * columns + k]) * x[k];
    y[n] = float(sum);
  }
  return y;
}

class VariantsTest : public ::testing::Test {
protected:
  VariantsTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    auto draw = [&](size_t count, float scale) {
      Weight numbers(count);
      for (float &number : numbers)
        number = scale * normal(random);
      return numbers;
    };
    a = draw(hidden * inputs, 0.3F);
    c = draw(classes * hidden, 0.2F);
    // Correlated inputs: without them, all orders and dampings come to the same.
    Weight mixing = draw(inputs * inputs, 0.3F);
    for (size_t sample = 0; sample < sampleCount; ++sample) {
      Weight &x = data.emplace_back();
      for (int64_t t = 0; t < length; ++t) {
        Weight own = product(mixing, inputs, inputs, draw(inputs, 1).data());
        x.insert(x.end(), own.begin(), own.end());
      }
    }
    // One position predicts nothing.
    labels.assign(length, 0);
    labels[7] = -100;
    samples.count = sampleCount;
    samples.load = [this](size_t sample, std::map<std::string, TensorView> &given) {
      given["x"] = {TACQ_F32, {1, length, inputs}, data[sample].data()};
      given["labels"] = TensorView::of({1, length}, labels.data());
      return Error();
    };
  }

  /// The quantized weights of the model with these, of those that are named.
  Error quantize(const Weight &first, const Weight &second, const std::vector<std::string> &names,
                 const HessianOptions &hessian, unsigned variants,
                 std::map<std::string, Weight> &made) {
    ImportedModel model;
    model.module = parseSourceString<ModuleOp>(graph, &context);
    for (auto [name, weight] : {std::pair{"a", &first}, {"c", &second}})
      model.parameters.add(
          name, {reinterpret_cast<const char *>(weight->data()), weight->size() * sizeof(float)});
    QuantizeModelOptions options;
    for (const std::string &name : names) {
      TensorPlan tensor;
      tensor.name = name;
      tensor.bits = 2;
      tensor.codebook = name == "a";
      options.plan.tensors.push_back(tensor);
    }
    options.plan.circuitLayout = WeightFormat::Circuit::None;
    options.hessian = hessian;
    options.samples = &samples;
    options.method = method;
    options.variants = variants;
    options.variantSamples = 3;
    options.threads = 2;
    llvm::StringMap<MixedWeight> weights;
    Error error = quantizeModel(model, options, weights);
    for (const auto &entry : weights)
      made[entry.first().str()] = entry.second.decode();
    return error;
  }

  /// Natural logarithms of the probabilities at a position.
  static std::vector<double> predict(const Weight &first, const Weight &second, const float *x) {
    Weight h = product(first, hidden, inputs, x);
    for (float &value : h)
      value = std::max(value, 0.0F);
    Weight y = product(second, classes, hidden, h.data());
    std::vector<double> logs(y.begin(), y.end());
    double sum = 0;
    for (double &value : logs)
      sum += std::exp(value *= 2);
    for (double &value : logs)
      value -= std::log(sum);
    return logs;
  }

  /// The mean divergence from the original model over samples 1, 3 and 5 of the six: three, evenly
  /// spread.
  double divergence(const Weight &first, const Weight &second) {
    double sum = 0;
    int64_t count = 0;
    for (size_t sample : {1, 3, 5})
      // The label of a position is predicted at the one before it.
      for (int64_t t = 0; t + 1 < length; ++t) {
        if (labels[t + 1] < 0)
          continue;
        const float *x = data[sample].data() + t * inputs;
        std::vector<double> original = predict(a, c, x), now = predict(first, second, x);
        for (int64_t i = 0; i < classes; ++i)
          sum += std::exp(original[i]) * (original[i] - now[i]);
        ++count;
      }
    return sum / double(count);
  }

  /// Which of them the choice is, and that none is better by more than bf16 can hide.
  void expectBest(const Weight &chosen, const std::vector<Weight> &variants,
                  llvm::function_ref<double(const Weight &)> loss) {
    size_t found = llvm::find(variants, chosen) - variants.begin();
    ASSERT_LT(found, variants.size()) << "it is none of the variants";
    double least = std::numeric_limits<double>::infinity();
    for (const Weight &variant : variants)
      least = std::min(least, loss(variant));
    EXPECT_LE(loss(chosen), 1.02 * least);
    // A choice that is always the first would be seen.
    EXPECT_GT(loss(variants[0]), 1.05 * least);
  }

  MLIRContext context;
  Weight a, c;
  std::vector<Weight> data;
  std::vector<int64_t> labels;
  SampleSource samples;
  QuantizeMethod method = QuantizeMethod::Gptq;
};

TEST_F(VariantsTest, EachLayerIsTheBestBehindTheOnesBefore) {
  std::map<std::string, Weight> chosen;
  ASSERT_OK(quantize(a, c, {"a", "c"}, {}, mostVariants, chosen));
  std::vector<Weight> first, second;
  for (unsigned i = 0; i < mostVariants; ++i) {
    std::map<std::string, Weight> made;
    ASSERT_OK(quantize(a, c, {"a"}, hessianVariant({}, i), 1, made));
    first.push_back(made.at("a"));
    // The choice of the first layer stands for it in the model.
    ASSERT_OK(quantize(chosen.at("a"), c, {"c"}, hessianVariant({}, i), 1, made));
    second.push_back(made.at("c"));
  }
  expectBest(chosen.at("a"), first, [&](const Weight &weight) { return divergence(weight, c); });
  expectBest(chosen.at("c"), second,
             [&](const Weight &weight) { return divergence(chosen.at("a"), weight); });
}

TEST_F(VariantsTest, TheFirstIsWhatIsAskedFor) {
  HessianOptions asked;
  asked.damping = 0.02;
  asked.activationOrder = true;
  EXPECT_EQ(hessianVariant(asked, 0).damping, 0.02);
  EXPECT_TRUE(hessianVariant(asked, 0).activationOrder);
  EXPECT_FALSE(hessianVariant(asked, 1).activationOrder);
  EXPECT_EQ(hessianVariant(asked, 7).damping, 0.18);
  std::set<std::pair<double, bool>> all;
  for (unsigned i = 0; i < mostVariants; ++i) {
    HessianOptions variant = hessianVariant(asked, i);
    all.insert({variant.damping, variant.activationOrder});
  }
  EXPECT_EQ(all.size(), mostVariants);
}

TEST_F(VariantsTest, NearestNumbersHaveNone) {
  std::map<std::string, Weight> made;
  method = QuantizeMethod::Nearest;
  Error error = quantize(a, c, {"a"}, {}, 2, made);
  EXPECT_EQ(error.code(), TACQ_INVALID_ARGUMENT) << error.message();
}

TEST_F(VariantsTest, AnInfiniteInputIsRefused) {
  std::map<std::string, Weight> made;
  data[3][5] = std::numeric_limits<float>::infinity();
  Error error = quantize(a, c, {"a"}, {}, 2, made);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT) << error.message();
}

} // namespace
