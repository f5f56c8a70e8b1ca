//===- EinsumOps.cpp - Einsum ---------------------------------------------===//
//
// Two operands without repeated letters become transposes and one matrix product; everything else
// is computed as the equation says, element by element.
//
//===----------------------------------------------------------------------===//

#include "ContractionTables.h"
#include "KernelMath.h"
#include <map>

using namespace mlir;
using namespace tacq;

namespace {

/// An equation with its ellipsis spelled out: letters of the ellipsis are '0', '1', … counted from
/// the last axis.
struct Equation {
  SmallVector<std::string> operands;
  std::string result;
};

std::optional<Equation> parseEquation(StringRef text, ArrayRef<int64_t> ranks) {
  std::string stripped;
  for (char c : text)
    if (!llvm::isSpace(c))
      stripped += c;
  auto [left, right] = StringRef(stripped).split("->");
  bool isExplicit = StringRef(stripped).contains("->");
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != ranks.size())
    return std::nullopt;
  size_t longest = 0;
  auto ellipsisLetters = [](size_t count) {
    std::string letters;
    for (size_t i = count; i-- > 0;)
      letters += char('0' + i);
    return letters;
  };
  auto expand = [&](StringRef term, size_t count) -> std::optional<std::string> {
    size_t dots = term.find("...");
    std::string result = term.str();
    if (dots != StringRef::npos)
      result.replace(dots, 3, ellipsisLetters(count));
    for (char c : result)
      if (!llvm::isAlnum(c))
        return std::nullopt;
    return result;
  };
  Equation equation;
  for (auto [term, rank] : llvm::zip(terms, ranks)) {
    bool hasDots = term.contains("...");
    int64_t count = hasDots ? rank - int64_t(term.size()) + 3 : 0;
    if (count < 0 || count > 9)
      return std::nullopt;
    std::optional<std::string> letters = expand(term, count);
    if (!letters || int64_t(letters->size()) != rank)
      return std::nullopt;
    longest = std::max<size_t>(longest, count);
    equation.operands.push_back(*letters);
  }
  if (isExplicit) {
    std::optional<std::string> letters = expand(right, longest);
    if (!letters)
      return std::nullopt;
    equation.result = *letters;
  } else {
    // The ellipsis, then every letter that occurs once, in alphabetical order.
    equation.result = ellipsisLetters(longest);
    std::map<char, int> counts;
    for (const std::string &operand : equation.operands)
      for (char c : operand)
        ++counts[c];
    for (auto [letter, count] : counts)
      if (count == 1 && llvm::isAlpha(letter))
        equation.result += letter;
  }
  for (char c : equation.result)
    if (StringRef(equation.result).count(c) != 1 ||
        llvm::none_of(equation.operands, [&](StringRef letters) { return letters.contains(c); }))
      return std::nullopt;
  return equation;
}

Equation equationOf(NodeOp node) {
  SmallVector<int64_t> ranks;
  for (Value input : node.getInputs())
    ranks.push_back(cast<ShapedType>(input.getType()).getRank());
  return *parseEquation(NodeAttrs(node).string("equation", ""), ranks);
}

/// The size of each letter: that of the first operand where it is not 1.
std::map<char, Sym> sizesOf(const Equation &equation, ArrayRef<Dims> dims) {
  std::map<char, Sym> sizes;
  for (auto [letters, own] : llvm::zip(equation.operands, dims))
    for (auto [letter, dim] : llvm::zip(letters, own)) {
      auto [it, isNew] = sizes.try_emplace(letter, dim);
      if (!isNew && it->second.isConstant(1))
        it->second = dim;
    }
  return sizes;
}

