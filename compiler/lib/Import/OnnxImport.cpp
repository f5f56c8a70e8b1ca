//===- OnnxImport.cpp - Reading ONNX models -------------------------------===//

#include "tacq/Import/OnnxImport.h"

#include "OnnxImporter.h"
#include "OnnxScan.h"
#include "mlir/IR/Verifier.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/unknown_field_set.h>

using namespace mlir;
using namespace tacq;
using llvm::Twine;
using tacq::Error;

/// The newest versions that the project has seen.
static constexpr int64_t newestOpset = 27;
static constexpr int64_t newestIrVersion = 14;

OnnxImporter::OnnxImporter(StringRef path, StringRef modelFile, MLIRContext &context,
                           const ImportOptions &options, ImportedModel &imported)
    : path(path), modelFile(modelFile), context(context), options(options), imported(imported),
      builder(&context) {
  // A parameter must not take the function's name.
  symbols.insert("main");
}

Error OnnxImporter::invalid(const Twine &reason) const {
  return Error(TACQ_INVALID_INPUT, ("'" + path + "': " + reason).str());
}

void OnnxImporter::unsupported(UnsupportedItem subject, const Twine &reason) {
  subject.reason = reason.str();
  imported.unsupported.push_back(std::move(subject));
}

Location OnnxImporter::locationOf(StringRef nodeName) const {
  return NameLoc::get(StringAttr::get(&context, nodeName),
                      FileLineColLoc::get(&context, path, 0, 0));
}

Error OnnxImporter::readVersions(const onnx::ModelProto &model) {
  if (model.ir_version() < 1)
    return invalid("not a readable ONNX model: it has no ir_version");
  if (model.ir_version() > newestIrVersion)
    imported.warnings.push_back("'" + path + "' has ir_version " +
                                std::to_string(model.ir_version()) + ", newer than the known " +
                                std::to_string(newestIrVersion));
  for (const onnx::OperatorSetIdProto &opset : model.opset_import()) {
    StringRef domain = canonicalDomain(opset.domain());
    if (opset.version() < 1)
      return invalid("it imports version " + Twine(opset.version()) + " of the operators of '" +
                     (domain.empty() ? "ai.onnx" : domain) + "'; versions begin with 1");
    if (domain.empty() && opset.version() > newestOpset)
      imported.warnings.push_back(
          "'" + path + "' uses opset " + std::to_string(opset.version()) +
          ", newer than the known " + std::to_string(newestOpset) +
          ": operators whose meaning has changed since are taken in their older meaning");
    opsets[domain] = opset.version();
  }
  // Before ir_version 3 there were no such imports.
  if (model.ir_version() < 3 && opsets.empty())
    opsets[""] = 1;
  if (opsets.empty())
    return invalid("not a readable ONNX model: it does not say which opset it uses");
  return Error();
}

