//===- CompiledGraph.cpp - Compiles a graph and runs it in a test ---------===//

#include "CompiledGraph.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "tacq/Register.h"

using namespace mlir;
using namespace tacq;
using namespace tacq::test;

std::unique_ptr<MLIRContext> test::makeContext() {
  DialectRegistry registry;
  registerAllDialects(registry);
  auto context = std::make_unique<MLIRContext>(registry, MLIRContext::Threading::DISABLED);
  context->loadAllAvailableDialects();
  return context;
}

Error test::runPasses(ModuleOp module, const std::string &passes) {
  static bool registered = (registerAllPasses(), true);
  (void)registered;
  std::string diagnostics;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    diagnostics += diagnostic.str() + "\n";
    return mlir::success();
  });
  PassManager manager(module.getContext());
  if (mlir::failed(parsePassPipeline(passes, manager)) || mlir::failed(manager.run(module)))
    return Error(TACQ_INVALID_INPUT, diagnostics);
  return Error();
}

Error CompiledGraph::compile(ModuleOp module, const ParameterStore &parameters,
                             CompiledGraph &graph) {
  InProcessModule::Options options;
  options.threads = 1;
  return InProcessModule::compile(module, parameters, options, graph.module);
}

Error CompiledGraph::run(const std::map<std::string, Array> &arrays) {
  std::map<std::string, TensorView> views;
  for (const TensorDeclaration &input : module->inputs()) {
    auto found = arrays.find(input.name);
    if (found == arrays.end())
      return Error(TACQ_INVALID_ARGUMENT, "the test has no input " + input.name);
    const Array &array = found->second;
    views[input.name] = array.integers.empty() ? TensorView::of(array.dims, array.reals.data())
                                               : TensorView::of(array.dims, array.integers.data());
  }
  return module->run(views);
}

Error CompiledGraph::output(const std::string &name, Array &array) {
  TensorView view;
  if (Error error = module->output(name, view))
    return error;
  if (view.type != TACQ_F32)
    return Error(TACQ_INVALID_ARGUMENT, "the output " + name + " is not f32");
  array.dims = view.dims;
  array.reals.assign(view.floats(), view.floats() + view.elementCount());
  return Error();
}