LogicalResult inferEinsum(InferContext &ctx) {
  SmallVector<Dims> dims;
  SmallVector<int64_t> ranks;
  for (unsigned i = 0; i < ctx.operandCount(); ++i) {
    dims.push_back(ctx.dims(i));
    ranks.push_back(ctx.rank(i));
  }
  std::string text = ctx.attrs.string("equation", "");
  std::optional<Equation> equation = parseEquation(text, ranks);
  if (!equation)
    return ctx.fail("the equation '" + text + "' does not fit the operands");
  std::map<char, Sym> sizes = sizesOf(*equation, dims);
  for (auto [letters, own] : llvm::zip(equation->operands, dims))
    for (auto [letter, dim] : llvm::zip(letters, own))
      if (!dim.isConstant(1) &&
          failed(ctx.require(dim, sizes[letter], Twine("sizes of '") + Twine(letter) + "' differ")))
        return failure();
  Dims result;
  for (char letter : equation->result)
    result.push_back(sizes[letter]);
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

/// Letters of `from` for which `keep` holds, in order.
std::string lettersOf(StringRef from, function_ref<bool(char)> keep) {
  std::string result;
  for (char c : from)
    if (keep(c))
      result += c;
  return result;
}

Value transposeTo(NodeBuilder &builder, Value value, StringRef from, StringRef to) {
  if (from == to)
    return value;
  SmallVector<int64_t> permutation;
  for (char c : to)
    permutation.push_back(from.find(c));
  return builder.create("Transpose", value, builder.attr("perm", ArrayRef<int64_t>(permutation)));
}

SmallVector<Value> decomposeEinsum(NodeBuilder &builder, NodeOp node) {
  ValueRange inputs = node.getInputs();
  if (inputs.size() != 2)
    return {};
  Equation equation = equationOf(node);
  std::string left = equation.operands[0], right = equation.operands[1];
  Dims leftDims = *dimsOf(inputs[0]), rightDims = *dimsOf(inputs[1]);
  std::map<char, Sym> sizes = sizesOf(equation, {leftDims, rightDims});
  for (const std::string &letters : equation.operands)
    for (char c : letters)
      if (StringRef(letters).count(c) != 1)
        return {};
  for (auto [letter, dim] : llvm::zip(left, leftDims))
    if (dim != sizes[letter])
      return {};
  for (auto [letter, dim] : llvm::zip(right, rightDims))
    if (dim != sizes[letter])
      return {};
  auto has = [](StringRef letters, char c) { return letters.contains(c); };
  const std::string &out = equation.result;
  // Letters of one operand alone that the result has not are summed up first.
  auto sumUp = [&](Value value, std::string &own, StringRef other) {
    SmallVector<int64_t> axes;
    for (auto [i, c] : llvm::enumerate(own))
      if (!has(other, c) && !has(out, c))
        axes.push_back(i);
    if (axes.empty())
      return value;
    own = lettersOf(own, [&](char c) { return has(other, c) || has(out, c); });
    return builder.create("ReduceSum", {value, builder.integers(axes)},
                          builder.attr("keepdims", int64_t(0)));
  };
  Value a = sumUp(inputs[0], left, right), b = sumUp(inputs[1], right, left);
  std::string batch = lettersOf(out, [&](char c) { return has(left, c) && has(right, c); });
  std::string depth = lettersOf(left, [&](char c) { return has(right, c) && !has(out, c); });
  std::string rows = lettersOf(out, [&](char c) { return !has(right, c); });
  std::string columns = lettersOf(out, [&](char c) { return !has(left, c); });
  auto dimsOfLetters = [&](StringRef letters) {
    Dims dims;
    for (char c : letters)
      dims.push_back(sizes[c]);
    return dims;
  };
  auto matrixOf = [&](Value value, StringRef own, StringRef first, StringRef second) {
    value = transposeTo(builder, value, own, batch + first.str() + second.str());
    if (first.size() == 1 && second.size() == 1)
      return value;
    Dims shape = dimsOfLetters(batch);
    shape.push_back(elementCount(dimsOfLetters(first)));
    shape.push_back(elementCount(dimsOfLetters(second)));
    return builder.create("Reshape", {value, builder.symbols(shape)},
                          builder.attr("allowzero", int64_t(1)));
  };
  Value product = builder.create(
      "MatMul", {matrixOf(a, left, rows, depth), matrixOf(b, right, depth, columns)});
  std::string order = batch + rows + columns;
  if (rows.size() != 1 || columns.size() != 1)
    product = builder.create("Reshape", {product, builder.symbols(dimsOfLetters(order))},
                             builder.attr("allowzero", int64_t(1)));
  return {transposeTo(builder, product, order, out)};
}

Value einsumElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  Equation equation = equationOf(node);
  SmallVector<Dims> dims;
  for (Value input : node.getInputs())
    dims.push_back(k.dims(input));
  std::map<char, Sym> sizes = sizesOf(equation, dims);
  std::string summed;
  Dims extents;
  for (const auto &[letter, size] : sizes)
    if (!StringRef(equation.result).contains(letter)) {
      summed += letter;
      extents.push_back(size);
    }
  Type type = computeType(k.elementType(node.getInputs()[0]));
  return k.reduce(extents, k.constant(type, 0), [&](ValueRange at, ValueRange carried) {
    Value product;
    for (auto [operand, letters, own] : llvm::zip(node.getInputs(), equation.operands, dims)) {
      KernelBuilder::Index from;
      for (auto [letter, dim] : llvm::zip(letters, own)) {
        size_t kept = equation.result.find(letter);
        Value i = kept != std::string::npos ? index[kept] : at[summed.find(letter)];
        from.push_back(dim == sizes[letter] || !dim.isConstant(1) ? i : k.index(0));
      }
      Value x = k.load(operand, from);
      product = product ? mulFast(k, product, x) : x;
    }
    return SmallVector<Value>{addAnyOrder(k, carried[0], product)};
  })[0];
}

} // namespace

ArrayRef<OpSpec> tacq::einsumOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec einsum;
    einsum.name = "Einsum";
    einsum.infer = inferEinsum;
    einsum.decompose = decomposeEinsum;
    einsum.element = einsumElement;
    einsum.heavy = true;
    return std::vector<OpSpec>{einsum};
  }();
  return table;
}
