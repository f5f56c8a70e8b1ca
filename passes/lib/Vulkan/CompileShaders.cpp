//===- CompileShaders.cpp - Kernel functions to shaders -------------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "mlir/Transforms/Passes.h"
#include "tacq/Vulkan/Passes.h"
#include "tacq/Vulkan/VulkanTarget.h"
#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace tacq;

void tacq::buildVulkanPipeline(OpPassManager &manager, StringRef profile) {
  VulkanEntryPointsOptions options;
  options.profile = profile.str();
  manager.addPass(createVulkanEntryPoints(options));
  manager.addPass(createVulkanExpandMath());
  manager.addPass(createVulkanNarrowTypes());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createVulkanToSPIRV());
  OpPassManager &shaders = manager.nest<spirv::ModuleOp>();
  shaders.addPass(spirv::createSPIRVLowerABIAttributesPass());
  shaders.addPass(spirv::createSPIRVUpdateVCEPass());
}

/// Bindings that are only read are said to be: a device may then keep what it has loaded.
static void markReadOnly(spirv::ModuleOp module) {
  llvm::SmallDenseSet<uint32_t> written;
  auto bindingOf = [&](Value pointer) -> std::optional<uint32_t> {
    while (auto chain = pointer.getDefiningOp<spirv::AccessChainOp>())
      pointer = chain.getBasePtr();
    auto address = pointer.getDefiningOp<spirv::AddressOfOp>();
    auto variable = address ? module.lookupSymbol<spirv::GlobalVariableOp>(address.getVariable())
                            : spirv::GlobalVariableOp();
    return variable ? variable.getBinding() : std::nullopt;
  };
  // Whatever takes a pointer, other than to load from it or to go on from it, may write.
  module.walk([&](Operation *op) {
    if (isa<spirv::LoadOp, spirv::AccessChainOp, spirv::KHRCooperativeMatrixLoadOp>(op))
      return;
    for (Value operand : op->getOperands())
      if (isa<spirv::PointerType>(operand.getType()))
        if (std::optional<uint32_t> binding = bindingOf(operand))
          written.insert(*binding);
  });
  for (auto variable : module.getOps<spirv::GlobalVariableOp>())
    if (std::optional<uint32_t> binding = variable.getBinding();
        binding && !written.contains(*binding))
      variable->setAttr("non_writable", UnitAttr::get(module.getContext()));
}

/// Says that other workgroups write to the buffers while the shader runs, of all bindings but the
/// constants; the flags change while they are looked at.
static void markCoherent(SmallVectorImpl<uint32_t> &code, ArrayRef<int32_t> constants,
                         uint32_t flags) {
  constexpr uint32_t headerWords = 5;
  SmallVector<uint32_t> marked(code.begin(), code.begin() + headerWords);
  auto decorate = [&](uint32_t id, spirv::Decoration decoration) {
    marked.append({3u << 16 | uint32_t(spirv::Opcode::OpDecorate), id, uint32_t(decoration)});
  };
  for (size_t at = headerWords, size = 0; at < code.size(); at += size) {
    size = code[at] >> 16;
    marked.append(code.begin() + at, code.begin() + at + size);
    if ((code[at] & 0xFFFF) != uint32_t(spirv::Opcode::OpDecorate) || size != 4 ||
        code[at + 2] != uint32_t(spirv::Decoration::Binding))
      continue;
    if (!llvm::is_contained(constants, int32_t(code[at + 3])))
      decorate(code[at + 1], spirv::Decoration::Coherent);
    if (code[at + 3] == flags)
      decorate(code[at + 1], spirv::Decoration::Volatile);
  }
  code = std::move(marked);
}

