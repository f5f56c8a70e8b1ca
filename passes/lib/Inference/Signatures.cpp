//===- Signatures.cpp - What ONNX says about operators' operands ----------===//

#include "Signatures.h"
#include "tacq/Dialect/TACQ/OnnxTypes.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace tacq;

namespace {
/// See tools/dev/generate-signatures.py.
struct Signature {
  StringRef name;
  int64_t since;
  StringRef inputs, variables;
  int64_t outputs;
  StringRef attributes;
};
} // namespace

static const Signature kSignatures[] = {
#include "Signatures.inc"
};

/// The signature in the node's opset, or the first one of an operator that came later (some tools
/// use operators before ONNX has them); null for operators that ONNX does not have.
static const Signature *lookup(NodeOp node) {
  std::pair<StringRef, int64_t> key(node.getOpType(), node.getOpset());
  const Signature *behind =
      llvm::upper_bound(kSignatures, key, [](const auto &wanted, const Signature &entry) {
        return wanted < std::pair(entry.name, entry.since);
      });
  if (behind != std::begin(kSignatures) && std::prev(behind)->name == key.first)
    return std::prev(behind);
  return behind != std::end(kSignatures) && behind->name == key.first ? behind : nullptr;
}

static SmallVector<StringRef> wordsOf(StringRef text) {
  SmallVector<StringRef> words;
  text.split(words, ' ', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  return words;
}

static uint32_t maskOf(StringRef text) {
  uint32_t mask = 0;
  bool failed = text.getAsInteger(16, mask);
  assert(!failed && "signatures are written by a script");
  (void)failed;
  return mask;
}

namespace {
class SignatureCheck {
public:
  SignatureCheck(NodeOp node, const Signature &signature) : node(node), signature(signature) {
    for (StringRef word : wordsOf(signature.variables)) {
      auto [name, mask] = word.split('=');
      masks[name] = maskOf(mask);
    }
  }

  LogicalResult run() {
    return success(succeeded(checkInputs()) && succeeded(checkOutputs()) &&
                   succeeded(checkAttributes()));
  }

private:
  InFlightDiagnostic fail() {
    return node.emitError("node '") << node.getNodeName() << "' (" << node.getOpType() << ", opset "
                                    << node.getOpset() << "): ";
  }
  LogicalResult checkInputs();
  LogicalResult checkInput(unsigned number, StringRef type);
  LogicalResult checkOutputs();
  LogicalResult checkAttributes();

  NodeOp node;
  const Signature &signature;
  /// The element types that a type variable may stand for, and the one that it stands for.
  llvm::StringMap<uint32_t> masks;
  llvm::StringMap<Type> bound;
};
} // namespace

LogicalResult SignatureCheck::checkInputs() {
  SmallVector<StringRef> formals = wordsOf(signature.inputs);
  bool variadic = !formals.empty() && StringRef("*~").contains(formals.back().back());
  size_t count = node.getInputs().size();
  if (count > formals.size() && !variadic)
    return fail() << "it has " << count << " operands, and at most " << formals.size()
                  << " are possible";
  for (size_t i = 0, e = std::max(count, formals.size()); i < e; ++i) {
    StringRef formal = formals[std::min(i, formals.size() - 1)];
    bool optional = StringRef("?*~").contains(formal.back());
    StringRef type = formal.rtrim("?*~");
    if (i >= count || isa<NoneType>(node.getInputs()[i].getType())) {
      if (optional)
        continue;
      return fail() << "its operand " << i << " is missing";
    }
    if (formal.back() != '~' && failed(checkInput(i, type)))
      return failure();
  }
  return success();
}

LogicalResult SignatureCheck::checkInput(unsigned number, StringRef type) {
  auto shaped = dyn_cast<ShapedType>(node.getInputs()[number].getType());
  Type element = shaped ? shaped.getElementType() : Type();
  std::optional<int64_t> onnx = element ? onnxNumberOf(element) : std::nullopt;
  // What is not known yet, or is no tensor, is told by others.
  if (!onnx)
    return success();
  auto variable = masks.find(type);
  uint32_t mask = variable == masks.end() ? maskOf(type) : variable->second;
  if (variable != masks.end()) {
    Type &known = bound[type];
    if (known && known != element)
      return fail() << "its operands have different element types, " << known << " and " << element
                    << "; a Cast is missing";
    known = element;
  }
  // A mask of none: the operator takes what the compiler has no type for.
  if (mask == 0 || (mask >> *onnx & 1))
    return success();
  SmallVector<std::string> allowed;
  for (int64_t other = 0; other < 32; ++other)
    if (Type candidate = (mask >> other & 1) ? elementTypeOfOnnx(other, node.getContext()) : Type())
      llvm::raw_string_ostream(allowed.emplace_back()) << candidate;
  return fail() << "its operand " << number << " has elements of type " << element
                << "; possible are " << llvm::join(allowed, ", ");
}

LogicalResult SignatureCheck::checkOutputs() {
  int64_t count = node.getOutputs().size();
  if (signature.outputs < 0 || count <= signature.outputs)
    return success();
  return fail() << "it has " << count << " results, and at most " << signature.outputs
                << " are possible";
}

static bool hasKind(Attribute attribute, char kind) {
  switch (kind) {
  case 'f':
    return isa<FloatAttr>(attribute);
  case 'i':
    return isa<IntegerAttr>(attribute);
  case 's':
    return isa<StringAttr>(attribute);
  case 'F':
    return isa<DenseF32ArrayAttr>(attribute);
  case 'I':
    return isa<DenseI64ArrayAttr>(attribute);
  case 'S':
    return isa<ArrayAttr>(attribute);
  default:
    return true;
  }
}

static StringRef nameOfKind(char kind) {
  switch (kind) {
  case 'f':
    return "a number";
  case 'i':
    return "an integer";
  case 's':
    return "a string";
  case 'F':
    return "a list of numbers";
  case 'I':
    return "a list of integers";
  default:
    return "a list of strings";
  }
}

LogicalResult SignatureCheck::checkAttributes() {
  DictionaryAttr given = node.getAttrs();
  llvm::StringSet<> known;
  for (StringRef word : wordsOf(signature.attributes)) {
    auto [name, kind] = word.split(':');
    known.insert(name);
    Attribute attribute = given.get(name);
    // Graphs are regions here.
    if (!attribute && kind.ends_with("!") && kind.front() != 't')
      return fail() << "its attribute '" << name << "' is missing";
    if (attribute && !hasKind(attribute, kind.front()))
      return fail() << "its attribute '" << name << "' is not " << nameOfKind(kind.front());
  }
  for (NamedAttribute attribute : given)
    if (!attribute.getName().strref().starts_with("tacq.") &&
        !known.contains(attribute.getName().strref()))
      return fail() << "the operator has no attribute '" << attribute.getName().strref() << "'";
  return success();
}

LogicalResult tacq::checkSignature(NodeOp node) {
  if (!node.getDomain().empty() && node.getDomain() != "ai.onnx")
    return success();
  const Signature *signature = lookup(node);
  return signature ? SignatureCheck(node, *signature).run() : success();
}