static std::string overloadOf(const google::protobuf::UnknownFieldSet &fields, int number) {
  for (int i = 0; i < fields.field_count(); ++i)
    if (fields.field(i).number() == number &&
        fields.field(i).type() == google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
      return fields.field(i).length_delimited();
  return "";
}

static std::string functionKey(StringRef domain, StringRef name, StringRef overload) {
  return (canonicalDomain(domain) + Twine('\0') + name + Twine('\0') + overload).str();
}

const onnx::FunctionProto *OnnxImporter::functionOf(const onnx::NodeProto &node) const {
  if (functions.empty())
    return nullptr;
  constexpr int overloadField = 8;
  return functions.lookup(
      functionKey(node.domain(), node.op_type(), overloadOf(node.unknown_fields(), overloadField)));
}

Error OnnxImporter::readFunctions(const onnx::ModelProto &model) {
  constexpr int defaultsField = 11, overloadField = 13;
  for (const onnx::FunctionProto &function : model.functions()) {
    std::string key = functionKey(function.domain(), function.name(),
                                  overloadOf(function.unknown_fields(), overloadField));
    if (!functions.try_emplace(key, &function).second)
      return invalid("the function '" + operatorName(function.domain(), function.name()) +
                     "' is defined twice");
    const google::protobuf::UnknownFieldSet &fields = function.unknown_fields();
    for (int i = 0; i < fields.field_count(); ++i) {
      if (fields.field(i).number() != defaultsField ||
          fields.field(i).type() != google::protobuf::UnknownField::TYPE_LENGTH_DELIMITED)
        continue;
      onnx::AttributeProto &attribute = functionDefaults[&function].emplace_back();
      if (!attribute.ParseFromString(fields.field(i).length_delimited()))
        return invalid("the function '" + operatorName(function.domain(), function.name()) +
                       "' has a damaged default attribute");
    }
  }
  return Error();
}

Error OnnxImporter::run(const onnx::ModelProto &model) {
  if (!model.has_graph())
    return invalid("not a readable ONNX model: it has no graph");
  if (Error error = readVersions(model))
    return error;
  if (Error error = readFunctions(model))
    return error;
  imported.module = ModuleOp::create(FileLineColLoc::get(&context, path, 0, 0));
  module = *imported.module;
  module->setAttr("tacq.model", builder.getStringAttr(modelFile));
  if (Error error = importMain(model.graph()))
    return error;
  return finish();
}

Error OnnxImporter::enterGraph(const onnx::GraphProto &graph, Scope &scope) {
  for (const onnx::TensorProto &tensor : graph.initializer()) {
    if (tensor.name().empty())
      return invalid("an initializer has no name");
    if (!scope.initializers.try_emplace(tensor.name(), &tensor).second)
      return invalid("the initializer '" + tensor.name() + "' is there twice");
  }
  for (const onnx::SparseTensorProto &sparse : graph.sparse_initializer()) {
    unsupported({sparse.values().name(), "initializer", 0, ""}, "it is a sparse tensor");
    scope.values[sparse.values().name()] = none();
  }
  for (const onnx::ValueInfoProto &info : graph.value_info())
    scope.types[info.name()] = &info.type();
  for (const onnx::ValueInfoProto &info : graph.output())
    scope.types[info.name()] = &info.type();
  return Error();
}

Error OnnxImporter::define(Scope &scope, StringRef name, Value value, const Twine &definer) {
  if (scope.initializers.count(name) || !scope.values.try_emplace(name, value).second)
    return invalid(definer + " defines the value '" + name + "', which is defined already");
  return Error();
}

Error OnnxImporter::lookup(Scope &scope, StringRef name, const Twine &user, Value &value) {
  for (Scope *s = &scope; s; s = s->parent) {
    auto known = s->values.find(name);
    if (known != s->values.end()) {
      value = known->second;
      return Error();
    }
    auto initializer = s->initializers.find(name);
    if (initializer == s->initializers.end())
      continue;
    if (Error error =
            constantOf(*initializer->second, name, {name.str(), "initializer", 0, ""}, value))
      return error;
    s->values[name] = value;
    s->initializers.erase(initializer);
    return Error();
  }
  for (Scope *s = &scope; s; s = s->parent)
    if (s->producers.count(name))
      return invalid(user + " uses the value '" + name +
                     "' before it is computed; the nodes must be in an order that computes first");
  return invalid(user + " uses the value '" + name + "', which nothing defines");
}

Error OnnxImporter::addInputs(const onnx::GraphProto &graph, Scope &scope, func::FuncOp function) {
  SmallVector<const onnx::ValueInfoProto *> inputs;
  for (const onnx::ValueInfoProto &input : graph.input()) {
    if (input.name().empty())
      return invalid("an input has no name");
    // An initializer is the default of an input; compiled models take it as a constant.
    if (!scope.initializers.count(input.name()))
      inputs.push_back(&input);
  }
  InputDims dims(inputs);
  for (const onnx::ValueInfoProto *input : inputs) {
    const onnx::TypeProto &proto = input->type();
    UnsupportedItem subject{input->name(), "input", 0, ""};
    Type type = unknownType(&context);
    std::string reason = unsupportedType(proto);
    if (!reason.empty())
      unsupported(subject, "it " + reason);
    else if (!proto.has_tensor_type() || proto.tensor_type().elem_type() == 0)
      return invalid("the input '" + input->name() + "' has no type");
    else if (!proto.tensor_type().has_shape())
      unsupported(subject, "its number of dimensions is not declared");
    else
      type = tensorType(elementTypeOfOnnx(proto.tensor_type().elem_type(), &context),
                        dims.dimsOf(*input));
    Value argument = entry->addArgument(type, locationOf(input->name()));
    if (Error error = define(scope, input->name(), argument, "an input"))
      return error;
  }
  function.setType(builder.getFunctionType(entry->getArgumentTypes(), {}));
  for (const auto &[i, input] : llvm::enumerate(inputs))
    function.setArgAttr(i, "tacq.name", builder.getStringAttr(input->name()));
  return Error();
}

Error OnnxImporter::importNodes(const Nodes &nodes, Scope &scope) {
  for (const auto &[index, node] : llvm::enumerate(nodes))
    for (const std::string &output : node.output())
      scope.producers.try_emplace(output, static_cast<int>(index));
  for (const auto &[index, node] : llvm::enumerate(nodes))
    if (Error error = importNode(node, static_cast<int>(index), scope))
      return error;
  return Error();
}

Error OnnxImporter::importMain(const onnx::GraphProto &graph) {
  builder.setInsertionPointToEnd(module.getBody());
  auto function = builder.create<func::FuncOp>(FileLineColLoc::get(&context, path, 0, 0), "main",
                                               builder.getFunctionType({}, {}));
  entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  Scope scope;
  if (Error error = enterGraph(graph, scope))
    return error;
  if (Error error = addInputs(graph, scope, function))
    return error;
  if (Error error = importNodes(graph.node(), scope))
    return error;
  if (graph.output().empty())
    return invalid("the model has no outputs");
  SmallVector<Value> results;
  llvm::StringSet<> names;
  for (const onnx::ValueInfoProto &output : graph.output()) {
    if (!names.insert(output.name()).second)
      return invalid("the output '" + output.name() + "' is there twice");
    if (Error error = lookup(scope, output.name(), "the list of outputs", results.emplace_back()))
      return error;
  }
  builder.create<func::ReturnOp>(function.getLoc(), results);
  function.setType(builder.getFunctionType(entry->getArgumentTypes(), ValueRange(results)));
  for (const auto &[i, output] : llvm::enumerate(graph.output()))
    function.setResultAttr(i, "tacq.name", builder.getStringAttr(output.name()));
  return Error();
}

Error OnnxImporter::importBody(const onnx::GraphProto &graph, Scope &outer, StringRef nodeName,
                               Region &region) {
  OpBuilder::InsertionGuard guard(builder);
  Block *block = builder.createBlock(&region);
  Scope scope;
  scope.parent = &outer;
  scope.call = outer.call;
  scope.prefix = (nodeName + "/").str();
  if (Error error = enterGraph(graph, scope))
    return error;
  for (const onnx::ValueInfoProto &input : graph.input()) {
    std::string reason = unsupportedType(input.type());
    if (!reason.empty())
      unsupported({nodeName.str(), "subgraph", 0, ""},
                  "its input '" + input.name() + "' " + reason);
    // The node gives all inputs of its subgraph: a default is never used.
    scope.initializers.erase(input.name());
    Value argument =
        block->addArgument(declaredType(input.type(), &context), locationOf(input.name()));
    if (Error error =
            define(scope, input.name(), argument, "an input of the subgraph of '" + nodeName + "'"))
      return error;
  }
  builder.setInsertionPointToEnd(block);
  if (Error error = importNodes(graph.node(), scope))
    return error;
  SmallVector<Value> results;
  for (const onnx::ValueInfoProto &output : graph.output())
    if (Error error = lookup(scope, output.name(), "the subgraph of node '" + nodeName + "'",
                             results.emplace_back()))
      return error;
  // With no values the operands still have to be given: the short builder is another one.
  builder.create<YieldOp>(locationOf(nodeName), ValueRange(results));
  return Error();
}

Error OnnxImporter::finish() {
  if (!imported.unsupported.empty())
    return Error(TACQ_UNSUPPORTED, "'" + path + "' cannot be compiled because of:" +
                                       describeUnsupported(imported.unsupported));
  std::string problems;
  ScopedDiagnosticHandler collect(&context, [&](Diagnostic &diagnostic) {
    problems += "\n  " + diagnostic.str();
    return LogicalResult::success();
  });
  if (mlir::failed(mlir::verify(module)))
    return Error(TACQ_INTERNAL,
                 "the import of '" + path + "' gave IR that is not valid:" + problems);
  return Error();
}

std::string tacq::describeUnsupported(ArrayRef<UnsupportedItem> items) {
  std::string text;
  for (const UnsupportedItem &item : items) {
    text += "\n  ";
    if (item.opset != 0)
      text +=
          "node '" + item.name + "' (" + item.op + ", opset " + std::to_string(item.opset) + ")";
    else
      text += item.op + " '" + item.name + "'";
    text += ": " + item.reason;
  }
  return text;
}

/// The store of a model's folder. Where the model is a link, as in a download cache, its data files
/// are links to the same place.
static ParameterStore storeFor(StringRef path) {
  ParameterStore store(llvm::sys::path::parent_path(path));
  SmallString<256> real;
  if (!llvm::sys::fs::real_path(path, real))
    store.allowFolder(llvm::sys::path::parent_path(real));
  return store;
}

static Error importContent(StringRef path, ArrayRef<char> content, MLIRContext &context,
                           const ImportOptions &options, ImportedModel &imported) {
  context.loadDialect<TACQDialect, func::FuncDialect>();
  auto unreadable = [&](StringRef reason) {
    return Error(TACQ_INVALID_INPUT,
                 ("'" + path + "' is not a readable ONNX model: " + reason).str());
  };
  std::string stripped;
  std::string problem = stripTensorData(StringRef(content.data(), content.size()), stripped);
  if (!problem.empty())
    return unreadable(problem);
  onnx::ModelProto model;
  google::protobuf::io::ArrayInputStream stream(stripped.data(), static_cast<int>(stripped.size()));
  // A quiet parser: it would write its own lines to stderr.
  google::protobuf::LogSilencer silencer;
  if (!model.ParsePartialFromZeroCopyStream(&stream))
    return unreadable("its messages are damaged or nested too deep");
  return OnnxImporter(path, llvm::sys::path::filename(path), context, options, imported).run(model);
}

Error tacq::importOnnx(StringRef path, ArrayRef<char> content, MLIRContext &context,
                       const ImportOptions &options, ImportedModel &imported) {
  imported = ImportedModel();
  imported.parameters = storeFor(path);
  imported.parameters.provide(llvm::sys::path::filename(path), content);
  return importContent(path, content, context, options, imported);
}

Error tacq::importOnnx(StringRef path, MLIRContext &context, const ImportOptions &options,
                       ImportedModel &imported) {
  imported = ImportedModel();
  SmallString<256> real;
  if (std::error_code code = llvm::sys::fs::real_path(path, real))
    return Error(TACQ_INVALID_INPUT, ("'" + path + "' cannot be read: " + code.message()).str());
  if (llvm::sys::fs::is_directory(real))
    return Error(TACQ_INVALID_INPUT,
                 ("'" + path + "' is a folder; give the .onnx file in it").str());
  imported.parameters = storeFor(path);
  ArrayRef<char> content;
  if (Error error = imported.parameters.map(llvm::sys::path::filename(path), content))
    return Error(error.code(), ("'" + path + "' cannot be read: " + error.message()).str());
  return importContent(path, content, context, options, imported);
}
