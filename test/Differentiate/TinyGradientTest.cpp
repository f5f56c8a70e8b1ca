//===- TinyGradientTest.cpp - Gradients of the embedded language model ----===//

#include "CompiledGraph.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/Ops/Passes.h"
#include "gtest/gtest.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

namespace {

constexpr int64_t batch = 2, length = 40;

/// The embedded model up to its named operations.
struct TinyModel {
  std::unique_ptr<MLIRContext> context = makeContext();
  ImportedModel model;

  Error load() {
    if (Error error =
            importOnnx(TACQ_MODELS "/tiny/dynamo_plain_opset23.onnx", *context, {}, model))
      return error;
    PassManager manager(context.get());
    manager.addNestedPass<func::FuncOp>(createInferShapes());
    GraphPipelineOptions options;
    options.parameters = &model.parameters;
    buildGraphPipeline(manager, options);
    if (mlir::failed(manager.run(*model.module)))
      return Error(TACQ_INTERNAL, "the graph passes failed");
    return Error();
  }

  /// Compiles a copy of it after these passes; returns the attribute tacq.taps, if there is one.
  ArrayAttr compile(const std::string &passes, CompiledGraph &graph) {
    OwningOpRef<ModuleOp> copy(cast<ModuleOp>(model.module->clone()));
    Error error = runPasses(*copy, passes);
    auto taps = copy->lookupSymbol<func::FuncOp>("main")->getAttrOfType<ArrayAttr>("tacq.taps");
    if (!error)
      error = CompiledGraph::compile(*copy, model.parameters, graph);
    EXPECT_FALSE(error) << error.message();
    return taps;
  }
};

std::map<std::string, Array> makeInputs() {
  Array tokens, labels;
  tokens.dims = labels.dims = {batch, length};
  const std::string text =
      "Ann has 12 apples and eats 5 of them. How many does she have left? 12 - 5 "
      "= 7. The answer is 7.";
  for (int64_t i = 0; i < batch * length; ++i) {
    tokens.integers.push_back(text[i % text.size()]);
    // A part of the positions does not count.
    labels.integers.push_back(i % 5 == 3 ? -100 : tokens.integers.back());
  }
  return {{"input_ids", tokens}, {"labels", labels}};
}

double lossOf(CompiledGraph &graph) {
  Array loss;
  Error error = graph.output("loss", loss);
  EXPECT_FALSE(error) << error.message();
  return error ? NAN : loss.reals[0];
}

/// ∂L/∂W = dYᵀ X, as the parameter holds it.
std::vector<double> gradientOfTap(CompiledGraph &graph, DictionaryAttr tap) {
  auto text = [&](StringRef name) { return tap.getAs<StringAttr>(name).getValue().str(); };
  Array x, dy;
  for (auto [name, array] : {std::pair{"input", &x}, {"output_gradient", &dy}}) {
    Error error = graph.output(text(name), *array);
    EXPECT_FALSE(error) << error.message();
  }
  int64_t rows = tap.getAs<IntegerAttr>("rows").getInt();
  int64_t columns = tap.getAs<IntegerAttr>("columns").getInt();
  EXPECT_EQ(x.dims, (std::vector<int64_t>{batch * length, columns}));
  EXPECT_EQ(dy.dims, (std::vector<int64_t>{batch * length, rows}));
  bool rowsFirst = text("order") == "nk";
  std::vector<double> gradient(rows * columns);
  for (int64_t i = 0; i < batch * length; ++i)
    for (int64_t n = 0; n < rows; ++n)
      for (int64_t k = 0; k < columns; ++k)
        gradient[rowsFirst ? n * columns + k : k * rows + n] +=
            double(dy.reals[i * rows + n]) * x.reals[i * columns + k];
  return gradient;
}

double norm(const std::vector<double> &vector) {
  double sum = 0;
  for (double element : vector)
    sum += element * element;
  return std::sqrt(sum);
}

class TinyGradient : public ::testing::Test {
protected:
  void SetUp() override {
    Error error = tiny.load();
    ASSERT_FALSE(error) << error.message();
    taps = tiny.compile("tacq-append-loss,tacq-differentiate{taps}", tapped);
    ASSERT_TRUE(taps);
    error = tapped.run(inputs);
    ASSERT_FALSE(error) << error.message();
  }

