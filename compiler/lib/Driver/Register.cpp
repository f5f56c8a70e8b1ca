//===- Register.cpp - Dialects and passes of TACQ -------------------------===//

#include "tacq/Register.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "tacq/CPU/Passes.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"
#include "tacq/Differentiate/DifferentiatePasses.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Ops/Passes.h"
#include "tacq/Quantize/Passes.h"
#include "tacq/Schedule/Passes.h"
#include "tacq/Vulkan/Passes.h"

using namespace mlir;

void tacq::registerAllDialects(DialectRegistry &registry) {
  registry.insert<TACQDialect, rt::ScheduleDialect, arith::ArithDialect, func::FuncDialect,
                  math::MathDialect, memref::MemRefDialect, scf::SCFDialect, vector::VectorDialect,
                  LLVM::LLVMDialect, gpu::GPUDialect, spirv::SPIRVDialect>();
}

void tacq::registerAllPasses() {
  registerTACQCPUPasses();
  registerTACQCalibrationPasses();
  registerTACQDifferentiatePasses();
  registerGraphPasses();
  registerTACQOpsPasses();
  registerTACQQuantizePasses();
  registerTACQSchedulePasses();
  registerTACQVulkanPasses();
}
