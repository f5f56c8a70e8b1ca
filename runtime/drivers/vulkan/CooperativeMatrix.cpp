//===- CooperativeMatrix.cpp - VK_KHR_cooperative_matrix ------------------===//

#include "CooperativeMatrix.h"

#include <algorithm>
#include <cstring>

using namespace tacq;

namespace {

/// VkCooperativeMatrixPropertiesKHR.
struct MatrixShape {
  static constexpr auto kType = static_cast<VkStructureType>(1000506001);
  VkStructureType sType = kType;
  void *pNext = nullptr;
  uint32_t rows = 0, columns = 0, depth = 0;
  uint32_t typeOfA = 0, typeOfB = 0, typeOfC = 0, typeOfResult = 0;
  VkBool32 saturates = VK_FALSE;
  uint32_t scope = 0;
};
// VkComponentTypeKHR and VkScopeKHR.
constexpr uint32_t kFloat16 = 0, kFloat32 = 1, kSubgroup = 3;

bool hasExtension(const VulkanInstanceApi &api, VkPhysicalDevice physical) {
  uint32_t count = 0;
  if (api.EnumerateDeviceExtensionProperties(physical, nullptr, &count, nullptr) != VK_SUCCESS)
    return false;
  std::vector<VkExtensionProperties> all(count);
  VkResult result = api.EnumerateDeviceExtensionProperties(physical, nullptr, &count, all.data());
  if (result != VK_SUCCESS && result != VK_INCOMPLETE)
    return false;
  return std::any_of(all.begin(), all.begin() + count, [](const VkExtensionProperties &each) {
    return strcmp(each.extensionName, kCooperativeMatrixExtension) == 0;
  });
}

} // namespace

bool tacq::hasMatrix16(const VulkanInstanceApi &api, VkPhysicalDevice physical,
                       const VkPhysicalDeviceProperties &properties) {
  if (properties.apiVersion < VK_API_VERSION_1_3 || !hasExtension(api, physical))
    return false;
  CooperativeMatrixFeatures matrices;
  VkPhysicalDeviceVulkanMemoryModelFeatures memory = {};
  memory.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES;
  memory.pNext = &matrices;
  VkPhysicalDeviceFeatures2 features = {};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = &memory;
  api.GetPhysicalDeviceFeatures2(physical, &features);
  if (!matrices.cooperativeMatrix || !memory.vulkanMemoryModel)
    return false;
  using GetShapes = VkResult(VKAPI_PTR *)(VkPhysicalDevice, uint32_t *, MatrixShape *);
  auto getShapes = reinterpret_cast<GetShapes>(
      api.GetInstanceProcAddr(api.instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  uint32_t count = 0;
  if (!getShapes || getShapes(physical, &count, nullptr) != VK_SUCCESS)
    return false;
  std::vector<MatrixShape> shapes(count);
  VkResult result = getShapes(physical, &count, shapes.data());
  if (result != VK_SUCCESS && result != VK_INCOMPLETE)
    return false;
  return std::any_of(shapes.begin(), shapes.begin() + count, [](const MatrixShape &shape) {
    return shape.rows == 16 && shape.columns == 16 && shape.depth == 16 &&
           shape.typeOfA == kFloat16 && shape.typeOfB == kFloat16 && shape.typeOfC == kFloat32 &&
           shape.typeOfResult == kFloat32 && shape.scope == kSubgroup;
  });
}
