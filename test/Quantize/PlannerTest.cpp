//===- PlannerTest.cpp - Plans of a small model against all there are -----===//

#include "tacq/Quantize/Planner.h"
#include "../AssertOk.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "tacq/Register.h"
#include "gtest/gtest.h"
#include <limits>
#include <random>
#include <set>

using namespace mlir;
using namespace tacq;

namespace {

/// Two weights that read the same input and one that reads their sum, no head; all formats fit all
/// of them.
constexpr const char *graph = R"(
!x = tensor<?x?x128xf32, #tacq.shape<["b", "s", "128"]>>
!y = tensor<?x?x64xf32, #tacq.shape<["b", "s", "64"]>>
module {
  tacq.param @a : tensor<128x128xf32> from <"w", 0, 65536>
  tacq.param @b : tensor<128x128xf32> from <"w", 65536, 65536>
  tacq.param @c : tensor<64x128xf32> from <"w", 131072, 32768>
  func.func @main(%x: !x {tacq.name = "x"}) -> (!y {tacq.name = "y"}) {
    %wa = tacq.get_param @a : tensor<128x128xf32>
    %wb = tacq.get_param @b : tensor<128x128xf32>
    %wc = tacq.get_param @c : tensor<64x128xf32>
    %a = tacq.linear %x, weights(%wa) {node_name = "a", weight_order = [0 : i32]} : (!x, tensor<128x128xf32>) -> !x
    %b = tacq.linear %x, weights(%wb) {node_name = "b", weight_order = [0 : i32]} : (!x, tensor<128x128xf32>) -> !x
    %sum = tacq.node "Add" opset 18 (%a, %b) : (!x, !x) -> !x
    %c = tacq.linear %sum, weights(%wc) {node_name = "c", weight_order = [0 : i32]} : (!x, tensor<64x128xf32>) -> !y
    %y = tacq.node "Add" opset 18 (%c, %c) : (!y, !y) -> !y
    return %y : !y
  }
}
)";
constexpr int64_t columns = 128;
constexpr std::pair<const char *, int64_t> weights[] = {{"a", 128}, {"b", 128}, {"c", 64}};
constexpr double elements = (128 + 128 + 64) * columns;

/// A plan as numbers.
struct Total {
  uint64_t bytes = 0;
  double loss = 0;
};

class PlannerTest : public ::testing::TestWithParam<WeightFormat::Circuit> {
protected:
  PlannerTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    options.circuitLayout = GetParam();
    options.threads = 2;
  }
  ~PlannerTest() override { model.module = nullptr; }

  void SetUp() override {
    model.module = parseSourceString<ModuleOp>(graph, &context);
    ASSERT_TRUE(model.module);
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    std::lognormal_distribution<double> spread;
    statistics.modelHash = "m";
    for (uint32_t input = 0; input < 2; ++input) {
      InputStatistics &sum = statistics.inputs.emplace_back();
      sum.columns = columns;
      sum.tokens = 2 * columns;
      sum.hessian = StatisticsSum::zeros(columns * (columns + 1) / 2);
      for (uint64_t token = 0; token < sum.tokens; ++token) {
        std::vector<double> x(columns);
        for (double &value : x)
          value = normal(random);
        double *value = sum.hessian.mutableValues().data();
        for (int64_t i = 0; i < columns; ++i)
          for (int64_t j = 0; j <= i; ++j)
            *value++ += x[i] * x[j];
      }
    }
    for (auto [i, weight] : llvm::enumerate(weights)) {
      size_t count = weight.second * columns;
      TensorStatistics tensor;
      tensor.name = weight.first;
      tensor.rows = weight.second;
      tensor.columns = columns;
      tensor.input = i == 2;
      tensor.gradient = StatisticsSum::zeros(count);
      // Weights that cost differently, so that plans are mixed.
      for (double &value : tensor.gradient.mutableValues())
        value = 0.01 * spread(random) * double(1 + i * i);
      statistics.tensors.push_back(std::move(tensor));
      std::vector<char> bytes(count * sizeof(float));
      auto *values = reinterpret_cast<float *>(bytes.data());
      for (size_t k = 0; k < count; ++k)
        values[k] = float(normal(random));
      model.parameters.add(weight.first, model.parameters.own(std::move(bytes)));
    }
    for (uint64_t sample = 0; sample < 8; ++sample)
      statistics.cover("d", sample, 2);
    ASSERT_OK(plan(Budget::Kind::BitsPerWeight, 3));
    collectTotals();
  }

  Error plan(Budget::Kind kind, double value) {
    options.budget = {kind, value};
    result = PlanResult();
    return planModel(model, statistics, options, result);
  }

  /// All plans with a format for each weight, and those of one format with a common circuit. Of a
  /// weight's formats without a circuit, also those that the planner left out are here: the
  /// candidates of one format have all of them.
  void collectTotals() {
    std::vector<std::vector<Total>> formats;
    for (auto [t, tensor] : llvm::enumerate(result.tensors)) {
      std::vector<Total> &own = formats.emplace_back();
      for (const TensorPlan &option : tensor.options)
        own.push_back({option.bytes, option.predictedLoss});
      for (const Candidate &candidate : result.candidates)
        if (candidate.format && candidate.circuit == 0)
          own.push_back({candidate.plan.tensors[t].bytes, candidate.plan.tensors[t].predictedLoss});
    }
    for (const Total &a : formats[0])
      for (const Total &b : formats[1])
        for (const Total &c : formats[2])
          totals.push_back({a.bytes + b.bytes + c.bytes, a.loss + b.loss + c.loss});
    for (const Candidate &candidate : result.candidates)
      if (candidate.format && candidate.circuit > 0)
        totals.push_back({candidate.bytes, candidate.predictedLoss});
    llvm::stable_sort(totals, [](const Total &a, const Total &b) { return a.bytes < b.bytes; });
  }

  double leastLoss(uint64_t bytes) const {
    double least = std::numeric_limits<double>::infinity();
    for (const Total &total : totals)
      if (total.bytes <= bytes)
        least = std::min(least, total.loss);
    return least;
  }

  /// The plan that was chosen, and that its numbers are those of its weights.
  const Candidate &chosen() const {
    const Candidate &candidate = result.candidates[result.chosen];
    Total sum;
    for (const TensorPlan &tensor : candidate.plan.tensors) {
      sum.bytes += tensor.bytes;
      sum.loss += tensor.predictedLoss;
    }
    EXPECT_EQ(sum.bytes, candidate.bytes);
    EXPECT_NEAR(sum.loss, candidate.predictedLoss, 1e-12);
    EXPECT_EQ(candidate.bitsPerWeight, double(candidate.bytes) * 8 / elements);
    return candidate;
  }

  /// Sizes of plans, from the smallest to the largest.
  std::vector<uint64_t> someSizes() const {
    std::vector<uint64_t> sizes;
    constexpr size_t count = 7;
    for (size_t i = 0; i <= count; ++i)
      sizes.push_back(totals[(totals.size() - 1) * i / count].bytes);
    return sizes;
  }

  MLIRContext context;
  ImportedModel model;
  Statistics statistics;
  PlannerOptions options;
  PlanResult result;
  std::vector<Total> totals; // by bytes
};

} // namespace

