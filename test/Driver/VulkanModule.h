//===- VulkanModule.h - Compiles a graph for a device and runs it -*- C++ -*-===//

#ifndef TACQ_TEST_DRIVER_VULKANMODULE_H
#define TACQ_TEST_DRIVER_VULKANMODULE_H

#include "../../compiler/lib/Module/ModuleEmitter.h"
#include "../CPU/RandomMixedWeight.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/runtime.h"
#include "llvm/Support/FileSystem.h"
#include <gtest/gtest.h>

namespace tacq::test {

/// A tensor that goes into a module, in its order of inputs.
struct InputTensor {
  tacq_element_type_t type;
  std::vector<int64_t> dims;
  const void *data;
  size_t bytes;
};

template <typename T>
InputTensor inputOf(tacq_element_type_t type, std::vector<int64_t> dims,
                    const std::vector<T> &data) {
  return {type, std::move(dims), data.data(), data.size() * sizeof(T)};
}

/// Tests that run on the device vulkan:0, and are skipped where there is none. Modules are compiled
/// for the software device, or for what the variable TACQ_TEST_PROFILE names.
class VulkanModule : public testing::Test {
protected:
  VulkanModule();
  ~VulkanModule() override;
  void SetUp() override;

  std::string typeText(const MixedWeight &weight);
  static std::string deviceProfile();
  /// Whether products of many rows are those of f16 numbers.
  static bool hasMatrices();
  /// Compiles the text, a module with @main, for a profile.
  void emit(const std::string &text, const std::string &profile,
            const ParameterStore &parameters = ParameterStore(),
            const llvm::StringMap<MixedWeight> &weights = {});
  /// The outputs' bytes, of f32 numbers.
  std::vector<std::vector<float>> run(llvm::ArrayRef<InputTensor> inputs,
                                      std::vector<size_t> outputs);
  /// What the first executable of the module asks of a device.
  std::vector<std::string> features();

  mlir::MLIRContext context{mlir::MLIRContext::Threading::DISABLED};
  llvm::SmallString<128> folder;
  std::string path, activations = "int8";
  bool repeatsRows = false; // in the kernels of products, as tacq-compile does for shaders
  tacq_runtime_t *runtime = nullptr;
  tacq_device_t *device = nullptr;
};

/// Fails the test with the status' message.
void good(tacq_status_t *status);

/// What tacq.quantize_rows makes of a row with integers of 8 bits, or 16 in two planes.
void roundRow(double *row, int64_t columns, int64_t block, int64_t planes = 1);

} // namespace tacq::test

#endif // TACQ_TEST_DRIVER_VULKANMODULE_H
