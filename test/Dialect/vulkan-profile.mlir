// RUN: tacq-opt %s --verify-diagnostics --split-input-file

// expected-error @+1 {{vulkan_profile.features: 'warp' is no feature of a device}}
module attributes {test.profile = #tacq.vulkan_profile<"x", subgroup = 0, workgroup = 64, buffers = 32, features = ["int64", "warp"]>} {}

// -----

// expected-error @+1 {{vulkan_profile.limits: a workgroup has at least one invocation}}
module attributes {test.profile = #tacq.vulkan_profile<"x", subgroup = 0, workgroup = 0, buffers = 32, features = ["int64"]>} {}
