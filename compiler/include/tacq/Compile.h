//===- Compile.h - From an ONNX file to a module ----------------*- C++ -*-===//

#ifndef TACQ_COMPILE_H
#define TACQ_COMPILE_H

#include "tacq/Error.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Quantize/MixedWeight.h"
#include "tacq/Quantize/Passes.h"
#include "tacq/Quantize/Plan.h"
#include "llvm/ADT/StringMap.h"
#include <functional>
#include <optional>
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
  Quantized,  ///< linear operations read mixed-precision weights
  Dispatches, ///< kernels and dispatches on tensors
  Schedule,   ///< launches on buffers
  Kernels,    ///< the code of the kernels, before LLVM, for the first target
  Assembly,   ///< assembly of the first target
  Module      ///< the module file
};

/// What quantization makes of a model, by the names of its parameters.
struct QuantizedModel {
  llvm::StringMap<MixedWeight> weights;
  /// New elements of parameters that stay dense, in their order.
  llvm::StringMap<std::vector<float>> parameters;
  /// Travels in the module's metadata, for applications and tools to look up by these keys.
  llvm::StringMap<std::string> metadata;
};

struct CompileOptions {
  /// "cpu=host", "cpu=x86-64-v3", "cpu=aarch64", "vulkan=generic", …; one executable of the module
  /// for each.
  std::vector<std::string> targets = {"cpu=host"};
  EmitStage emit = EmitStage::Module;
  /// The module file, or the text of another stage; "-" for standard output (texts only).
  std::string output;
  /// Makes the mixed-precision weights. Called when the graph is known to compile; null for a model
  /// that is not quantized.
  std::function<Error(QuantizedModel &quantized)> quantize;
  /// How kernels go through their weights, where the cost model's choice is not to serve.
  std::vector<KernelTiling> tilings;
  /// Receives tilings that are measured for the model's weights, if set: of the CPU targets that
  /// this machine runs. They are used in place of `tilings`.
  std::function<Error(const std::vector<KernelTiling> &measured)> recordTilings;
  /// Store f32 matrices that are not quantized as f16 (tacq-narrow-parameters).
  bool narrowDense = false;
  /// What mixed-precision weights are multiplied with: int8, int16, f32, or auto, which is int16
  /// for operations of small weights and int8 for others (tacq-pack-weights).
  std::string activations = "auto";
  /// Products with dense weights may round their factors to bf16 (tacq-allow-bf16).
  bool bf16Products = false;
  /// Let the model choose the likeliest token (tacq-append-next-token); by default where a target
  /// is a GPU, from which all logits would have to be read.
  std::optional<bool> nextToken;
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

/// The passes from an imported model to recognized operations, or to an earlier stage.
void buildGraphStages(mlir::OpPassManager &manager, EmitStage last,
                      const GraphPipelineOptions &options);
/// The passes from there up to `last`, with the weights of these forms and, if asked for, with f32
/// matrices stored as f16 in `parameters`; `activations` as in CompileOptions; `forShaders` if the
/// module has shaders; `nextToken` adds the result next_token.
void buildModuleStages(mlir::OpPassManager &manager, EmitStage last, ParameterStore &parameters,
                       llvm::StringMap<MixedWeightForm> mixed, bool narrowDense,
                       const std::string &activations, llvm::ArrayRef<std::string> cpuTargets,
                       bool forShaders, bool nextToken);

} // namespace tacq

#endif // TACQ_COMPILE_H
