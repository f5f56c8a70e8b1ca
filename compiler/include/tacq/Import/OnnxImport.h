//===- OnnxImport.h - Reading ONNX models -----------------------*- C++ -*-===//
//
// Turns an ONNX file into a module with one function `main`: a `tacq.node` for every node, inputs
// and results named by `tacq.name`, small constants as `tacq.constant`, weights as `tacq.param`
// symbols under their initializers' names. Model-local functions are inlined.
//
// Types: the dimensions of inputs are named after the model's dimension parameters. All other
// values have the element type, the rank and the constant sizes that the model declares, as a hint
// for inference, which replaces them; names of their dimensions are not taken. What the model does
// not declare is unranked, with elements of !tacq.unknown where even those are not told. A result
// that the model does not ask for has type `none`.
//
// Subgraphs become the regions of their node in the order of the file, except that `then_branch`
// precedes `else_branch`. Operators other than If, Loop and Scan also get an integer attribute, the
// index of the region, under the subgraph's attribute name.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_IMPORT_ONNXIMPORT_H
#define TACQ_IMPORT_ONNXIMPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "tacq/Error.h"
#include "tacq/Import/ParameterStore.h"
#include <functional>

namespace tacq {

struct ImportOptions {
  /// Other constants become parameters.
  int64_t maxConstantElements = 64;
  /// The same for integer and bool tensors, which shapes are computed from.
  int64_t maxIntegerConstantElements = 1024;
  /// Why an operator cannot be compiled; empty if it can. Such nodes are reported together with
  /// what the importer itself cannot represent. Called for every node that is not inlined.
  std::function<std::string(llvm::StringRef domain, llvm::StringRef opType, int64_t opset)>
      unsupportedReason;
};

/// Something in the model that cannot be compiled.
struct UnsupportedItem {
  /// The node's name, or the name of the input or initializer.
  std::string name;
  /// The operator with its domain, or "input", "initializer".
  std::string op;
  /// 0 where `op` is no operator.
  int64_t opset;
  std::string reason;
};

struct ImportedModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  ParameterStore parameters;
  /// One sentence each.
  std::vector<std::string> warnings;
  std::vector<UnsupportedItem> unsupported;
};

/// Reads the model at `path`. TACQ_INVALID_INPUT if it is damaged or contradicts itself;
/// TACQ_UNSUPPORTED with one line for each of `imported.unsupported`. The module has been verified.
Error importOnnx(llvm::StringRef path, mlir::MLIRContext &context, const ImportOptions &options,
                 ImportedModel &imported);
/// As above, for a model in memory, under the name `path`; external data lies in `path`'s folder.
/// The bytes are read until `imported.parameters` is destroyed.
Error importOnnx(llvm::StringRef path, llvm::ArrayRef<char> content, mlir::MLIRContext &context,
                 const ImportOptions &options, ImportedModel &imported);

/// One line for each item.
std::string describeUnsupported(llvm::ArrayRef<UnsupportedItem> items);

} // namespace tacq

#endif // TACQ_IMPORT_ONNXIMPORT_H