/// Also where a plan fills the budget to the byte, and where it is a byte too large.
TEST_P(PlannerTest, LosesLeastWithinBytes) {
  unsigned mixed = 0;
  for (uint64_t size : someSizes())
    for (uint64_t budget : {size, size - 1}) {
      if (budget < totals.front().bytes)
        continue;
      ASSERT_OK(plan(Budget::Kind::Bytes, double(budget)));
      EXPECT_LE(chosen().bytes, budget);
      EXPECT_NEAR(chosen().predictedLoss, leastLoss(budget), 1e-12) << budget;
      mixed += !chosen().format;
    }
  EXPECT_GT(mixed, 6u); // else this says little
}

TEST_P(PlannerTest, LosesLeastWithinBitsPerWeight) {
  for (uint64_t budget : someSizes()) {
    ASSERT_OK(plan(Budget::Kind::BitsPerWeight, double(budget) * 8 / elements));
    EXPECT_LE(chosen().bytes, budget);
    EXPECT_NEAR(chosen().predictedLoss, leastLoss(budget), 1e-12) << budget;
  }
}

TEST_P(PlannerTest, IsTheSmallestWithinALoss) {
  std::set<uint64_t> sizes;
  for (uint64_t size : someSizes()) {
    // Apart from the loss of any plan, which a rounding could push over it.
    double tolerated = 1.0001 * leastLoss(size) + 1e-9;
    uint64_t smallest = totals.back().bytes;
    for (const Total &total : totals)
      if (total.loss <= tolerated)
        smallest = std::min(smallest, total.bytes);
    ASSERT_OK(plan(Budget::Kind::LossIncrease, tolerated / statistics.meanLoss()));
    EXPECT_EQ(chosen().bytes, smallest) << tolerated;
    EXPECT_LE(chosen().predictedLoss, tolerated);
    sizes.insert(smallest);
  }
  EXPECT_GT(sizes.size(), 4u);
}

TEST_P(PlannerTest, NothingIsSmallerThanTheSmallest) {
  ASSERT_OK(plan(Budget::Kind::Bytes, double(totals.front().bytes)));
  Error error = plan(Budget::Kind::Bytes, double(totals.front().bytes - 1));
  EXPECT_EQ(error.code(), TACQ_INVALID_ARGUMENT);
  EXPECT_NE(error.message().find("takes " + std::to_string(totals.front().bytes) + " bytes"),
            std::string::npos)
      << error.message();
}

/// All of it, whatever computes it.
TEST_P(PlannerTest, IsTheSameWithAnyThreads) {
  auto numbers = [this] {
    std::vector<std::tuple<uint64_t, double, std::vector<double>>> all;
    for (const Candidate &candidate : result.candidates) {
      std::vector<double> tensors;
      for (const TensorPlan &tensor : candidate.plan.tensors)
        for (double value :
             {double(tensor.bits), double(tensor.group), double(tensor.codebook),
              tensor.circuit.value_or(-1), double(tensor.bytes), tensor.predictedLoss})
          tensors.push_back(value);
      all.emplace_back(candidate.bytes, candidate.predictedLoss, std::move(tensors));
    }
    return std::pair(result.chosen, std::move(all));
  };
  std::optional<decltype(numbers())> first;
  for (unsigned threads : {1, 2, 3, 2}) {
    options.threads = threads;
    ASSERT_OK(plan(Budget::Kind::BitsPerWeight, 2.6));
    if (first)
      EXPECT_EQ(numbers(), *first) << threads;
    else
      first = numbers();
  }
}

INSTANTIATE_TEST_SUITE_P(Layouts, PlannerTest,
                         ::testing::Values(WeightFormat::Circuit::None,
                                           WeightFormat::Circuit::Slots),
                         [](const auto &info) { return circuitLayoutName(info.param); });
