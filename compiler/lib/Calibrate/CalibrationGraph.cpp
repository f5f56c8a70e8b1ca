//===- CalibrationGraph.cpp - From an ONNX file to the graph to calibrate -===//

#include "mlir/Pass/PassManager.h"
#include "tacq/Calibrate/InProcessModule.h"
#include "tacq/Calibration/Passes.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Ops/OpSpec.h"
#include "tacq/Ops/Passes.h"
#include "tacq/Reproducer.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace tacq;

Error tacq::calibrationGraph(const std::string &path, MLIRContext &context, ImportedModel &model) {
  ImportOptions importOptions;
  importOptions.unsupportedReason = [](StringRef domain, StringRef op, int64_t) -> std::string {
    return lookupOp(domain, op) ? "" : "TACQ does not know this operator";
  };
  if (Error error = importOnnx(path, context, importOptions, model))
    return error;
  PassManager manager(&context);
  manager.addNestedPass<func::FuncOp>(createInferShapes());
  GraphPipelineOptions options;
  options.fuse = false;
  options.parameters = &model.parameters;
  buildGraphPipeline(manager, options);
  manager.addNestedPass<func::FuncOp>(createDropCaches());
  manager.addNestedPass<func::FuncOp>(createWidenFloats());
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
  return runPasses(manager, *model.module, llvm::sys::path::filename(path));
}
