//===- MaskPredicate.cpp - Which keys an attention mask lets be seen ------===//

#include "tacq/Graph/MaskPredicate.h"
#include "tacq/Graph/ConcreteEvaluator.h"
#include "tacq/Graph/GraphMatch.h"
#include "llvm/ADT/DenseSet.h"
#include <cmath>
#include <random>
#include <set>

using namespace mlir;
using namespace tacq;

namespace {

/// What a mask is computed from.
struct Slice {
  Value input;
  Dims dims;
};

enum Hypothesis : unsigned { None = 0, Causal = 1, Key = 2, CausalAndKey = 3 };

} // namespace

static std::optional<Slice> sliceOf(Value mask, std::string &reason) {
  Slice slice;
  SmallVector<Value> work{mask};
  llvm::DenseSet<Value> seen;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (isAbsent(value) || !seen.insert(value).second)
      continue;
    std::optional<Dims> dims = dimsOf(value);
    if (!dims) {
      reason = "the mask has a tensor of unknown shape";
      return std::nullopt;
    }
    slice.dims.append(*dims);
    if (std::optional<Dims> symbols = symbolsOf(value))
      slice.dims.append(*symbols);
    Operation *op = value.getDefiningOp();
    if (!op) {
      if (slice.input) {
        reason = "the mask depends on more than one input";
        return std::nullopt;
      }
      if (dims->size() != 2 || !isa<IntegerType>(elementTypeOf(value))) {
        reason = "the mask depends on an input that is no integer tensor of two axes";
        return std::nullopt;
      }
      slice.input = value;
      continue;
    }
    if (isa<GetParamOp>(op)) {
      reason = "the mask depends on a parameter";
      return std::nullopt;
    }
    work.append(op->operand_begin(), op->operand_end());
  }
  return slice;
}

/// Sets the name that `dim` is to the value that `target` has; false if they differ and `dim` is no
/// name of its own.
static bool makeEqual(const Sym &dim, const Sym &target, ConcreteEvaluator::Environment &sizes) {
  auto valueOf = [&](StringRef name) -> std::optional<int64_t> {
    auto it = sizes.find(name);
    return it == sizes.end() ? std::nullopt : std::optional<int64_t>(it->second);
  };
  std::optional<int64_t> wanted = target.evaluate(valueOf);
  if (!wanted)
    return false;
  if (dim.evaluate(valueOf) == wanted)
    return true;
  bool isOwn = true;
  target.collectNames([&](StringRef name) { isOwn &= name != dim.str(); });
  if (!isOwn || !sizes.count(dim.str()))
    return false;
  sizes[dim.str()] = *wanted;
  return true;
}

/// Rows of ones, with padding left or right, with holes, without any one.
static ConcreteTensor randomKeyMask(ArrayRef<int64_t> shape, std::mt19937 &random) {
  ConcreteTensor mask = ConcreteTensor::zeros(shape, /*isReal=*/false);
  for (int64_t row = 0; row < shape[0]; ++row) {
    unsigned form = random() % 6;
    int64_t cut = shape[1] ? random() % (shape[1] + 1) : 0;
    for (int64_t t = 0; t < shape[1]; ++t)
      mask.integers[row * shape[1] + t] = form <= 1   ? 1
                                          : form == 2 ? t >= cut
                                          : form == 3 ? t < cut
                                          : form == 4 ? random() % 2
                                                      : 0;
  }
  return mask;
}

/// True if the key is visible, false if not, nullopt if the value is neither.
static std::optional<bool> visibility(const Mask &mask, const ConcreteTensor &values, int64_t at) {
  double value = values.real(at);
  if (mask.kind == Mask::Keep)
    return value != 0;
  if (mask.kind == Mask::Drop)
    return value == 0;
  if (value == 0)
    return true;
  if (value * mask.scale <= kInvisible)
    return false;
  return std::nullopt;
}

namespace {

/// One evaluation of a mask, compared with all hypotheses.
struct Comparison {
  const Mask &mask;
  const ConcreteTensor &values;
  const ConcreteTensor *keyMask;
  int64_t batch, queries, keys, past;

