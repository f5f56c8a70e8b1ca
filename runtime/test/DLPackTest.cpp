//===- DLPackTest.cpp - The binary interface of DLPack --------------------===//
//
// The numbers are those of DLPack 0.8 on a 64-bit machine, as its header, NumPy and PyTorch have
// them: whoever exchanges tensors with TACQ was compiled against them.
//
//===----------------------------------------------------------------------===//

#include "dlpack/dlpack.h"

#include <cstddef>
#include <gtest/gtest.h>
#include <type_traits>

TEST(DLPack, Structures) {
  EXPECT_EQ(sizeof(DLDevice), 8u);
  EXPECT_EQ(offsetof(DLDevice, device_id), 4u);
  EXPECT_TRUE((std::is_same_v<std::underlying_type_t<DLDeviceType>, int32_t>));
  EXPECT_EQ(sizeof(DLDataType), 4u);
  EXPECT_EQ(offsetof(DLDataType, bits), 1u);
  EXPECT_EQ(offsetof(DLDataType, lanes), 2u);
  EXPECT_EQ(sizeof(DLTensor), 48u);
  EXPECT_EQ(offsetof(DLTensor, data), 0u);
  EXPECT_EQ(offsetof(DLTensor, device), 8u);
  EXPECT_EQ(offsetof(DLTensor, ndim), 16u);
  EXPECT_EQ(offsetof(DLTensor, dtype), 20u);
  EXPECT_EQ(offsetof(DLTensor, shape), 24u);
  EXPECT_EQ(offsetof(DLTensor, strides), 32u);
  EXPECT_EQ(offsetof(DLTensor, byte_offset), 40u);
  EXPECT_EQ(sizeof(DLManagedTensor), 64u);
  EXPECT_EQ(offsetof(DLManagedTensor, manager_ctx), 48u);
  EXPECT_EQ(offsetof(DLManagedTensor, deleter), 56u);
}

TEST(DLPack, Numbers) {
  EXPECT_EQ(DLPACK_VERSION, 80);
  EXPECT_EQ(DLPACK_ABI_VERSION, 1);
  const int types[] = {kDLInt, kDLUInt, kDLFloat, kDLOpaqueHandle, kDLBfloat, kDLComplex, kDLBool};
  for (int i = 0; i < 7; ++i)
    EXPECT_EQ(types[i], i);
  const int devices[][2] = {
      {kDLCPU, 1},          {kDLCUDA, 2},    {kDLCUDAHost, 3}, {kDLOpenCL, 4},    {kDLVulkan, 7},
      {kDLMetal, 8},        {kDLVPI, 9},     {kDLROCM, 10},    {kDLROCMHost, 11}, {kDLExtDev, 12},
      {kDLCUDAManaged, 13}, {kDLOneAPI, 14}, {kDLWebGPU, 15},  {kDLHexagon, 16}};
  for (const auto &[device, number] : devices)
    EXPECT_EQ(device, number);
}
