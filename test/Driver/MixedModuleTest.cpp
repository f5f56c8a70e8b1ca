//===- MixedModuleTest.cpp - Mixed-precision weights in a module ----------===//
//
// From a graph with quantized weights to a module file that the runtime executes. What it computes
// is compared with products in double of the decoded weights with inputs that are rounded as
// tacq.quantize_rows says; what is left is the rounding of sums in f32, 1e-4 of the result.
//
//===----------------------------------------------------------------------===//

#include "../../compiler/lib/Module/ModuleEmitter.h"
#include "../CPU/RandomMixedWeight.h"
#include "VulkanModule.h"
#include "mlir/AsmParser/AsmParser.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/Passes.h"
#include "tacq/ModuleView.h"
#include "tacq/Register.h"
#include "tacq/Schedule/Passes.h"
#include "tacq/runtime.h"
#include "llvm/Support/FileSystem.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;
using Circuit = WeightFormat::Circuit;

namespace {

class MixedModule : public testing::Test {
protected:
  MixedModule() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tacq-mixed", folder));
    path = (folder + "/m.tacq").str();
  }
  void TearDown() override { EXPECT_FALSE(llvm::sys::fs::remove_directories(folder)); }

  std::string typeText(const MixedWeight &weight) {
    std::string text;
    llvm::raw_string_ostream stream(text);
    stream << cpuMixedType(&context, weight);
    return text;
  }
  /// Compiles the text for this machine, and for a profile if there is one.
  Error emit(const std::string &text, const ParameterStore &parameters,
             const llvm::StringMap<MixedWeight> &weights, VulkanProfileAttr profile = {}) {
    auto module = parseSourceString<ModuleOp>(text, &context);
    PassManager passes(&context);
    passes.addPass(createPackWeights({/*activations=*/"int8"}));
    passes.addPass(createFormDispatches());
    passes.addPass(createPlanSchedule());
    if (!module || failed(passes.run(*module)))
      return Error(TACQ_INTERNAL, "the graph is not compiled");
    ModuleTargets targets = {{*parseCpuTarget("host")}, {}};
    if (profile)
      targets.vulkan.push_back(profile);
    return emitModule(*module, targets, parameters, "m.onnx", path, &weights);
  }
  std::vector<float> run(const std::vector<float> &x, std::vector<int64_t> dims, size_t outputs);

  MLIRContext context{MLIRContext::Threading::DISABLED};
  SmallString<128> folder;
  std::string path;
};

std::vector<float> MixedModule::run(const std::vector<float> &x, std::vector<int64_t> dims,
                                    size_t outputs) {
  auto good = [](tacq_status_t *status) {
    EXPECT_EQ(status, nullptr) << tacq_status_message(status);
    tacq_status_free(status);
  };
  tacq_runtime_t *runtime = nullptr;
  tacq_device_t *device = nullptr;
  tacq_module_t *module = nullptr;
  tacq_session_t *session = nullptr;
  std::vector<float> y(outputs);
  good(tacq_runtime_create(nullptr, &runtime));
  good(tacq_device_open(runtime, "cpu:threads=2", &device));
  good(tacq_module_open(runtime, path.c_str(), nullptr, &module));
  good(tacq_session_create(module, device, nullptr, &session));
  good(tacq_session_set_input_data(session, 0, TACQ_F32, dims.data(), dims.size(), x.data(),
                                   x.size() * sizeof(float)));
  good(tacq_session_run(session));
  good(tacq_session_copy_output(session, 0, y.data(), y.size() * sizeof(float)));
  tacq_session_release(session);
  tacq_module_release(module);
  tacq_device_release(device);
  tacq_runtime_release(runtime);
  return y;
}

