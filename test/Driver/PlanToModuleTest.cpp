//===- PlanToModuleTest.cpp - What is quantized is what is stored ---------===//
//
// The embedded model with made-up statistics: weights decoded from the module file by tacq-dump
// equal those of the quantizer bit for bit, and the circuit is where the quantizer has put it.
//
//===----------------------------------------------------------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/Compile.h"
#include "tacq/Half.h"
#include "tacq/Npy.h"
#include "tacq/Ops/Inference.h"
#include "tacq/Quantize/QuantizeModel.h"
#include "tacq/Register.h"
#include "llvm/Support/FileSystem.h"
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace tacq;
using Circuit = WeightFormat::Circuit;

namespace {

struct Form {
  const char *name;
  unsigned bits;
  int64_t group;
  bool codebook;
  Circuit circuit;
  CircuitSource values;
};

std::ostream &operator<<(std::ostream &os, const Form &form) { return os << form.name; }

class PlanToModule : public testing::TestWithParam<Form> {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tacq-plan", folder));
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
    Error error = calibrationGraph(path, context, graph);
    ASSERT_FALSE(error) << error.message();
    makeStatistics();
  }
  void TearDown() override { EXPECT_FALSE(llvm::sys::fs::remove_directories(folder)); }

  /// Gradients with heavy tails and Hessians of random inputs.
  void makeStatistics();
  /// The weight as the linear operation uses it, [N, K].
  std::vector<float> original(StringRef name);

  const std::string path = TACQ_SOURCE "/models/tiny/dynamo_past_opset18.onnx";
  MLIRContext context{MLIRContext::Threading::DISABLED};
  SmallString<128> folder;
  ImportedModel graph;
  Statistics statistics;
  llvm::StringMap<LinearOp> linears;
};

void PlanToModule::makeStatistics() {
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  graph.module->walk([&](LinearOp linear) {
    auto get = linear.getWeights()[0].getDefiningOp<GetParamOp>();
    linears[get.getParam()] = linear;
    TensorStatistics tensor;
    tensor.name = get.getParam().str();
    tensor.rows = *dimsOf(linear.getResults()[0])->back().constant();
    tensor.columns = *dimsOf(linear.getX())->back().constant();
    tensor.input = statistics.inputs.size();
    tensor.gradient = StatisticsSum::zeros(tensor.rows * tensor.columns);
    for (double &value : tensor.gradient.mutableValues())
      value = std::exp(2 * normal(random));
    InputStatistics input;
    input.columns = tensor.columns;
    input.tokens = 64;
    input.hessian = StatisticsSum::zeros(tensor.columns * (tensor.columns + 1) / 2);
    std::vector<double> x(tensor.columns);
    for (uint64_t token = 0; token < input.tokens; ++token) {
      for (double &value : x)
        value = normal(random);
      double *sum = input.hessian.mutableValues().data();
      for (int64_t i = 0; i < tensor.columns; ++i)
        for (int64_t j = 0; j <= i; ++j)
          *sum++ += x[i] * x[j];
    }
    statistics.tensors.push_back(std::move(tensor));
    statistics.inputs.push_back(std::move(input));
  });
}

std::vector<float> PlanToModule::original(StringRef name) {
  LinearOp linear = linears[name];
  ArrayRef<char> bytes = graph.parameters.bytes(name);
  std::vector<float> stored(bytes.size() / sizeof(float));
  std::memcpy(stored.data(), bytes.data(), bytes.size());
  auto order = WeightOrder(cast<IntegerAttr>(linear.getWeightOrder()[0]).getInt());
  if (order == WeightOrder::NK)
    return stored;
  int64_t n = *dimsOf(linear.getResults()[0])->back().constant(), k = stored.size() / n;
  std::vector<float> turned(stored.size());
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < n; ++j)
      turned[j * k + i] = stored[i * n + j];
  return turned;
}

std::vector<int64_t> positionsOf(const MixedWeight &weight) {
  std::vector<int64_t> positions;
  for (int64_t row = 0; row < weight.rows; ++row)
    for (uint32_t i = weight.starts[row]; i < weight.starts[row + 1]; ++i)
      // A slot that holds +0 reads like one that its row does not need.
      if (weight.format.circuit == Circuit::Scattered || weight.values[i] != 0)
        positions.push_back(row * weight.columns + weight.positions[i]);
  return positions;
}

