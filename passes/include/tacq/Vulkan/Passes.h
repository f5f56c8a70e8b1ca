//===- Passes.h - From kernels to SPIR-V ------------------------*- C++ -*-===//

#ifndef TACQ_VULKAN_PASSES_H
#define TACQ_VULKAN_PASSES_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

namespace tacq {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "tacq/Vulkan/Passes.h.inc"
} // namespace tacq

#endif // TACQ_VULKAN_PASSES_H
