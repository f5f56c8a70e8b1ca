//===- VulkanModule.cpp - Compiles a graph for a device and runs it -------===//

#include "VulkanModule.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/CPU/Passes.h"
#include "tacq/ModuleView.h"
#include "tacq/Register.h"
#include "tacq/Schedule/Passes.h"
#include <cmath>

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

void test::good(tacq_status_t *status) {
  EXPECT_EQ(status, nullptr) << tacq_status_message(status);
  tacq_status_free(status);
}

void test::roundRow(double *row, int64_t columns, int64_t block, int64_t planes) {
  for (int64_t first = 0; first < columns; first += block) {
    double largest = 0;
    int64_t end = std::min(columns, first + block);
    for (int64_t k = first; k < end; ++k)
      largest = std::max(largest, std::fabs(row[k]));
    for (int64_t k = first; k < end && largest > 0; ++k) {
      double steps = row[k] * (127 / largest), rounded = std::nearbyint(steps);
      if (planes > 1)
        rounded += std::nearbyint(254 * (steps - rounded)) / 254;
      row[k] = rounded * (largest / 127);
    }
  }
}

VulkanModule::VulkanModule() {
  DialectRegistry registry;
  registerAllDialects(registry);
  context.appendDialectRegistry(registry);
  context.loadAllAvailableDialects();
}

VulkanModule::~VulkanModule() {
  tacq_device_release(device);
  tacq_runtime_release(runtime);
  if (!folder.empty())
    EXPECT_FALSE(llvm::sys::fs::remove_directories(folder));
}

void VulkanModule::SetUp() {
  good(tacq_runtime_create(nullptr, &runtime));
  if (tacq_status_t *status = tacq_device_open(runtime, "vulkan:0", &device)) {
    std::string message = tacq_status_message(status);
    tacq_status_free(status);
    GTEST_SKIP() << message;
  }
  ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tacq-vulkan", folder));
  path = (folder + "/m.tacq").str();
}

std::string VulkanModule::typeText(const MixedWeight &weight) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << cpuMixedType(&context, weight);
  return text;
}

std::string VulkanModule::deviceProfile() {
  const char *name = getenv("TACQ_TEST_PROFILE");
  return name ? name : "lavapipe";
}

bool VulkanModule::hasMatrices() {
  MLIRContext own;
  own.loadDialect<TACQDialect>();
  return vulkanProfile(&own, deviceProfile()).has("matrix16");
}

void VulkanModule::emit(const std::string &text, const std::string &profile,
                        const ParameterStore &parameters,
                        const llvm::StringMap<MixedWeight> &weights) {
  auto module = parseSourceString<ModuleOp>(text, &context);
  ASSERT_TRUE(module);
  PassManager passes(&context);
  passes.addPass(createPackWeights({activations}));
  passes.addPass(createFormDispatches({/*fuseRows=*/true, repeatsRows}));
  passes.addPass(createPlanSchedule());
  ASSERT_TRUE(succeeded(passes.run(*module)));
  ModuleTargets targets;
  targets.vulkan.push_back(vulkanProfile(&context, profile));
  Error error = emitModule(*module, targets, parameters, "m.onnx", path, &weights);
  ASSERT_FALSE(error) << error.message();
}

std::vector<std::vector<float>> VulkanModule::run(ArrayRef<InputTensor> inputs,
                                                  std::vector<size_t> outputs) {
  tacq_module_t *module = nullptr;
  tacq_session_t *session = nullptr;
  std::vector<std::vector<float>> result;
  good(tacq_module_open(runtime, path.c_str(), nullptr, &module));
  good(tacq_session_create(module, device, nullptr, &session));
  for (auto [i, input] : llvm::enumerate(inputs))
    good(tacq_session_set_input_data(session, i, input.type, input.dims.data(), input.dims.size(),
                                     input.data, input.bytes));
  good(tacq_session_run(session));
  for (auto [i, count] : llvm::enumerate(outputs)) {
    std::vector<float> &output = result.emplace_back(count);
    good(tacq_session_copy_output(session, i, output.data(), count * sizeof(float)));
  }
  tacq_session_release(session);
  tacq_module_release(module);
  return result;
}

std::vector<std::string> VulkanModule::features() {
  std::unique_ptr<ModuleView> view;
  Error error = ModuleView::open(path, {}, view);
  EXPECT_FALSE(error) << error.message();
  std::vector<std::string> result;
  for (const auto *feature : *view->metadata().executables()->Get(0)->features())
    result.push_back(feature->str());
  return result;
}