/// gate and up, sorted each in its own way, then down, stored in the other order of its axes.
TEST_F(MixedModule, RunsAndAccountsForItsBytes) {
  constexpr int64_t columns = 200, hidden = 72, rows = 3;
  llvm::StringMap<MixedWeight> weights;
  weights["gate"] = randomMixedWeight(hidden, columns, {2, 64, false, Circuit::Slots}, 0.02, 1);
  weights["up"] = randomMixedWeight(hidden, columns, {3, 0, true, Circuit::Slots}, 0.01, 2);
  weights["down"] = randomMixedWeight(columns, hidden, {4, 0, false, Circuit::Scattered}, 0.01, 3);
  std::string gate = typeText(weights["gate"]), up = typeText(weights["up"]),
              down = typeText(weights["down"]);
  std::string x = R"(tensor<?x200xf32, #tacq.shape<["rows", "200"]>>)";
  std::string h = R"(tensor<?x72xf32, #tacq.shape<["rows", "72"]>>)";
  std::string text = R"(
    tacq.param @gate : tensor<72x200xf32> from <"w.bin", 0, 57600>
    tacq.param @up : tensor<72x200xf32> from <"w.bin", 0, 57600>
    tacq.param @down : tensor<72x200xf32> from <"w.bin", 0, 57600>
    func.func @main(%x: )" +
                     x + R"( {tacq.name = "x"}) -> ()" + x + R"( {tacq.name = "y"}) {
      %gate = tacq.get_param @gate : )" +
                     gate + "\n%up = tacq.get_param @up : " + up +
                     "\n%down = tacq.get_param @down : " + down + R"(
      %h = tacq.linear %x, weights(%gate, %up) {weight_order = [0 : i32, 0 : i32], gated,
        activation = 1 : i32, node_name = "h"} : ()" +
                     x + ", " + gate + ", " + up + ") -> " + h + R"(
      %y = tacq.linear %h, weights(%down) residual(%x) {weight_order = [0 : i32],
        node_name = "y"} : ()" +
                     h + ", " + down + ", " + x + ") -> " + x + "\nreturn %y : " + x + "\n}";
  Error error = emit(text, ParameterStore(), weights);
  ASSERT_FALSE(error) << error.message();

  std::unique_ptr<ModuleView> view;
  error = ModuleView::open(path, {}, view);
  ASSERT_FALSE(error) << error.message();
  ASSERT_EQ(sizeOf(view->metadata().tensors()), 3u);
  for (const format::TensorInfo *info : *view->metadata().tensors()) {
    SCOPED_TRACE(textOf(info->name()));
    const MixedWeight &weight = weights[textOf(info->name())];
    EXPECT_STREQ(textOf(info->scheme()), "mixed");
    EXPECT_EQ(info->bits(), weight.format.bits);
    EXPECT_EQ(info->circuit_count(), weight.circuitEntries());
    EXPECT_EQ(info->shape()->Get(0), 72);
    uint64_t bytes = 0;
    for (const format::TensorPart *part : *info->parts())
      bytes += part->bytes();
    const format::Constant &constant =
        *view->metadata().constants()->Get(info->parts()->Get(0)->constant());
    EXPECT_EQ(bytes, constant.size());
    // The texts of type and layout are all that a reader needs.
    auto type = cast<MixedType>(parseType(textOf(info->type()), &context));
    auto layout = cast<LayoutAttr>(parseAttribute(textOf(info->layout()), &context));
    MixedWeight back;
    error = unpackMixedWeight({view->bytes(constant), size_t(constant.size())}, type, layout, back);
    ASSERT_FALSE(error) << error.message();
    EXPECT_EQ(back.codes, weight.codes);
    EXPECT_EQ(back.positions, weight.positions);
    EXPECT_EQ(back.values, weight.values);
    EXPECT_EQ(back.order, weight.order);
  }

  std::mt19937 random(5);
  std::vector<float> input(rows * columns);
  for (float &number : input)
    number = float(int(random() % 2001) - 1000) / 5000;
  std::vector<float> y = run(input, {rows, columns}, rows * columns);
  std::vector<double> w[] = {decodeReference(weights["gate"]), decodeReference(weights["up"]),
                             decodeReference(weights["down"])};
  double difference = 0, norm = 0;
  for (int64_t row = 0; row < rows; ++row) {
    std::vector<double> products(hidden);
    std::vector<double> rounded(input.begin() + row * columns, input.begin() + (row + 1) * columns);
    // The groups of gate have 64 columns.
    roundRow(rounded.data(), columns, 64);
    for (int64_t n = 0; n < hidden; ++n) {
      double gated = 0, other = 0;
      for (int64_t k = 0; k < columns; ++k) {
        gated += w[0][n * columns + k] * rounded[k];
        other += w[1][n * columns + k] * rounded[k];
      }
      products[n] = gated / (1 + std::exp(-gated)) * other;
    }
    roundRow(products.data(), hidden, quantizedColumns);
    for (int64_t n = 0; n < columns; ++n) {
      double expected = input[row * columns + n];
      for (int64_t k = 0; k < hidden; ++k)
        expected += w[2][n * hidden + k] * products[k];
      double actual = y[row * columns + n];
      difference += (actual - expected) * (actual - expected);
      norm += expected * expected;
    }
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-4);
}

