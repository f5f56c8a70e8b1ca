//===- VulkanFeaturesTest.cpp - What executables may ask of a device ------===//

#include "vulkan/VulkanDevice.h"

#include <gtest/gtest.h>

using namespace tacq;

namespace {

TEST(VulkanFeatures, Limits) {
  VulkanFeatures features;
  features.storageBuffers = 8;
  features.invocations = 256;
  features.sharedBytes = 32768;
  for (const char *feature : {"buffers=8", "invocations=129", "invocations=256", "shared=32768"})
    EXPECT_TRUE(features.has(feature)) << feature;
  for (const char *feature : {"buffers=9", "invocations=257", "invocations=4000000000",
                              "shared=32769", "invocations", "shared"})
    EXPECT_FALSE(features.has(feature)) << feature;
}

TEST(VulkanFeatures, Names) {
  VulkanFeatures features;
  features.int64 = true;
  features.subgroup = 16;
  for (const char *feature : {"int64", "subgroup=16"})
    EXPECT_TRUE(features.has(feature)) << feature;
  for (const char *feature : {"float64", "subgroup=32", "subgroup=8", "warp-drive"})
    EXPECT_FALSE(features.has(feature)) << feature;
  EXPECT_EQ(features.text(), "int64 subgroup=16");
}

} // namespace
