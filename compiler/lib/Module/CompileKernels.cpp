//===- CompileKernels.cpp - The executables of a module -------------------===//

#include "CompileKernels.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"

using namespace mlir;
using namespace tacq;

Error KernelCompiler::addExecutable(format::ExecutableT executable, ArrayRef<char> code,
                                    llvm::function_ref<bool(StringRef)> has) {
  executable.kernels.resize(numbers.size());
  for (auto &[name, number] : numbers) {
    executable.kernels[number] = name.str();
    if (!has(name))
      executable.absent.push_back(number);
  }
  llvm::sort(executable.absent);
  uint32_t index;
  return writer.addExecutable(executable, code.data(), code.size(), index);
}

/// The user's nodes that a kernel computes.
std::string KernelCompiler::nodesOf(StringRef kernel) const {
  std::string text;
  size_t launches = 0;
  ModuleOp(module).walk([&](rt::LaunchOp launch) {
    if (launch.getKernel() != kernel || launches++)
      return;
    for (auto [name, type] : llvm::zip(launch.getNodes().getAsValueRange<StringAttr>(),
                                       launch.getNodeOps().getAsValueRange<StringAttr>()))
      text += (text.empty() ? "" : ", ") + type.str() + " node '" + name.str() + "'";
  });
  if (text.empty())
    text = "kernel '" + kernel.str() + "'";
  if (launches > 1)
    text += " (and " + std::to_string(launches - 1) + " like it)";
  return text;
}

std::vector<std::string> KernelCompiler::remarks() const {
  std::vector<std::string> names(numbers.size()), result;
  for (const auto &[name, number] : numbers)
    names[number] = name.str();
  for (const auto &[what, profiles] : refusedBy)
    result.push_back("'" + file + "': " + nodesOf(names[what.first]) +
                     " will run on the CPU beside vulkan=" + llvm::join(profiles, ", vulkan=") +
                     ": " + what.second);
  return result;
}

/// The shaders of all kernels for one profile that can be shaders.
Error KernelCompiler::compileShaders(VulkanProfileAttr profile) {
  Refusals refusals;
  OwningOpRef<ModuleOp> kernels = buildVulkanKernels(module, profile, codes, refusals, wide);
  std::vector<VulkanShader> shaders = compileVulkanKernels(*kernels, profile);
  for (const VulkanShader &shader : shaders)
    if (!shader.refusal.empty() && shader.role != VulkanShader::Role::Kernel)
      return Error(TACQ_INTERNAL, "'" + file + "': a variant of " + nodesOf(shader.name) +
                                      " has no shader for vulkan=" + profile.getName().str() +
                                      ": " + shader.refusal);
    else if (!shader.refusal.empty())
      refusals.try_emplace(shader.name, shader.refusal);
  llvm::erase_if(shaders,
                 [&](const VulkanShader &shader) { return refusals.contains(shader.name); });
  for (const auto &refusal : refusals) {
    refused.try_emplace(refusal.first(), refusal.second);
    refusedBy[{numbers.lookup(refusal.first()), refusal.second}].push_back(profile.getName().str());
  }
  bool ordered = profile.has(vulkanOrderedFeature);
  std::set<std::string> features;
  std::vector<char> bytes = packShaders(module, shaders, numbers, ordered, codes, features);
  format::ExecutableT executable;
  executable.driver = "vulkan";
  executable.target = profile.getName().str();
  executable.format = "spirv";
  executable.features.assign(features.begin(), features.end());
  executable.rank = vulkanProfileRank(profile);
  return addExecutable(std::move(executable), bytes,
                       [&](StringRef name) { return !refusals.contains(name); });
}

Error KernelCompiler::compileForCpu(const CpuTarget &target, bool isShared, const Refusals *only) {
  std::string diagnostics;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      diagnostics += diagnostic.str() + "\n";
    return mlir::success();
  });
  FailureOr<OwningOpRef<ModuleOp>> kernels = buildCpuKernels(module, target, codes, isShared, only);
  CpuCompileOptions options;
  options.cache = cache;
  SmallVector<char> elf;
  if (failed(kernels) || failed(compileCpuKernels(**kernels, target, elf, options)))
    return Error(TACQ_INTERNAL, "code generation for " + target.name + " failed: " + diagnostics);
  format::ExecutableT executable;
  executable.driver = only ? "host" : "cpu";
  executable.target = target.name;
  executable.format =
      StringRef(target.triple).starts_with("aarch64") ? "elf64-aarch64" : "elf64-x86-64";
  executable.features = target.requiredFeatures;
  executable.rank = target.rank;
  return addExecutable(std::move(executable), elf,
                       [&](StringRef name) { return !only || only->contains(name); });
}

/// The least that machines like this one have: what runs beside a device is not what takes long,
/// and should run wherever the shaders do.
static std::optional<CpuTarget> plainHostTarget() {
  std::optional<CpuTarget> best;
  for (const std::string &name : cpuTargetNames())
    if (std::optional<CpuTarget> target = parseCpuTarget(name);
        target && hostRuns(*target) && (!best || target->rank < best->rank))
      best = target;
  return best;
}

Error KernelCompiler::run(const ModuleTargets &targets) {
  for (auto kernel : module.getOps<rt::KernelOp>())
    numbers.try_emplace(kernel.getSymName(), numbers.size());
  if (mixed && !targets.vulkan.empty())
    wide = kernelsOfWideWeights(module, *mixed);
  for (VulkanProfileAttr profile : targets.vulkan)
    if (Error error = compileShaders(profile))
      return error;
  for (const CpuTarget &target : targets.cpu)
    if (Error error = compileForCpu(target, !targets.vulkan.empty(), nullptr))
      return error;
  if (refused.empty() || !targets.cpu.empty())
    return Error();
  if (std::optional<CpuTarget> host = plainHostTarget())
    return compileForCpu(*host, /*isShared=*/true, &refused);
  return Error(TACQ_UNSUPPORTED, "'" + file +
                                     "' has kernels that no shader can do, and this machine is "
                                     "none that code is made for; name a CPU target, too: " +
                                     llvm::join(remarks(), "; "));
}