/// What the circuit stores, [rows, columns]; 0 elsewhere.
std::vector<float> keptBy(const MixedWeight &weight) {
  std::vector<float> kept(weight.rows * weight.columns);
  for (int64_t row = 0; row < weight.rows; ++row)
    for (uint32_t i = weight.starts[row]; i < weight.starts[row + 1]; ++i)
      kept[row * weight.columns + weight.positions[i]] = floatFromHalf(weight.values[i]);
  return kept;
}

TEST_P(PlanToModule, StoresTheQuantizersOutput) {
  const Form &form = GetParam();
  llvm::StringMap<MixedWeight> made;
  CompileOptions options;
  options.output = (folder + "/m.tacq").str();
  options.narrowDense = true;
  options.quantize = [&](QuantizedModel &quantized) {
    llvm::StringMap<MixedWeight> &weights = quantized.weights;
    QuantizeModelOptions quantization;
    quantization.plan.circuitLayout = form.circuit;
    quantization.plan.circuit = form.circuit == Circuit::None ? 0 : 0.0035;
    TensorPlan format;
    format.bits = form.bits;
    format.group = form.group;
    format.codebook = form.codebook;
    quantization.plan.tensors = planAlike(*graph.module, format);
    quantization.gptq.circuitValues = form.values;
    quantization.gptq.clip.steps = 4;
    quantization.statistics = &statistics;
    Error error = quantizeModel(graph, quantization, weights);
    made = weights;
    return error;
  };
  std::map<std::string, std::vector<float>> originals;
  for (const std::string &name : quantizableWeights(*graph.module))
    originals[name] = original(name);
  Error error = compileModel(path, options);
  ASSERT_FALSE(error) << error.message();
  std::string decoded = (folder + "/decoded").str();
  std::string command =
      std::string(TACQ_DUMP) + " " + options.output + " --decode " + decoded + " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);

  ASSERT_EQ(made.size(), originals.size());
  uint64_t entries = 0;
  for (const auto &item : made) {
    SCOPED_TRACE(item.first().str());
    const MixedWeight &weight = item.second;
    NpyArray array;
    error = readNpy(decoded + "/" + item.first().str() + ".npy", array);
    ASSERT_FALSE(error) << error.message();
    EXPECT_EQ(array.dims(), (std::vector<int64_t>{weight.rows, weight.columns}));
    std::vector<float> expected = weight.decode();
    ASSERT_EQ(size_t(array.elementCount()), expected.size());
    EXPECT_EQ(std::memcmp(array.data(), expected.data(), array.size()), 0);
    std::vector<int64_t> positions;
    if (!weight.starts.empty())
      positions = positionsOf(weight);
    entries += positions.size();
    if (positions.empty())
      continue;
    NpyArray circuit;
    error = readNpy(decoded + "/circuit/" + item.first().str() + ".npy", circuit);
    ASSERT_FALSE(error) << error.message();
    EXPECT_EQ(
        std::vector<int64_t>(circuit.as<int64_t>(), circuit.as<int64_t>() + circuit.elementCount()),
        positions);
    if (form.values != CircuitSource::Original)
      continue;
    std::vector<float> kept = keptBy(weight);
    for (int64_t at : positions) {
      float value = originals[item.first().str()][at];
      if (!form.codebook) {
        ASSERT_EQ(array.as<float>()[at], floatFromHalf(halfFromFloat(value)));
        continue;
      }
      // The original is rounded to fp16, and so is its difference to the level.
      ASSERT_NEAR(array.as<float>()[at], value,
                  1.001f * (std::fabs(value) + std::fabs(kept[at])) / 2048 + 6e-8f);
    }
  }
  EXPECT_EQ(entries == 0, form.circuit == Circuit::None);
}

INSTANTIATE_TEST_SUITE_P(
    Forms, PlanToModule,
    testing::Values(Form{"Plain3", 3, 0, false, Circuit::None, CircuitSource::Compensated},
                    Form{"Scattered2", 2, 0, false, Circuit::Scattered, CircuitSource::Compensated},
                    Form{"Slots2", 2, 64, false, Circuit::Slots, CircuitSource::Original},
                    Form{"Uniform4", 4, 128, false, Circuit::Uniform, CircuitSource::Original},
                    Form{"CodebookSlots2", 2, 0, true, Circuit::Slots, CircuitSource::Compensated},
                    Form{"CodebookOriginal2", 2, 0, true, Circuit::Slots, CircuitSource::Original}),
    [](const auto &info) { return info.param.name; });

} // namespace
