//===- CompiledGraph.h - Compiles a graph and runs it in a test -*- C++ -*-===//

#ifndef TACQ_TEST_DIFFERENTIATE_COMPILEDGRAPH_H
#define TACQ_TEST_DIFFERENTIATE_COMPILEDGRAPH_H

#include "mlir/IR/BuiltinOps.h"
#include "tacq/Calibrate/InProcessModule.h"

namespace tacq::test {

/// A dense tensor of one of the element types that tests need.
struct Array {
  std::vector<int64_t> dims;
  std::vector<float> reals;
  std::vector<int64_t> integers; ///< instead of reals
};

/// A context with every dialect.
std::unique_ptr<mlir::MLIRContext> makeContext();

/// Runs a textual pipeline for builtin.module; the error is what it printed.
Error runPasses(mlir::ModuleOp module, const std::string &passes);

/// A module that is compiled for this machine and loaded.
class CompiledGraph {
public:
  static Error compile(mlir::ModuleOp module, const ParameterStore &parameters,
                       CompiledGraph &graph);

  /// Arrays that are no input of the module are left out.
  Error run(const std::map<std::string, Array> &arrays);
  /// An output of the last run, as reals.
  Error output(const std::string &name, Array &array);

private:
  std::unique_ptr<InProcessModule> module;
};

} // namespace tacq::test

#endif // TACQ_TEST_DIFFERENTIATE_COMPILEDGRAPH_H
