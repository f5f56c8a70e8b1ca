//===- OnnxNodes.cpp - Nodes, attributes and constants --------------------===//

#include "OnnxImporter.h"

using namespace mlir;
using namespace tacq;
using llvm::Twine;
using tacq::Error;

/// Functions that call each other many times can expand to any size.
static constexpr int64_t maxNodes = 2'000'000;
static constexpr int maxCallDepth = 100;

StringRef tacq::canonicalDomain(StringRef domain) { return domain == "ai.onnx" ? "" : domain; }

std::string tacq::operatorName(StringRef domain, StringRef opType) {
  domain = canonicalDomain(domain);
  return domain.empty() ? opType.str() : (domain + "::" + opType).str();
}

//===----------------------------------------------------------------------===//
// Constants and parameters
//===----------------------------------------------------------------------===//

void OnnxImporter::startConstant() {
  if (lastConstant)
    builder.setInsertionPointAfter(lastConstant);
  else
    builder.setInsertionPointToStart(entry);
}

Value OnnxImporter::addConstant(ElementsAttr value, Location loc) {
  OpBuilder::InsertionGuard guard(builder);
  startConstant();
  auto constant = builder.create<ConstantOp>(loc, value.getType(), value);
  lastConstant = constant;
  return constant;
}

Value OnnxImporter::none() {
  if (!noneValue) {
    OpBuilder::InsertionGuard guard(builder);
    startConstant();
    auto op = builder.create<NoneOp>(builder.getUnknownLoc(), builder.getNoneType());
    lastConstant = op;
    noneValue = op;
  }
  return noneValue;
}

bool OnnxImporter::isConstantSize(RankedTensorType type) const {
  return type.getNumElements() <= options.maxConstantElements ||
         (type.getElementType().isInteger() &&
          type.getNumElements() <= options.maxIntegerConstantElements);
}

StringRef OnnxImporter::addParameter(const ImportedTensor &tensor, StringRef name) {
  std::string unique = name.str();
  for (int i = 1; !symbols.insert(unique).second; ++i)
    unique = (name + "_" + Twine(i)).str();
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(entry->getParentOp());
  auto param = builder.create<ParamOp>(locationOf(name), builder.getStringAttr(unique),
                                       TypeAttr::get(tensor.type), tensor.source);
  imported.parameters.add(unique, tensor.bytes);
  return param.getSymName();
}

Error OnnxImporter::constantOf(const onnx::TensorProto &tensor, StringRef name,
                               const UnsupportedItem &subject, Value &value) {
  // The body of a function that is called often has its tensors once.
  auto known = tensorValues.find(&tensor);
  if (known != tensorValues.end()) {
    value = known->second;
    return Error();
  }
  ImportedTensor read;
  if (Error error = readTensor(tensor, modelFile, &context, imported.parameters, read)) {
    if (error.code() != TACQ_UNSUPPORTED)
      return invalid("the " + (subject.opset ? "constant" : subject.op) + " '" + name + "' " +
                     error.message());
    unsupported(subject, "it " + error.message());
    value = none();
  } else if (isConstantSize(read.type)) {
    value = addConstant(denseAttribute(read), locationOf(name));
  } else {
    StringRef symbol = addParameter(read, name);
    OpBuilder::InsertionGuard guard(builder);
    startConstant();
    auto get = builder.create<GetParamOp>(locationOf(name), read.type, symbol);
    lastConstant = get;
    value = get;
  }
  tensorValues[&tensor] = value;
  return Error();
}

