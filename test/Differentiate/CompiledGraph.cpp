//===- CompiledGraph.cpp - Compiles a graph and runs it in a test ---------===//

#include "CompiledGraph.h"
#include "Module/ModuleEmitter.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "tacq/CPU/CpuTarget.h"
#include "tacq/Register.h"
#include "llvm/Support/FileSystem.h"
#include <cstring>

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
                             CompiledGraph &graph, const std::string &device) {
  if (Error error = runPasses(module, "func.func(tacq-cleanup-views,tacq-decompose),"
                                      "tacq-pack-weights,tacq-form-dispatches,tacq-plan-schedule"))
    return error;
  llvm::SmallString<128> path;
  if (std::error_code code = llvm::sys::fs::createTemporaryFile("tacq-test", "tacq", path))
    return Error(TACQ_IO, code.message());
  std::optional<CpuTarget> target = parseCpuTarget("host");
  Error error = emitModule(module, {*target}, parameters, "test", std::string(path));
  if (!error)
    error = tools::load(std::string(path), device, graph.loaded);
  // A mapped file stays readable.
  llvm::sys::fs::remove(path);
  if (error)
    return error;
  tacq_session_t *session = nullptr;
  if (Error failure = tools::take(tacq_session_create(
          graph.loaded.module.get(), graph.loaded.device.get(), nullptr, &session)))
    return failure;
  graph.session.reset(session);
  return Error();
}

Error CompiledGraph::run(const std::map<std::string, Array> &inputs) {
  for (const auto &[name, array] : inputs) {
    int64_t index = tacq_module_find_input(loaded.module.get(), name.c_str());
    if (index < 0)
      continue;
    bool isReal = array.integers.empty();
    const void *data = isReal ? static_cast<const void *>(array.reals.data())
                              : static_cast<const void *>(array.integers.data());
    size_t bytes = isReal ? array.reals.size() * 4 : array.integers.size() * 8;
    if (Error error = tools::take(
            tacq_session_set_input_data(session.get(), index, isReal ? TACQ_F32 : TACQ_I64,
                                        array.dims.data(), array.dims.size(), data, bytes)))
      return error;
  }
  return tools::take(tacq_session_run(session.get()));
}

Error CompiledGraph::output(const std::string &name, Array &array) {
  int64_t index = tacq_module_find_output(loaded.module.get(), name.c_str());
  if (index < 0)
    return Error(TACQ_INVALID_ARGUMENT, "there is no output " + name);
  tools::Output output;
  if (Error error = tools::fetch(session.get(), index, output))
    return error;
  const DLTensor &tensor = output->dl_tensor;
  array.dims.assign(tensor.shape, tensor.shape + tensor.ndim);
  array.reals.resize(tools::elementCount(tensor));
  std::memcpy(array.reals.data(), tools::dataOf(tensor), array.reals.size() * 4);
  return Error();
}
