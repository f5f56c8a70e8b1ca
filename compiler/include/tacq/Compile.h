//===- Compile.h - From an ONNX file to a module ----------------*- C++ -*-===//

#ifndef TACQ_COMPILE_H
#define TACQ_COMPILE_H

#include "tacq/Error.h"
#include "tacq/Graph/GraphPasses.h"
#include <functional>
#include <string>
#include <vector>

namespace llvm {
class raw_ostream;
} // namespace llvm
namespace mlir {
class OpPassManager;
} // namespace mlir

namespace tacq {

/// How far a compilation goes.
enum class EmitStage {
  Import,     ///< the nodes as imported
  Shapes,     ///< symbolic shapes inferred, shape arithmetic folded
  Fused,      ///< recognized operations
  Dispatches, ///< kernels and dispatches on tensors
  Schedule,   ///< launches on buffers
  Kernels,    ///< the code of the kernels, before LLVM, for the first target
  Assembly,   ///< assembly of the first target
  Module      ///< the module file
};

struct CompileOptions {
  /// "cpu=host", "cpu=x86-64-v3", …; one executable of the module for each.
  std::vector<std::string> targets = {"cpu=host"};
  EmitStage emit = EmitStage::Module;
  /// The module file, or the text of another stage; "-" for standard output (texts only).
  std::string output;
  /// Reports each stage when it begins; `done` of `total` are behind it.
  std::function<void(const std::string &stage, unsigned done, unsigned total)> progress;
  /// One line for each recognized operation, and for what nearly was one, to stderr.
  bool reportRecognition = false;
  /// Time of each pass, to stderr.
  bool timing = false;
};

/// Compiles the model at `path`. TACQ_INVALID_ARGUMENT for an unknown target, TACQ_UNSUPPORTED with
/// one line for each node that cannot be compiled, TACQ_INVALID_INPUT for a damaged model, TACQ_IO
/// when the output cannot be written, TACQ_INTERNAL with a reproducer's path for errors of the
/// compiler itself. Nothing is left at `options.output` on failure.
Error compileModel(const std::string &path, const CompileOptions &options);

/// The passes of all stages up to `last`.
void buildPipeline(mlir::OpPassManager &manager, EmitStage last,
                   const GraphPipelineOptions &options);

} // namespace tacq

#endif // TACQ_COMPILE_H