/// What shaders decode weights to is no memory of runs on the CPU.
TEST_F(MixedModule, WorkspaceOfShaders) {
  llvm::StringMap<MixedWeight> weights;
  weights["w"] = randomMixedWeight(128, 128, {2, 0, false, Circuit::None}, 0, 1);
  std::string type = typeText(weights["w"]);
  std::string x = R"(tensor<?x128xf32, #tacq.shape<["rows", "128"]>>)";
  std::string text = R"(
    tacq.param @w : tensor<128x128xf32> from <"w.bin", 0, 0>
    func.func @main(%x: )" +
                     x + R"( {tacq.name = "x"}) -> ()" + x + R"( {tacq.name = "y"}) {
      %w = tacq.get_param @w : )" +
                     type + R"(
      %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"} : ()" +
                     x + ", " + type + ") -> " + x + "\nreturn %y : " + x + "\n}";
  Error error = emit(text, ParameterStore(), weights, vulkanProfile(&context, "nvidia-hopper"));
  ASSERT_FALSE(error) << error.message();
  std::unique_ptr<ModuleView> view;
  error = ModuleView::open(path, {}, view);
  ASSERT_FALSE(error) << error.message();
  for (const format::Executable *executable : *view->metadata().executables())
    EXPECT_EQ(sizeOf(executable->unused_slots()), executable->driver()->str() == "cpu" ? 1u : 0u);
  std::vector<float> input(100 * 128, 1), y = run(input, {100, 128}, input.size());
  std::vector<double> decoded = decodeReference(weights["w"]);
  for (int64_t n = 0; n < 128; ++n) {
    double expected =
        std::accumulate(&decoded[size_t(n * 128)], &decoded[size_t(n * 128)] + 128, 0.0);
    EXPECT_NEAR(y[size_t(n)], expected, 1e-3);
    EXPECT_NEAR(y[size_t(99 * 128 + n)], expected, 1e-3);
  }
}

TEST_F(MixedModule, WeightWithoutValues) {
  MixedWeight weight = randomMixedWeight(16, 128, {2, 0, false, Circuit::None}, 0, 1);
  std::string type = typeText(weight);
  std::string text = R"(
    tacq.param @w : tensor<16x128xf32> from <"w.bin", 0, 8192>
    func.func @main(%x: tensor<1x128xf32>) -> tensor<1x16xf32> {
      %w = tacq.get_param @w : )" +
                     type + R"(
      %y = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "y"}
        : (tensor<1x128xf32>, )" +
                     type + R"() -> tensor<1x16xf32>
      return %y : tensor<1x16xf32>
    })";
  EXPECT_EQ(emit(text, ParameterStore(), {}).message(),
            "'m.onnx': there are no quantized values for the weight 'w'");
}

/// A parameter that is packed in panels in both orders of its axes is two constants.
TEST_F(MixedModule, BothOrdersOfADenseWeight) {
  std::vector<char> bytes(4 * 4 * sizeof(float));
  auto *numbers = reinterpret_cast<float *>(bytes.data());
  for (int i = 0; i < 16; ++i)
    numbers[i] = float(i);
  ParameterStore parameters;
  parameters.add("w", parameters.own(bytes));
  std::string text = R"(
    tacq.param @w : tensor<4x4xf32> from <"w.bin", 0, 64>
    func.func @main(%x: tensor<1x4xf32> {tacq.name = "x"})
        -> (tensor<1x4xf32> {tacq.name = "y"}) {
      %w = tacq.get_param @w : tensor<4x4xf32>
      %h = tacq.linear %x, weights(%w) {weight_order = [0 : i32], node_name = "h"}
        : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
      %y = tacq.linear %h, weights(%w) {weight_order = [1 : i32], node_name = "y"}
        : (tensor<1x4xf32>, tensor<4x4xf32>) -> tensor<1x4xf32>
      return %y : tensor<1x4xf32>
    })";
  Error error = emit(text, parameters, {});
  ASSERT_FALSE(error) << error.message();
  // x = e1 gives column 1 of w, 1 5 9 13; times w that is 1 * row 0 + 5 * row 1 + …
  std::vector<float> y = run({0, 1, 0, 0}, {1, 4}, 4);
  EXPECT_EQ(y, (std::vector<float>{248, 276, 304, 332}));
}

} // namespace
