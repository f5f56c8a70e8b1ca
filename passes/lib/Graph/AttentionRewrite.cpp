//===- AttentionRewrite.cpp - From matched parts to tacq.attention --------===//

#include "tacq/Graph/AttentionRewrite.h"
#include "llvm/ADT/STLExtras.h"
#include <limits>

using namespace mlir;
using namespace tacq;

std::optional<CachedHeads> tacq::findCachedHeads(Value value, HeadLayout order,
                                                 std::string &reason) {
  std::optional<HeadView> all = findHeadView(value, order, /*repeated=*/true, reason);
  if (!all)
    return std::nullopt;
  CachedHeads whole{*all, nullptr, false, nullptr};
  NodeOp concat = nodeOf(all->source, "Concat");
  if (!concat || concat.getInputs().size() != 2 ||
      (all->layout != HeadLayout::BHSD && all->layout != HeadLayout::BSHD))
    return whole;
  bool sequenceMajor = all->layout == HeadLayout::BSHD;
  int64_t axis = NodeAttrs(concat).integer("axis", 0);
  if ((axis < 0 ? axis + 4 : axis) != (sequenceMajor ? 1 : 2))
    return whole;
  std::string ignored;
  std::optional<HeadView> fresh =
      findHeadView(concat.getInputs()[1], all->layout, /*repeated=*/false, ignored);
  if (!fresh)
    return whole;
  fresh->repeat = all->repeat;
  fresh->scale *= all->scale;
  // Only what is scaled as a whole can be scaled after the cache was appended.
  if (fresh->scale != all->scale)
    return whole;
  return CachedHeads{*fresh, concat.getInputs()[0], sequenceMajor, all->source};
}

const AttentionRewriter::Known &AttentionRewriter::classify(const Mask &mask,
                                                            const AttentionSizes &sizes) {
  std::string key;
  llvm::raw_string_ostream(key) << int(mask.kind) << ';' << mask.scale << ';' << sizes.batch.str()
                                << ';' << sizes.queries.str() << ';' << sizes.keys.str() << ';'
                                << sizes.past.str();
  auto [it, inserted] = known.try_emplace({mask.value.getAsOpaquePointer(), key});
  if (inserted)
    it->second.predicate = recognizeMask(mask, sizes, it->second.reason);
  return it->second;
}

static std::string inputName(BlockArgument argument) {
  auto function = dyn_cast<FunctionOpInterface>(argument.getOwner()->getParentOp());
  if (function)
    if (auto name = function.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "tacq.name"))
      return name.str();
  return "#" + std::to_string(argument.getArgNumber());
}

/// The expression with the inputs and axes that its names stand for.
std::string AttentionRewriter::describe(const Sym &sym) {
  std::string text = sym.str();
  SmallVector<std::string> parts;
  sym.collectNames([&](StringRef name) {
    for (BlockArgument argument : block.getArguments()) {
      std::optional<Dims> dims = dimsOf(argument);
      for (unsigned axis = 0; dims && axis < dims->size(); ++axis)
        if ((*dims)[axis].str() == name) {
          parts.push_back(name.str() + " is axis " + std::to_string(axis) + " of '" +
                          inputName(argument) + "'");
          return;
        }
    }
  });
  if (!parts.empty())
    text += " (" + llvm::join(parts, ", ") + ")";
  return text;
}

void AttentionRewriter::requireEqual(Location loc, BlockArgument input, unsigned axis,
                                     const Sym &wanted) {
  Sym given = (*dimsOf(input))[axis];
  if (given == wanted)
    return;
  for (auto require : block.getOps<RequireOp>())
    if (!require.getAtMost() && require.getLhs() == given.str() && require.getRhs() == wanted.str())
      return;
  OpBuilder builder(&block, block.begin());
  std::string message = "axis " + std::to_string(axis) + " of input '" + inputName(input) +
                        "' must have the size " + describe(wanted);
  builder.create<RequireOp>(loc, given.str(), wanted.str(), message, /*at_most=*/false);
}

/// The sum of the masks as floating-point scores, [B or 1, H or 1, S, T].
Value AttentionRewriter::biasOf(GraphBuilder &builder, ArrayRef<Mask> masks, Type element,
                                const AttentionSizes &sizes, std::string &reason) {
  Value sum;
  for (const Mask &mask : masks) {
    Value value = mask.value;
    std::optional<Dims> dims = dimsOf(value);
    if (!dims || dims->size() > 4) {
      reason = "a mask has more than four axes or an unknown shape";
      return nullptr;
    }
    while (dims->size() < 4)
      dims->insert(dims->begin(), Sym(1));
    value = builder.reshape(value, *dims);
    (*dims)[2] = sizes.queries;
    (*dims)[3] = sizes.keys;
    value = builder.expand(value, *dims);
    if (mask.kind != Mask::Additive) {
      Value zero = builder.scalar(element, 0);
      Value hidden = builder.scalar(element, -std::numeric_limits<double>::infinity());
      value = mask.kind == Mask::Keep ? builder.create("Where", {value, zero, hidden})
                                      : builder.create("Where", {value, hidden, zero});
    } else if (mask.scale != 1) {
      value = builder.create("Mul", {value, builder.scalar(elementTypeOf(value), mask.scale)});
    }
    value = builder.cast(value, element);
    sum = sum ? builder.create("Add", {sum, value}) : value;
  }
  return sum;
}