Error OnnxImporter::importConstant(const onnx::NodeProto &node, StringRef nodeName, Scope &scope) {
  UnsupportedItem subject{nodeName.str(), "Constant", 0, ""};
  if (Error error = opsetOf("", nodeName, scope, subject.opset))
    return error;
  if (node.output_size() != 1 || node.output(0).empty())
    return invalid("the Constant node '" + nodeName + "' must have one output");
  const onnx::AttributeProto *value = nullptr;
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    const onnx::AttributeProto *resolved = nullptr;
    if (!StringRef(attribute.name()).starts_with("value") && attribute.name() != "sparse_value")
      continue;
    if (Error error = resolve(attribute, nodeName, scope, resolved))
      return error;
    if (resolved && value)
      return invalid("the Constant node '" + nodeName + "' has more than one value");
    if (resolved)
      value = resolved;
  }
  if (!value)
    return invalid("the Constant node '" + nodeName + "' has no value");

  Value result;
  Location loc = locationOf(nodeName);
  SmallVector<int64_t> ints(value->ints().begin(), value->ints().end());
  Type f32 = builder.getF32Type(), i64 = builder.getI64Type();
  switch (value->type()) {
  case onnx::AttributeProto::TENSOR: {
    std::string name = (scope.call ? scope.call->prefix : "") + node.output(0);
    if (Error error = constantOf(value->t(), name, subject, result))
      return error;
    break;
  }
  case onnx::AttributeProto::FLOAT:
    result = addConstant(DenseElementsAttr::get(RankedTensorType::get({}, f32), value->f()), loc);
    break;
  case onnx::AttributeProto::INT:
    result = addConstant(
        DenseElementsAttr::get(RankedTensorType::get({}, i64), static_cast<int64_t>(value->i())),
        loc);
    break;
  case onnx::AttributeProto::FLOATS:
    result = addConstant(
        DenseElementsAttr::get(RankedTensorType::get({value->floats_size()}, f32),
                               ArrayRef<float>(value->floats().data(), value->floats_size())),
        loc);
    break;
  case onnx::AttributeProto::INTS:
    result = addConstant(DenseElementsAttr::get(RankedTensorType::get({value->ints_size()}, i64),
                                                ArrayRef<int64_t>(ints)),
                         loc);
    break;
  default:
    unsupported(subject, value->type() == onnx::AttributeProto::SPARSE_TENSOR
                             ? "its value is a sparse tensor"
                             : "its value is text");
    result = none();
  }
  return define(scope, node.output(0), result, "the node '" + nodeName + "'");
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

Error OnnxImporter::resolve(const onnx::AttributeProto &attribute, StringRef nodeName,
                            const Scope &scope, const onnx::AttributeProto *&resolved) const {
  resolved = &attribute;
  if (attribute.ref_attr_name().empty())
    return Error();
  if (!scope.call)
    return invalid("the attribute '" + attribute.name() + "' of node '" + nodeName +
                   "' refers to a function's attribute, but is in no function");
  resolved = scope.call->attributes.lookup(attribute.ref_attr_name());
  return Error();
}

/// The kind of an attribute; files before ir_version 2 do not tell it.
static onnx::AttributeProto::AttributeType kindOf(const onnx::AttributeProto &attribute) {
  using Proto = onnx::AttributeProto;
  if (attribute.type() != Proto::UNDEFINED)
    return attribute.type();
  if (attribute.has_f())
    return Proto::FLOAT;
  if (attribute.has_i())
    return Proto::INT;
  if (attribute.has_s())
    return Proto::STRING;
  if (attribute.has_t())
    return Proto::TENSOR;
  if (attribute.has_g())
    return Proto::GRAPH;
  if (attribute.floats_size())
    return Proto::FLOATS;
  if (attribute.ints_size())
    return Proto::INTS;
  if (attribute.strings_size())
    return Proto::STRINGS;
  return Proto::UNDEFINED;
}

