//===- OnnxImporter.h - Building the IR of an ONNX model --------*- C++ -*-===//

#ifndef TACQ_LIB_IMPORT_ONNXIMPORTER_H
#define TACQ_LIB_IMPORT_ONNXIMPORTER_H

#include "OnnxProto.h"
#include "OnnxTensor.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "tacq/Import/OnnxImport.h"
#include "llvm/ADT/StringSet.h"
#include <list>
#include <map>
#include <set>

namespace tacq {

/// Gives each dimension of the inputs a size or a name.
class InputDims {
public:
  explicit InputDims(llvm::ArrayRef<const onnx::ValueInfoProto *> inputs);
  Dims dimsOf(const onnx::ValueInfoProto &input);

private:
  std::string freshName(llvm::StringRef text);

  /// Names that are a dimension of some input.
  std::set<std::string> bound;
  /// Dimension parameters that are no name here, under the name they got.
  llvm::StringMap<std::string> renames;
};

/// The call of a model-local function that is being inlined.
struct FunctionCall {
  const onnx::FunctionProto *function;
  const FunctionCall *caller;
  /// Precedes the names of the function's nodes: the path of the call.
  std::string prefix;
  /// What `ref_attr_name` means; values point into the caller's node or the function's defaults.
  llvm::StringMap<const onnx::AttributeProto *> attributes;
  llvm::StringMap<int64_t> opsets;
};

/// The values that a graph (or subgraph, or function) sees by name.
struct Scope {
  Scope *parent = nullptr;
  const FunctionCall *call = nullptr;
  /// Precedes the names that nodes without one get.
  std::string prefix;
  llvm::StringMap<mlir::Value> values;
  /// Initializers without a value yet: they get one at their first use.
  llvm::StringMap<const onnx::TensorProto *> initializers;
  llvm::StringMap<const onnx::TypeProto *> types;
  /// Which node computes a value, to tell a wrong order from an unknown name.
  llvm::StringMap<int> producers;
};

class OnnxImporter {
public:
  OnnxImporter(llvm::StringRef path, llvm::StringRef modelFile, mlir::MLIRContext &context,
               const ImportOptions &options, ImportedModel &imported);

  Error run(const onnx::ModelProto &model);

private:
  using Nodes = google::protobuf::RepeatedPtrField<onnx::NodeProto>;

  // OnnxImport.cpp: the model and its graphs.
  Error readVersions(const onnx::ModelProto &model);
  Error readFunctions(const onnx::ModelProto &model);
  Error importMain(const onnx::GraphProto &graph);
  Error addInputs(const onnx::GraphProto &graph, Scope &scope, mlir::func::FuncOp function);
  Error enterGraph(const onnx::GraphProto &graph, Scope &scope);
  Error importNodes(const Nodes &nodes, Scope &scope);
  Error importBody(const onnx::GraphProto &graph, Scope &outer, llvm::StringRef nodeName,
                   mlir::Region &region);
  Error lookup(Scope &scope, llvm::StringRef name, const llvm::Twine &user, mlir::Value &value);
  Error define(Scope &scope, llvm::StringRef name, mlir::Value value, const llvm::Twine &definer);
  Error finish();

  // OnnxNodes.cpp: nodes, attributes, constants.
  Error importNode(const onnx::NodeProto &node, int index, Scope &scope);
  Error importConstant(const onnx::NodeProto &node, llvm::StringRef nodeName, Scope &scope);
  Error inlineCall(const onnx::NodeProto &node, llvm::StringRef nodeName,
                   const onnx::FunctionProto &function, Scope &scope);
  /// `name` is the user's name for the tensor, `subject` how messages call it.
  Error constantOf(const onnx::TensorProto &tensor, llvm::StringRef name,
                   const UnsupportedItem &subject, mlir::Value &value);
  /// A null result: the attribute is unsupported, which has been noted.
  Error readAttribute(const onnx::AttributeProto &attribute, const UnsupportedItem &subject,
                      mlir::Attribute &result);
  Error opsetOf(llvm::StringRef domain, llvm::StringRef nodeName, const Scope &scope,
                int64_t &opset) const;
  const onnx::FunctionProto *functionOf(const onnx::NodeProto &node) const;
  /// The attribute that is meant: itself, or what a reference of a function's body refers to; null
  /// if neither the call nor the function gives it.
  Error resolve(const onnx::AttributeProto &attribute, llvm::StringRef nodeName, const Scope &scope,
                const onnx::AttributeProto *&resolved) const;
  mlir::Type resultType(Scope &scope, llvm::StringRef name, const UnsupportedItem &subject);
  mlir::Value addConstant(mlir::ElementsAttr value, mlir::Location loc);
  void startConstant();
  mlir::Value none();
  llvm::StringRef addParameter(const ImportedTensor &tensor, llvm::StringRef name);
  bool isConstantSize(mlir::RankedTensorType type) const;

  Error invalid(const llvm::Twine &reason) const;
  void unsupported(UnsupportedItem subject, const llvm::Twine &reason);
  mlir::Location locationOf(llvm::StringRef nodeName) const;

  std::string path, modelFile;
  mlir::MLIRContext &context;
  const ImportOptions &options;
  ImportedModel &imported;
  mlir::OpBuilder builder;
  mlir::ModuleOp module;
  mlir::Block *entry = nullptr;
  /// Constants and parameters come first in the function, in the order of their first use.
  mlir::Operation *lastConstant = nullptr;
  mlir::Value noneValue;
  llvm::DenseMap<const onnx::TensorProto *, mlir::Value> tensorValues;
  llvm::StringSet<> symbols;
  llvm::StringMap<int64_t> opsets;
  llvm::StringMap<const onnx::FunctionProto *> functions;
  /// Function defaults that Debian's protobuf classes have no field for, by function.
  std::map<const onnx::FunctionProto *, std::list<onnx::AttributeProto>> functionDefaults;
  int64_t nodeCount = 0;
};

/// "domain::Op", or "Op" of the default domain.
std::string operatorName(llvm::StringRef domain, llvm::StringRef opType);
/// The domain as the IR has it: "ai.onnx" is "".
llvm::StringRef canonicalDomain(llvm::StringRef domain);

} // namespace tacq

#endif // TACQ_LIB_IMPORT_ONNXIMPORTER_H
