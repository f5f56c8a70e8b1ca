//===- MainFunction.cpp - Arguments and results of @main by name ----------===//

#include "MainFunction.h"

using namespace mlir;
using namespace tacq;

static constexpr llvm::StringLiteral nameAttribute = "tacq.name";

FailureOr<MainFunction> MainFunction::find(ModuleOp module) {
  auto function = module.lookupSymbol<func::FuncOp>("main");
  if (!function || function.isExternal()) {
    module.emitError("there is no function @main, which is where a model's graph is");
    return failure();
  }
  return MainFunction(function);
}

Value MainFunction::findArgument(StringRef name) {
  for (BlockArgument argument : function.getArguments())
    if (auto own = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), nameAttribute);
        own && own.getValue() == name)
      return argument;
  return {};
}

StringRef MainFunction::resultName(unsigned i) {
  auto name = function.getResultAttrOfType<StringAttr>(i, nameAttribute);
  return name ? name.getValue() : StringRef();
}

std::optional<unsigned> MainFunction::findResult(StringRef name) {
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    if (resultName(i) == name)
      return i;
  return std::nullopt;
}

std::string MainFunction::resultNames() {
  std::string text;
  for (unsigned i = 0; i < function.getNumResults(); ++i)
    text += (i ? ", '" : "'") + resultName(i).str() + "'";
  return text;
}

Value MainFunction::addArgument(StringRef name, Type type) {
  unsigned index = function.getNumArguments();
  Builder builder(function.getContext());
  auto attributes =
      builder.getDictionaryAttr(builder.getNamedAttr(nameAttribute, builder.getStringAttr(name)));
  function.insertArgument(index, type, attributes, function.getLoc());
  return function.getArgument(index);
}

void MainFunction::setResults(ValueRange values, ArrayRef<Attribute> attributes) {
  terminator()->setOperands(values);
  update();
  function.setAllResultAttrs(attributes);
}

void MainFunction::addResult(StringRef name, Value value) {
  Builder builder(function.getContext());
  SmallVector<Value> values(results());
  SmallVector<Attribute> attributes;
  for (unsigned i = 0; i < values.size(); ++i)
    attributes.push_back(builder.getDictionaryAttr(function.getResultAttrs(i)));
  values.push_back(value);
  attributes.push_back(
      builder.getDictionaryAttr(builder.getNamedAttr(nameAttribute, builder.getStringAttr(name))));
  setResults(values, attributes);
}

void MainFunction::filterResults(llvm::function_ref<bool(StringRef)> keep) {
  Builder builder(function.getContext());
  SmallVector<Value> values;
  SmallVector<Attribute> attributes;
  for (auto [i, value] : llvm::enumerate(results()))
    if (keep(resultName(i))) {
      values.push_back(value);
      attributes.push_back(builder.getDictionaryAttr(function.getResultAttrs(i)));
    }
  setResults(values, attributes);
}

void MainFunction::update() {
  function.setFunctionType(FunctionType::get(function.getContext(),
                                             function.getBody().front().getArgumentTypes(),
                                             terminator()->getOperandTypes()));
}