/// From SPIR-V 1.4 on, an entry point lists all variables that it uses.
static void listInterface(spirv::ModuleOp module) {
  std::optional<spirv::VerCapExtAttr> needs = module.getVceTriple();
  if (!needs || needs->getVersion() < spirv::Version::V_1_4)
    return;
  SmallVector<Attribute> variables;
  for (auto variable : module.getOps<spirv::GlobalVariableOp>())
    variables.push_back(FlatSymbolRefAttr::get(variable.getSymNameAttr()));
  for (auto entry : module.getOps<spirv::EntryPointOp>())
    entry.setInterfaceAttr(ArrayAttr::get(module.getContext(), variables));
}

/// The most invocations that a workgroup of the shader has.
static int64_t invocationsOf(spirv::ModuleOp module) {
  int64_t most = 0;
  for (auto mode : module.getOps<spirv::ExecutionModeOp>()) {
    if (mode.getExecutionMode() != spirv::ExecutionMode::LocalSize)
      continue;
    int64_t count = 1;
    for (auto extent : mode.getValues().getAsRange<IntegerAttr>())
      count *= extent.getInt();
    most = std::max(most, count);
  }
  return most;
}

static int64_t bytesOf(Type type) {
  if (auto structure = dyn_cast<spirv::StructType>(type)) {
    int64_t bytes = 0;
    for (Type element : structure.getElementTypes())
      bytes += bytesOf(element);
    return bytes;
  }
  if (auto array = dyn_cast<spirv::ArrayType>(type))
    return array.getNumElements() * bytesOf(array.getElementType());
  if (auto vector = dyn_cast<VectorType>(type))
    return vector.getNumElements() * bytesOf(vector.getElementType());
  return type.getIntOrFloatBitWidth() / 8;
}

/// Bytes that a workgroup of the shader shares, in the most room that they may take: variables are
/// aligned to their elements, of 16 bytes at most.
static int64_t sharedBytesOf(spirv::ModuleOp module) {
  constexpr int64_t largestElement = 16;
  int64_t bytes = 0;
  for (auto variable : module.getOps<spirv::GlobalVariableOp>())
    if (variable.storageClass() == spirv::StorageClass::Workgroup)
      bytes += int64_t(llvm::alignTo(
          bytesOf(cast<spirv::PointerType>(variable.getType()).getPointeeType()), largestElement));
  return bytes;
}

/// Why workgroups of the profile cannot run the shader; empty if they can.
static std::string excessOf(spirv::ModuleOp module, VulkanProfileAttr profile) {
  auto text = [&](const char *does, int64_t count, const char *what, int64_t most) {
    return formatv("its workgroups {0} {1} {2}, and those of the profile '{3}' {4} at most", does,
                   count, what, profile.getName(), most)
        .str();
  };
  int64_t invocations = invocationsOf(module), bytes = sharedBytesOf(module);
  int64_t most = vulkanProfileInvocations(profile), mostBytes = vulkanProfileSharedBytes(profile);
  if (invocations > most)
    return text("have", invocations, "invocations", most);
  return bytes > mostBytes ? text("share", bytes, "bytes", mostBytes) : "";
}

/// The names that executables use for what the device must have.
static void collectFeatures(spirv::ModuleOp module, VulkanProfileAttr profile,
                            std::vector<std::string> &features) {
  using spirv::Capability;
  static const std::pair<Capability, const char *> names[] = {
      {Capability::Int64, "int64"},
      {Capability::Float64, "float64"},
      {Capability::Float16, "float16"},
      {Capability::Int16, "int16"},
      {Capability::Int8, "int8"},
      {Capability::StorageBuffer16BitAccess, "storage16"},
      {Capability::StorageBuffer8BitAccess, "storage8"},
      {Capability::DotProductInput4x8BitPacked, "dot8"},
      {Capability::CooperativeMatrixKHR, "matrix16"},
  };
  std::optional<spirv::VerCapExtAttr> used = module.getVceTriple();
  for (auto [capability, name] : names)
    if (used && llvm::is_contained(used->getCapabilities(), capability))
      features.push_back(name);
  if (used && llvm::is_contained(used->getCapabilities(), Capability::GroupNonUniformShuffle))
    features.push_back("subgroup=" + std::to_string(profile.getSubgroup()));
  // What any device has need not be asked for.
  if (int64_t invocations = invocationsOf(module); invocations > vulkanInvocations)
    features.push_back("invocations=" + std::to_string(invocations));
  if (int64_t bytes = sharedBytesOf(module); bytes > vulkanSharedBytes)
    features.push_back("shared=" + std::to_string(bytes));
}