AttentionOp AttentionRewriter::rewrite(const AttentionParts &parts, std::string &reason) {
  const HeadView &q = parts.query;
  CachedHeads key = parts.key, value = parts.value;
  bool hasCache = key.past && value.past;
  if (!isComputedInF32(q.source)) {
    reason = "the elements are not f32, f16 or bf16";
    return nullptr;
  }
  if (hasCache) {
    std::optional<Dims> keyPast = dimsOf(key.past), valuePast = dimsOf(value.past);
    hasCache = keyPast && valuePast &&
               (*keyPast)[key.sequenceMajor ? 1 : 2] == (*valuePast)[value.sequenceMajor ? 1 : 2];
  }
  if (!hasCache)
    for (CachedHeads *heads : {&key, &value})
      if (heads->past) {
        // One side alone has a cache: it is a tensor like any other.
        Dims dims = *dimsOf(heads->present);
        HeadView all = heads->heads;
        all.source = heads->present;
        all.layout = heads->sequenceMajor ? HeadLayout::BSHD : HeadLayout::BHSD;
        all.sequence = dims[heads->sequenceMajor ? 1 : 2];
        *heads = CachedHeads{all, nullptr, false, nullptr};
      }
  const HeadView &k = key.heads, &v = value.heads;
  if (k.heads != v.heads || k.repeat != v.repeat || q.heads % k.heads != 0) {
    reason = "queries, keys and values do not agree on the number of heads";
    return nullptr;
  }
  if (k.features != q.features || k.batch != q.batch || v.batch != q.batch ||
      k.sequence != v.sequence) {
    reason = "queries, keys and values do not agree on batch, length or features";
    return nullptr;
  }
  if (v.scale != 1) {
    reason = "the values are scaled";
    return nullptr;
  }
  Sym past = hasCache ? (*dimsOf(key.past))[key.sequenceMajor ? 1 : 2] : Sym(0);
  AttentionSizes sizes{q.batch, q.sequence, past + k.sequence, past};

  bool causal = parts.causal;
  BlockArgument keyMask;
  SmallVector<Mask> rest;
  for (const Mask &mask : parts.masks) {
    const Known &found = classify(mask, sizes);
    auto input = found.predicate && found.predicate->keyMask
                     ? cast<BlockArgument>(found.predicate->keyMask)
                     : BlockArgument();
    if (found.predicate && (!input || !keyMask || keyMask == input)) {
      causal |= found.predicate->causal;
      keyMask = input ? input : keyMask;
      continue;
    }
    report.note(parts.anchor, parts.nodeName,
                (found.predicate ? std::string("there are two masks of keys") : found.reason) +
                    "; it stays a tensor that is added to the scores");
    rest.push_back(mask);
  }

  OpBuilder opBuilder(parts.anchor);
  GraphBuilder builder(opBuilder, parts.anchor->getLoc(), parts.nodeName);
  Type element = elementTypeOf(q.source);
  Value bias;
  if (!rest.empty() && !(bias = biasOf(builder, rest, element, sizes, reason)))
    return nullptr;
  if (keyMask) {
    requireEqual(builder.loc, keyMask, 0, sizes.batch);
    requireEqual(builder.loc, keyMask, 1, sizes.keys);
  }
  auto headMajor = [&](const CachedHeads &heads) {
    return heads.sequenceMajor ? builder.transpose(heads.past, {0, 2, 1, 3}) : heads.past;
  };
  Value pastKey = hasCache ? headMajor(key) : Value();
  Value pastValue = hasCache ? headMajor(value) : Value();
  SmallVector<Type, 3> types{
      tensorType(element, {q.batch, q.sequence, Sym(q.heads), Sym(v.features)})};
  if (hasCache) {
    Sym heads(k.heads);
    types.push_back(
        tensorType(elementTypeOf(key.past), {q.batch, heads, sizes.keys, Sym(k.features)}));
    types.push_back(
        tensorType(elementTypeOf(value.past), {q.batch, heads, sizes.keys, Sym(v.features)}));
  }
  auto attention = opBuilder.create<AttentionOp>(
      builder.loc, types[0], hasCache ? TypeRange(types).drop_front() : TypeRange(),
      toSequenceMajor(builder, q), toSequenceMajor(builder, k), toSequenceMajor(builder, v),
      pastKey, pastValue, keyMask, bias, opBuilder.getF64FloatAttr(parts.scale * q.scale * k.scale),
      causal ? opBuilder.getUnitAttr() : UnitAttr(), opBuilder.getStringAttr(parts.nodeName));
  if (hasCache) {
    opBuilder.setInsertionPointAfter(attention);
    for (const auto &[heads, present] : {std::pair{key, attention.getPresentKey()},
                                         std::pair{value, attention.getPresentValue()}}) {
      if (!heads.present)
        continue;
      Value replacement =
          heads.sequenceMajor ? builder.transpose(present, {0, 2, 1, 3}) : Value(present);
      Operation *last = replacement.getDefiningOp();
      Value(heads.present).replaceUsesWithIf(replacement, [&](OpOperand &use) {
        Operation *user = block.findAncestorOpInBlock(*use.getOwner());
        return user && last->isBeforeInBlock(user);
      });
    }
  }
  std::string detail = causal && keyMask ? ": causal, with a mask of keys"
                       : causal          ? ": causal"
                       : keyMask         ? ": with a mask of keys"
                                         : ": every key visible";
  detail += hasCache ? ", with a cache" : ", without a cache";
  detail += bias ? ", with a bias" : "";
  report.matched(attention, parts.nodeName, detail);
  return attention;
}