  /// Clears the hypotheses that do not fit; false if a value is no visibility.
  bool run(std::array<bool, 4> &fits) const {
    SmallVector<int64_t> shape(4 - values.rank(), 1), strides = stridesOf(values.shape);
    strides.insert(strides.begin(), 4 - values.rank(), 0);
    shape.append(values.shape);
    int64_t extents[] = {batch, shape[1], queries, keys};
    for (unsigned axis : {0u, 2u, 3u})
      if (shape[axis] != 1 && shape[axis] != extents[axis]) {
        fits.fill(false);
        return true;
      }
    for (unsigned axis = 0; axis < 4; ++axis)
      if (shape[axis] == 1)
        strides[axis] = 0;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < shape[1]; ++h)
        for (int64_t s = 0; s < queries; ++s)
          if (!compareRow(b, s, b * strides[0] + h * strides[1] + s * strides[2], strides[3], fits))
            return false;
    return true;
  }

private:
  bool compareRow(int64_t b, int64_t s, int64_t base, int64_t stride,
                  std::array<bool, 4> &fits) const {
    std::vector<bool> seen(keys);
    bool seesAll = true;
    for (int64_t t = 0; t < keys; ++t) {
      std::optional<bool> isVisible = visibility(mask, values, base + t * stride);
      if (!isVisible)
        return false;
      seen[t] = *isVisible;
      seesAll &= *isVisible;
    }
    for (unsigned hypothesis = 0; hypothesis < 4; ++hypothesis) {
      bool same = true, expectsAny = false;
      for (int64_t t = 0; t < keys; ++t) {
        bool expected = (!(hypothesis & Causal) || t <= s + past) &&
                        (!(hypothesis & Key) || keyMask->integers[b * keys + t] != 0);
        same &= expected == seen[t];
        expectsAny |= expected;
      }
      fits[hypothesis] = fits[hypothesis] && (same || (!expectsAny && seesAll));
    }
    return true;
  }
};

} // namespace

std::optional<MaskPredicate> tacq::recognizeMask(const Mask &mask, const AttentionSizes &sizes,
                                                 std::string &reason) {
  std::optional<Dims> maskDims = dimsOf(mask.value);
  if (!maskDims || maskDims->size() > 4 || mask.scale <= 0) {
    reason = "the mask has more than four axes or an unknown shape";
    return std::nullopt;
  }
  std::optional<Slice> slice = sliceOf(mask.value, reason);
  if (!slice)
    return std::nullopt;
  slice->dims.append({sizes.batch, sizes.queries, sizes.keys, sizes.past});
  std::set<std::string> names, pastNames;
  for (const Sym &dim : slice->dims)
    dim.collectNames([&](StringRef name) { names.insert(name.str()); });
  sizes.past.collectNames([&](StringRef name) { pastNames.insert(name.str()); });

  // A fixed seed: the same model is always tested with the same sizes and masks.
  std::mt19937 random(20240704);
  std::array<bool, 4> fits = {true, true, bool(slice->input), bool(slice->input)};
  std::optional<Dims> inputDims = slice->input ? dimsOf(slice->input) : std::nullopt;
  constexpr unsigned rounds = 48;
  for (unsigned round = 0; round < rounds; ++round) {
    ConcreteEvaluator::Environment environment;
    for (const std::string &name : names)
      environment[name] = pastNames.count(name) ? random() % 6 : 1 + random() % 6;
    if (inputDims && (!makeEqual((*inputDims)[0], sizes.batch, environment) ||
                      !makeEqual((*inputDims)[1], sizes.keys, environment))) {
      reason = "the input that the mask depends on is not [batch, keys]";
      return std::nullopt;
    }
    ConcreteTensor keyMask;
    ConcreteEvaluator evaluator(
        environment, [&](Value leaf, ArrayRef<int64_t> shape) -> std::optional<ConcreteTensor> {
          if (leaf != slice->input)
            return std::nullopt;
          if (keyMask.shape.empty())
            keyMask = randomKeyMask(shape, random);
          return keyMask;
        });
    if (slice->input && !evaluator.evaluate(slice->input)) {
      reason = "the mask cannot be evaluated: " + evaluator.reason();
      return std::nullopt;
    }
    ConcreteEvaluator::Tensor values = evaluator.evaluate(mask.value);
    if (!values) {
      reason = "the mask cannot be evaluated: " + evaluator.reason();
      return std::nullopt;
    }
    auto at = [&](const Sym &sym) { return evaluator.evaluate(sym).value_or(-1); };
    Comparison comparison{
        mask,           *values,       &keyMask, at(sizes.batch), at(sizes.queries),
        at(sizes.keys), at(sizes.past)};
    // Without the input there is nothing for the key hypotheses to read, and they are out already.
    if (!slice->input)
      keyMask = ConcreteTensor::zeros({comparison.batch, comparison.keys}, /*isReal=*/false);
    if (!comparison.run(fits)) {
      reason = "the mask has values that neither show nor hide a key";
      return std::nullopt;
    }
    if (llvm::none_of(fits, [](bool fit) { return fit; })) {
      reason = "the mask is neither causal nor a mask of keys";
      return std::nullopt;
    }
  }
  unsigned found = llvm::find(fits, true) - fits.begin();
  MaskPredicate predicate;
  predicate.causal = found & Causal;
  if (found & Key)
    predicate.keyMask = slice->input;
  return predicate;
}