Error OnnxImporter::readAttribute(const onnx::AttributeProto &attribute,
                                  const UnsupportedItem &subject, Attribute &result) {
  using Proto = onnx::AttributeProto;
  result = nullptr;
  auto refuse = [&](const Twine &reason) {
    unsupported(subject, "its attribute '" + attribute.name() + "' " + reason);
    return Error();
  };
  switch (kindOf(attribute)) {
  case Proto::INT:
    result = builder.getI64IntegerAttr(attribute.i());
    return Error();
  case Proto::FLOAT:
    result = builder.getF32FloatAttr(attribute.f());
    return Error();
  case Proto::STRING:
    result = builder.getStringAttr(attribute.s());
    return Error();
  case Proto::INTS:
    result = builder.getDenseI64ArrayAttr(
        SmallVector<int64_t>(attribute.ints().begin(), attribute.ints().end()));
    return Error();
  case Proto::FLOATS:
    result = builder.getDenseF32ArrayAttr(
        ArrayRef<float>(attribute.floats().data(), attribute.floats_size()));
    return Error();
  case Proto::STRINGS: {
    SmallVector<Attribute> texts;
    for (const std::string &text : attribute.strings())
      texts.push_back(builder.getStringAttr(text));
    result = builder.getArrayAttr(texts);
    return Error();
  }
  case Proto::TENSOR: {
    ImportedTensor tensor;
    if (Error error = readTensor(attribute.t(), modelFile, &context, imported.parameters, tensor)) {
      if (error.code() == TACQ_UNSUPPORTED)
        return refuse(error.message());
      return invalid("the tensor '" + attribute.name() + "' of node '" + subject.name + "' " +
                     error.message());
    }
    if (isConstantSize(tensor.type))
      result = denseAttribute(tensor);
    else
      result = FlatSymbolRefAttr::get(&context,
                                      addParameter(tensor, subject.name + "." + attribute.name()));
    return Error();
  }
  case Proto::TYPE_PROTO: {
    std::string reason = unsupportedType(attribute.tp());
    if (!reason.empty())
      return refuse(reason);
    result = TypeAttr::get(declaredType(attribute.tp(), &context));
    return Error();
  }
  case Proto::SPARSE_TENSOR:
  case Proto::SPARSE_TENSORS:
    return refuse("is a sparse tensor");
  case Proto::TENSORS:
  case Proto::GRAPHS:
  case Proto::TYPE_PROTOS:
    return refuse("is a list that no supported operator has");
  case Proto::GRAPH:
    return refuse("is a subgraph handed to a function");
  default:
    return invalid("the attribute '" + attribute.name() + "' of node '" + subject.name +
                   "' has no value");
  }
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

Error OnnxImporter::opsetOf(StringRef domain, StringRef nodeName, const Scope &scope,
                            int64_t &opset) const {
  const llvm::StringMap<int64_t> &known = scope.call ? scope.call->opsets : opsets;
  opset = known.lookup(canonicalDomain(domain));
  if (opset == 0)
    return invalid("node '" + nodeName + "' is of the operator domain '" +
                   (domain.empty() ? "ai.onnx" : domain) + "', of which " +
                   (scope.call ? "its function" : "the model") + " imports no version");
  return Error();
}

Type OnnxImporter::resultType(Scope &scope, StringRef name, const UnsupportedItem &subject) {
  if (name.empty())
    return builder.getNoneType();
  const onnx::TypeProto *type = scope.types.lookup(name);
  if (!type)
    return unknownType(&context);
  std::string reason = unsupportedType(*type);
  if (!reason.empty()) {
    unsupported(subject, "its result '" + name + "' " + reason);
    return unknownType(&context);
  }
  return declaredType(*type, &context);
}

Error OnnxImporter::inlineCall(const onnx::NodeProto &node, StringRef nodeName,
                               const onnx::FunctionProto &function, Scope &scope) {
  std::string called = operatorName(function.domain(), function.name());
  int depth = 0;
  for (const FunctionCall *call = scope.call; call; call = call->caller, ++depth)
    if (call->function == &function)
      return invalid("the function '" + called + "' calls itself, at node '" + nodeName + "'");
  if (depth > maxCallDepth)
    return invalid("functions call each other more than " + Twine(maxCallDepth) +
                   " levels deep, at node '" + nodeName + "'");
  if (node.input_size() > function.input_size() || node.output_size() > function.output_size())
    return invalid("node '" + nodeName + "' gives more inputs or takes more outputs than the " +
                   "function '" + called + "' has");

  FunctionCall call;
  call.function = &function;
  call.caller = scope.call;
  call.prefix = (nodeName + "/").str();
  for (const onnx::OperatorSetIdProto &opset : function.opset_import())
    call.opsets[canonicalDomain(opset.domain())] = opset.version();
  if (auto defaults = functionDefaults.find(&function); defaults != functionDefaults.end())
    for (const onnx::AttributeProto &attribute : defaults->second)
      call.attributes[attribute.name()] = &attribute;
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    const onnx::AttributeProto *resolved = nullptr;
    if (Error error = resolve(attribute, nodeName, scope, resolved))
      return error;
    if (resolved)
      call.attributes[attribute.name()] = resolved;
  }

  Scope body;
  body.call = &call;
  body.prefix = call.prefix;
  for (const auto &[i, name] : llvm::enumerate(function.input())) {
    Value value = none();
    bool isGiven = static_cast<int>(i) < node.input_size() && !node.input(i).empty();
    if (isGiven)
      if (Error error = lookup(scope, node.input(i), "node '" + nodeName + "'", value))
        return error;
    if (Error error = define(body, name, value, "the function '" + called + "'"))
      return error;
  }
  if (Error error = importNodes(function.node(), body))
    return error;
  for (const auto &[i, name] : llvm::enumerate(node.output())) {
    if (name.empty())
      continue;
    Value value;
    if (Error error = lookup(body, function.output(i), "the function '" + called + "'", value))
      return error;
    // The caller may declare what the function's body does not.
    UnsupportedItem subject{nodeName.str(), called, 1, ""};
    Type declared = resultType(scope, name, subject);
    if (hasUnknownElements(value.getType()) && value.getDefiningOp<NodeOp>())
      value.setType(declared);
    if (Error error = define(scope, name, value, "the node '" + nodeName + "'"))
      return error;
  }
  return Error();
}

