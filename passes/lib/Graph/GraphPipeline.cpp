//===- GraphPipeline.cpp - The order of the graph passes ------------------===//

#include "mlir/Pass/PassManager.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Graph/UnifyParams.h"

namespace tacq {
#define GEN_PASS_REGISTRATION
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

using namespace mlir;

void tacq::buildGraphPipeline(OpPassManager &manager, const GraphPipelineOptions &options) {
  bool remarks = options.remarks;
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
  manager.addNestedPass<func::FuncOp>(createRecognizeLinear({remarks}));
  if (options.parameters)
    manager.addPass(createUnifyParams(*options.parameters, remarks));
  else
    manager.addPass(createUnifyParams({options.folder, remarks}));
  manager.addNestedPass<func::FuncOp>(createRecognizeNorm({remarks}));
  manager.addNestedPass<func::FuncOp>(createRecognizeRope({remarks}));
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
  manager.addNestedPass<func::FuncOp>(createRecognizeAttention({remarks}));
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
  if (!options.fuse)
    return;
  manager.addNestedPass<func::FuncOp>(createFuseLinear({remarks}));
  manager.addNestedPass<func::FuncOp>(createCleanupViews());
}

namespace {

struct GraphPipelineArguments : PassPipelineOptions<GraphPipelineArguments> {
  Option<bool> remarks{*this, "remarks", llvm::cl::init(false),
                       llvm::cl::desc("Remarks at what was recognized and what nearly was")};
  Option<bool> fuse{*this, "fuse", llvm::cl::init(true),
                    llvm::cl::desc("Fuse the neighbours of linear operations into them")};
  Option<std::string> folder{*this, "folder", llvm::cl::init(""),
                             llvm::cl::desc("The folder of the parameters' files")};
};

} // namespace

void tacq::registerGraphPasses() {
  registerTACQGraphPasses();
  PassPipelineRegistration<GraphPipelineArguments>(
      "tacq-graph", "Recognize and fuse linear, norm, rope and attention operations",
      [](OpPassManager &manager, const GraphPipelineArguments &arguments) {
        GraphPipelineOptions options;
        options.remarks = arguments.remarks;
        options.fuse = arguments.fuse;
        options.folder = arguments.folder;
        buildGraphPipeline(manager, options);
      });
}