  TinyModel tiny;
  CompiledGraph tapped;
  ArrayAttr taps;
  std::map<std::string, Array> inputs = makeInputs();
};

/// The gradient that the module computes is that of the taps; in f32, over 80 rows.
TEST_F(TinyGradient, TapsGiveTheGradientsOfWeights) {
  CompiledGraph direct;
  tiny.compile("tacq-append-loss,tacq-differentiate", direct);
  Error error = direct.run(inputs);
  ASSERT_FALSE(error) << error.message();
  EXPECT_EQ(lossOf(direct), lossOf(tapped));
  ASSERT_EQ(taps.size(), 43u);
  for (auto tap : taps.getAsRange<DictionaryAttr>()) {
    std::string name = tap.getAs<StringAttr>("parameter").getValue().str();
    // Its matrix is the embedding as well, which is no part of a tap.
    if (name == "m.lm_head.weight")
      continue;
    std::vector<double> expected = gradientOfTap(tapped, tap);
    Array gradient;
    error = direct.output("gradient:" + name, gradient);
    ASSERT_FALSE(error) << error.message();
    std::vector<double> difference;
    for (size_t i = 0; i < expected.size(); ++i)
      difference.push_back(gradient.reals[i] - expected[i]);
    EXPECT_LT(norm(difference), 1e-5 * norm(expected)) << name;
  }
}

/// Central differences of the loss along the gradient of each layer. A step changes the loss by
/// about 2e-3 of the gradient's norm, which rounding of the loss (1e-7) disturbs by less than 1 %.
TEST_F(TinyGradient, AgreesWithDifferencesOfTheLoss) {
  for (const char *name : {"linear.weight", "linear_15.weight", "linear_39.weight"}) {
    DictionaryAttr found;
    for (auto tap : taps.getAsRange<DictionaryAttr>())
      if (tap.getAs<StringAttr>("parameter").getValue() == name)
        found = tap;
    ASSERT_TRUE(found) << name;
    std::vector<double> gradient = gradientOfTap(tapped, found);
    double length = norm(gradient), step = 0.02;
    ArrayRef<char> original = tiny.model.parameters.bytes(name);
    double losses[2];
    for (int side = 0; side < 2; ++side) {
      std::vector<float> weights(gradient.size());
      std::memcpy(weights.data(), original.data(), original.size());
      for (size_t i = 0; i < weights.size(); ++i)
        weights[i] += float((side ? -step : step) * gradient[i] / length);
      std::vector<char> bytes(original.size());
      std::memcpy(bytes.data(), weights.data(), bytes.size());
      tiny.model.parameters.add(name, tiny.model.parameters.own(std::move(bytes)));
      CompiledGraph moved;
      tiny.compile("tacq-append-loss", moved);
      Error error = moved.run(inputs);
      ASSERT_FALSE(error) << error.message();
      losses[side] = lossOf(moved);
    }
    tiny.model.parameters.add(name, original);
    EXPECT_NEAR((losses[0] - losses[1]) / (2 * step), length, 0.02 * length) << name;
  }
}

TEST_F(TinyGradient, LabelsThatAreAllIgnoredGiveZeros) {
  std::vector<int64_t> &labels = inputs.at("labels").integers;
  labels.assign(labels.size(), -100);
  Error error = tapped.run(inputs);
  ASSERT_FALSE(error) << error.message();
  EXPECT_EQ(lossOf(tapped), 0);
  for (auto tap : taps.getAsRange<DictionaryAttr>()) {
    Array gradient;
    error = tapped.output(tap.getAs<StringAttr>("output_gradient").getValue().str(), gradient);
    ASSERT_FALSE(error) << error.message();
    for (float element : gradient.reals)
      ASSERT_EQ(element, 0);
  }
}

} // namespace
