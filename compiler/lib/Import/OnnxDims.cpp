//===- OnnxDims.cpp - Names of the dimensions of a model's inputs ---------===//

#include "OnnxImporter.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Longer texts are names for certain, and a parser need not see them.
constexpr size_t maxExpressionLength = 128;

std::optional<Sym> parseDim(StringRef text) {
  if (text.size() > maxExpressionLength || text.contains('%'))
    return std::nullopt;
  return Sym::parse(text);
}

bool isName(const Sym &sym) {
  return sym.terms().size() == 1 && sym.terms()[0].coefficient == 1 &&
         sym.terms()[0].factors.size() == 1 &&
         sym.terms()[0].factors[0]->kind == Sym::AtomKind::Name;
}

std::string nameFrom(StringRef text) {
  std::string name;
  for (char c : text)
    name += llvm::isAlnum(c) || c == '_' || c == '.' ? c : '_';
  return name.empty() || llvm::isDigit(name.front()) ? "d_" + name : name;
}

} // namespace

InputDims::InputDims(ArrayRef<const onnx::ValueInfoProto *> inputs) {
  for (const onnx::ValueInfoProto *input : inputs)
    for (const auto &dim : input->type().tensor_type().shape().dim())
      if (std::optional<Sym> sym = parseDim(dim.dim_param()); sym && isName(*sym))
        bound.insert(sym->str());
}

std::string InputDims::freshName(StringRef text) {
  std::string name = nameFrom(text);
  while (!bound.insert(name).second)
    name += "_";
  return name;
}

Dims InputDims::dimsOf(const onnx::ValueInfoProto &input) {
  Dims dims;
  for (const auto &[axis, dim] : llvm::enumerate(input.type().tensor_type().shape().dim())) {
    if (dim.has_dim_value() && dim.dim_value() >= 0) {
      dims.push_back(Sym(dim.dim_value()));
      continue;
    }
    StringRef text = dim.dim_param();
    if (text.trim().empty()) {
      dims.push_back(Sym::name(freshName(input.name() + "_d" + std::to_string(axis))));
      continue;
    }
    std::optional<Sym> sym = parseDim(text);
    std::optional<int64_t> size = sym ? sym->constant() : std::nullopt;
    if (size && *size >= 0) {
      dims.push_back(Sym(*size));
      continue;
    }
    if (sym && !size) {
      // An expression says something only about names that have a value of their own: the size of
      // "batch-size" is no difference.
      bool known = true;
      sym->collectNames([&](StringRef name) { known &= bound.count(name.str()) != 0; });
      if (known) {
        dims.push_back(*sym);
        continue;
      }
    }
    auto [renamed, isNew] = renames.try_emplace(text);
    if (isNew)
      renamed->second = freshName(text);
    dims.push_back(Sym::name(renamed->second));
  }
  return dims;
}