Error OnnxImporter::importNode(const onnx::NodeProto &node, int index, Scope &scope) {
  std::string nodeName = node.name().empty()
                             ? scope.prefix + node.op_type() + "_" + std::to_string(index)
                             : (scope.call ? scope.call->prefix : "") + node.name();
  if (node.op_type().empty())
    return invalid("node '" + nodeName + "' has no operator");
  if (++nodeCount > maxNodes)
    return invalid("the model has more than " + Twine(maxNodes) +
                   " nodes once its functions are expanded");
  if (const onnx::FunctionProto *function = functionOf(node))
    return inlineCall(node, nodeName, *function, scope);

  StringRef domain = canonicalDomain(node.domain());
  if (domain.empty() && node.op_type() == "Constant")
    return importConstant(node, nodeName, scope);
  UnsupportedItem subject{nodeName, operatorName(domain, node.op_type()), 0, ""};
  if (Error error = opsetOf(domain, nodeName, scope, subject.opset))
    return error;
  if (options.unsupportedReason) {
    std::string reason = options.unsupportedReason(domain, node.op_type(), subject.opset);
    if (!reason.empty())
      unsupported(subject, reason);
  }

  SmallVector<Value> operands;
  for (const std::string &input : node.input()) {
    Value value;
    if (input.empty())
      value = none();
    else if (Error error = lookup(scope, input, "node '" + nodeName + "'", value))
      return error;
    operands.push_back(value);
  }
  // Exporters rename shared weights by Identity: the weight stays one parameter.
  if (domain.empty() && node.op_type() == "Identity" && operands.size() == 1 &&
      node.output_size() == 1 && operands[0].getDefiningOp() &&
      isa<ConstantOp, GetParamOp>(operands[0].getDefiningOp()))
    return define(scope, node.output(0), operands[0], "the node '" + nodeName + "'");

  NamedAttrList attributes;
  SmallVector<std::pair<StringRef, const onnx::GraphProto *>> graphs;
  llvm::StringSet<> names;
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    const onnx::AttributeProto *resolved = nullptr;
    if (attribute.name().empty() || !names.insert(attribute.name()).second)
      return invalid("node '" + nodeName + "' has an attribute '" + attribute.name() +
                     "' without a name or twice");
    if (Error error = resolve(attribute, nodeName, scope, resolved))
      return error;
    if (!resolved)
      continue;
    if (resolved == &attribute && kindOf(attribute) == onnx::AttributeProto::GRAPH) {
      graphs.emplace_back(attribute.name(), &attribute.g());
      continue;
    }
    Attribute value;
    if (Error error = readAttribute(*resolved, subject, value))
      return error;
    if (value)
      attributes.set(attribute.name(), value);
  }
  bool hasKnownBodies = domain.empty() && (node.op_type() == "If" || node.op_type() == "Loop" ||
                                           node.op_type() == "Scan");
  llvm::stable_sort(graphs, [](const auto &a, const auto &b) {
    return a.first == "then_branch" && b.first != "then_branch";
  });
  for (const auto &[i, graph] : llvm::enumerate(graphs))
    if (!hasKnownBodies)
      attributes.set(graph.first, builder.getI64IntegerAttr(i));

  SmallVector<Type> types;
  for (const std::string &output : node.output())
    types.push_back(resultType(scope, output, subject));
  auto op = builder.create<NodeOp>(locationOf(nodeName), types, node.op_type(), operands,
                                   attributes.getDictionary(&context), nodeName, subject.opset,
                                   domain, static_cast<unsigned>(graphs.size()));
  for (const auto &[i, graph] : llvm::enumerate(graphs))
    if (Error error = importBody(*graph.second, scope, nodeName, op.getBodies()[i]))
      return error;
  for (const auto &[i, output] : llvm::enumerate(node.output()))
    if (!output.empty())
      if (Error error = define(scope, output, op.getResult(i), "the node '" + nodeName + "'"))
        return error;
  return Error();
}