void tacq::addVulkanFeatures(std::set<std::string> &all, ArrayRef<std::string> more) {
  auto numberOf = [](StringRef feature) {
    uint64_t number = 0;
    feature.split('=').second.getAsInteger(10, number);
    return number;
  };
  for (const std::string &feature : more) {
    StringRef name = StringRef(feature).split('=').first;
    auto same = llvm::find_if(
        all, [&](const std::string &each) { return StringRef(each).split('=').first == name; });
    if (same == all.end()) {
      all.insert(feature);
    } else if (numberOf(*same) < numberOf(feature)) {
      all.erase(same);
      all.insert(feature);
    }
  }
}

std::vector<VulkanShader> tacq::compileVulkanKernels(ModuleOp kernels, VulkanProfileAttr profile) {
  // One after the other, so that all that cannot be compiled are known at once.
  std::vector<VulkanShader> shaders;
  for (auto function : llvm::to_vector(kernels.getOps<func::FuncOp>())) {
    VulkanShader &shader = shaders.emplace_back();
    auto variantOf = function->getAttrOfType<StringAttr>(vulkanVariantAttr);
    shader.name = (variantOf ? variantOf.getValue() : function.getName()).str();
    if (variantOf)
      shader.role = function->hasAttr(vulkanFirstAttr) ? VulkanShader::Role::First
                                                       : VulkanShader::Role::Variant;
    shader.tasksPerGroup = function->hasAttr(vulkanWorkgroupAttr) ? 1 : profile.getWorkgroup();
    ScopedDiagnosticHandler handler(kernels.getContext(), [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        shader.refusal += (shader.refusal.empty() ? "" : "; ") + diagnostic.str();
      return success();
    });
    bool ordered = profile.has(vulkanOrderedFeature) && !variantOf;
    auto constants = function->getAttrOfType<DenseI32ArrayAttr>(vulkanConstantsAttr);
    // Buffers are followed by the symbols, the status and the flags.
    uint32_t flags = 2;
    for (Type type : function.getArgumentTypes())
      flags += isa<MemRefType>(type);
    --flags; // the status is an argument, too
    OwningOpRef<ModuleOp> own = ModuleOp::create(function.getLoc());
    function->moveBefore(own->getBody(), own->getBody()->end());
    PassManager manager(kernels.getContext(), ModuleOp::getOperationName());
    buildVulkanPipeline(manager, profile.getName());
    SmallVector<uint32_t> code;
    bool compiled = succeeded(manager.run(*own));
    if (compiled) {
      shader.refusal = excessOf(*own->getOps<spirv::ModuleOp>().begin(), profile);
      if (!shader.refusal.empty())
        continue;
      markReadOnly(*own->getOps<spirv::ModuleOp>().begin());
      listInterface(*own->getOps<spirv::ModuleOp>().begin());
    }
    if (!compiled || failed(spirv::serialize(*own->getOps<spirv::ModuleOp>().begin(), code))) {
      if (shader.refusal.empty())
        shader.refusal = "it has no form in SPIR-V";
      continue;
    }
    if (ordered) {
      SmallVector<int32_t> unchanged;
      if (constants)
        llvm::append_range(unchanged, constants.asArrayRef());
      unchanged.push_back(flags - 2); // the symbols
      markCoherent(code, unchanged, flags);
      shader.features.push_back(vulkanOrderedFeature.str());
    }
    shader.code.assign(code.begin(), code.end());
    collectFeatures(*own->getOps<spirv::ModuleOp>().begin(), profile, shader.features);
  }
  return shaders;
}
