//===- VulkanTarget.cpp - The device profiles -----------------------------===//

#include "tacq/Vulkan/VulkanTarget.h"

using namespace mlir;
using namespace tacq;

namespace {

struct Profile {
  StringRef name;
  int32_t rank;
  unsigned subgroup, workgroup, invocations, shared, buffers;
  std::vector<StringRef> features;
};

ArrayRef<Profile> profiles() {
  static const std::vector<Profile> table = {
      // Vulkan 1.1 with 64-bit integers, which token numbers and positions are.
      {"generic", 1, 0, 64, vulkanInvocations, vulkanSharedBytes, 32, {"int64", "float64"}},
      {"lavapipe",
       2,
       8,
       64,
       1024,
       32 << 10,
       32,
       {"int64", "float64", "int8", "int16", "float16", "storage8", "storage16", "dot8",
        "in-order"}},
      // Immediate-mode and tile-based GPUs whose subgroups have no fixed size, or another for each
      // generation; they have no f64. Of the latter, some give a workgroup little.
      {"arm-mali",
       2,
       0,
       128,
       512,
       32 << 10,
       32,
       {"int64", "int8", "int16", "float16", "storage8", "storage16", "dot8"}},
      {"intel-xe",
       2,
       0,
       128,
       1024,
       64 << 10,
       64,
       {"int64", "int8", "int16", "float16", "storage8", "storage16", "dot8"}},
      {"nvidia-hopper",
       3,
       32,
       128,
       1024,
       48 << 10,
       1024,
       {"int64", "float64", "int8", "int16", "float16", "storage8", "storage16", "dot8", "matrix16",
        "in-order"}},
  };
  return table;
}

} // namespace

std::vector<std::string> tacq::vulkanProfileNames() {
  std::vector<std::string> names;
  for (const Profile &profile : profiles())
    names.push_back(profile.name.str());
  return names;
}

VulkanProfileAttr tacq::vulkanProfile(MLIRContext *context, StringRef name) {
  for (const Profile &profile : profiles()) {
    if (profile.name != name)
      continue;
    SmallVector<StringAttr> features;
    for (StringRef feature : profile.features)
      features.push_back(StringAttr::get(context, feature));
    return VulkanProfileAttr::get(context, profile.name, profile.subgroup, profile.workgroup,
                                  profile.buffers, features);
  }
  return {};
}

/// The table's row; null for a profile that is not in it.
static const Profile *rowOf(VulkanProfileAttr attr) {
  const Profile *row =
      llvm::find_if(profiles(), [&](const Profile &each) { return each.name == attr.getName(); });
  return row == profiles().end() ? nullptr : row;
}

int32_t tacq::vulkanProfileRank(VulkanProfileAttr attr) {
  const Profile *row = rowOf(attr);
  return row ? row->rank : 0;
}

int64_t tacq::vulkanProfileInvocations(VulkanProfileAttr attr) {
  const Profile *row = rowOf(attr);
  return row ? row->invocations : vulkanInvocations;
}

int64_t tacq::vulkanProfileSharedBytes(VulkanProfileAttr attr) {
  const Profile *row = rowOf(attr);
  return row ? row->shared : vulkanSharedBytes;
}
