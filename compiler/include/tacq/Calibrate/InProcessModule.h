//===- InProcessModule.h - Compile and run in one process -------*- C++ -*-===//
//
// Calibration and sequential quantization run parts of a model on sample data while they compile
// it. What runs is compiled by the same pipeline and executed by the same runtime as a module file.
//
//   ImportedModel model;
//   if (Error error = calibrationGraph("model.onnx", context, model)) ...
//   // change *model.module: append a loss, differentiate, add results
//   std::unique_ptr<InProcessModule> runner;
//   if (Error error = InProcessModule::compile(*model.module, model.parameters, {}, runner)) ...
//   if (Error error = runner->run({{"input_ids", TensorView::of({1, n}, tokens.data())}})) ...
//   TensorView logits;
//   if (Error error = runner->output("logits", logits)) ...
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_CALIBRATE_INPROCESSMODULE_H
#define TACQ_CALIBRATE_INPROCESSMODULE_H

#include "tacq/CPU/CpuTarget.h"
#include "tacq/Import/OnnxImport.h"
#include "tacq/runtime.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace tacq {

/// A contiguous tensor on the host that somebody else holds.
struct TensorView {
  tacq_element_type_t type = TACQ_ELEMENT_NONE;
  std::vector<int64_t> dims;
  const void *data = nullptr;

  static TensorView of(std::vector<int64_t> dims, const int64_t *data) {
    return {TACQ_I64, std::move(dims), data};
  }
  static TensorView of(std::vector<int64_t> dims, const float *data) {
    return {TACQ_F32, std::move(dims), data};
  }

  int64_t elementCount() const;
  const float *floats() const { return static_cast<const float *>(data); }
  const int64_t *integers() const { return static_cast<const int64_t *>(data); }
};

/// An input or output of a compiled module.
struct TensorDeclaration {
  std::string name;
  tacq_element_type_t type;
  /// -1: known at a call only.
  std::vector<int64_t> dims;
};

class InProcessModule {
public:
  struct Options {
    /// Threads of the runtime; 0: one for each core that this process may use.
    unsigned threads = 0;
    /// The model's file name for messages.
    std::string file = "model";
    /// Kernels of modules compiled before, or null.
    KernelCache *kernels = nullptr;
    /// Times each dispatch (see profile()).
    bool profile = false;
    /// Parameters may be replaced between runs (see replaceParameter()).
    bool writable = false;
    /// Linear operations may round their factors to bf16 (tacq-allow-bf16).
    bool bf16 = false;
  };

  /// Compiles `module`, which is as tacq-graph leaves it and stays unchanged: fuses, decomposes,
  /// packs, forms dispatches, plans, generates code for this machine. The module's bytes are in an
  /// unlinked temporary file, so they are gone with the process, whatever happens to it; parameters
  /// are copied there and need not outlive the call.
  static Error compile(mlir::ModuleOp module, const ParameterStore &parameters,
                       const Options &options, std::unique_ptr<InProcessModule> &runner);
  ~InProcessModule();
  InProcessModule(const InProcessModule &) = delete;
  InProcessModule &operator=(const InProcessModule &) = delete;

  const std::vector<TensorDeclaration> &inputs() const { return inputDeclarations; }
  const std::vector<TensorDeclaration> &outputs() const { return outputDeclarations; }

  /// Runs once. Every input must be given; TACQ_INVALID_INPUT for one that is missing, unknown or
  /// does not fit.
  Error run(const std::map<std::string, TensorView> &given);
  /// A result of the last run, valid until the next one.
  Error output(const std::string &name, TensorView &view);

  /// Gives a parameter of a writable module other elements, in the type and order of the graph that
  /// was compiled. Several parameters may be replaced at the same time, each by one thread, while
  /// nothing runs. TACQ_INVALID_ARGUMENT if the graph does not read such a parameter, or not this
  /// many bytes of it.
  Error replaceParameter(llvm::StringRef name, llvm::ArrayRef<char> elements);

  /// Total nanoseconds of each dispatch, in schedule order, as (node, operator, kernel).
  struct ProfileEntry {
    std::string node, op, kernel;
    uint64_t count, nanoseconds;
  };
  Error profile(std::vector<ProfileEntry> &entries) const;

private:
  InProcessModule();
  Error open(const std::string &path, const Options &options);
  void findParameters(mlir::ModuleOp module);

  struct Handles;
  std::unique_ptr<Handles> handles;
  std::vector<TensorDeclaration> inputDeclarations, outputDeclarations;
};

/// Imports the model at `path` and brings it into the form that calibration starts from: recognized
/// operations, not fused, one weight for each linear operation; whole sequences without caches;
/// computed in f32, with parameters as they are stored. `context` has TACQ's dialects
/// (registerAllDialects).
Error calibrationGraph(const std::string &path, mlir::MLIRContext &context, ImportedModel &model);

} // namespace tacq

#endif // TACQ_CALIBRATE_INPROCESSMODULE_H
