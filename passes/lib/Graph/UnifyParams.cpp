//===- UnifyParams.cpp - One parameter for all copies of the same bytes ---===//

#include "tacq/Graph/UnifyParams.h"
#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/GraphPasses.h"
#include "tacq/Import/ParameterStore.h"
#include "llvm/Support/Regex.h"
#include <cstring>
#include <map>

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_UNIFYPARAMS
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

/// True for names that exporters make up: "onnx::MatMul_1882", "val_100", "_to_copy_2", "1234".
static bool isAnonymous(StringRef name) {
  static const llvm::Regex pattern(
      "^([0-9]+|onnx::.*|(val|const|constant|initializer|tensor|t|_to_copy|transpose|permute|"
      "_param_constant|lifted_tensor|unnamed)(_?[0-9]+)*|/.*_output_[0-9]+)$");
  return pattern.match(name);
}

/// "/m/model/layers.0/self_attn/q_proj/MatMul" gives "m.model.layers.0.self_attn.q_proj.weight",
/// "node_linear_7" gives "linear_7.weight".
static std::string nameAfter(StringRef node) {
  std::string name;
  if (node.contains('/')) {
    SmallVector<StringRef> parts;
    node.split(parts, '/', -1, /*KeepEmpty=*/false);
    if (parts.size() > 1)
      parts.pop_back();
    name = llvm::join(parts, ".");
  } else {
    node.consume_front("node_");
    name = node.str();
  }
  return name.empty() ? "" : name + ".weight";
}

/// Sums of the elements and of their squares, modulo 2^64: the same for a matrix and its transpose,
/// and about as fast as the file is read. What is equal here is compared.
using Fingerprint = std::pair<uint64_t, uint64_t>;

template <typename Element> static Fingerprint fingerprintOf(ArrayRef<char> bytes) {
  Fingerprint sums;
  for (size_t at = 0; at + sizeof(Element) <= bytes.size(); at += sizeof(Element)) {
    Element element;
    std::memcpy(&element, bytes.data() + at, sizeof(Element));
    sums.first += element;
    sums.second += uint64_t(element) * element;
  }
  return sums;
}

static Fingerprint fingerprintOf(ArrayRef<char> bytes, unsigned width) {
  switch (width) {
  case 1:
    return fingerprintOf<uint8_t>(bytes);
  case 2:
    return fingerprintOf<uint16_t>(bytes);
  case 4:
    return fingerprintOf<uint32_t>(bytes);
  default:
    return fingerprintOf<uint64_t>(bytes);
  }
}

/// True if b[j, i] is a[i, j] for a of rows x columns.
static bool isTranspose(ArrayRef<char> a, ArrayRef<char> b, int64_t rows, int64_t columns,
                        unsigned width) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      if (std::memcmp(a.data() + (i * columns + j) * width, b.data() + (j * rows + i) * width,
                      width) != 0)
        return false;
  return true;
}

namespace {

struct UnifyParams : tacq::impl::UnifyParamsBase<UnifyParams> {
  using UnifyParamsBase::UnifyParamsBase;

  /// The store given by the caller, or null: then the files are opened.
  ParameterStore *given = nullptr;

  void runOnOperation() override {
    ParameterStore opened;
    ParameterStore *store = ParameterStore::givenOr(given, getOperation(), folder, opened);
    if (!store)
      return signalPassFailure();
    readers.clear();
    getOperation().walk([&](GetParamOp get) { readers[get.getParam()].push_back(get); });
    unify(*store);
    rename(*store);
  }

private:
  struct Key {
    Type element;
    int64_t low, high;
    bool operator<(const Key &other) const {
      return std::tuple(element.getAsOpaquePointer(), low, high) <
             std::tuple(other.element.getAsOpaquePointer(), other.low, other.high);
    }
  };

  void unify(ParameterStore &store) {
    // Only parameters of the same type and sizes are read.
    std::map<Key, SmallVector<ParamOp>> candidates;
    for (auto param : getOperation().getOps<ParamOp>()) {
      auto type = cast<RankedTensorType>(param.getType());
      int64_t rows = type.getRank() == 2 ? type.getDimSize(0) : type.getNumElements();
      int64_t columns = type.getRank() == 2 ? type.getDimSize(1) : 0;
      candidates[{type.getElementType(), std::min(rows, columns), std::max(rows, columns)}]
          .push_back(param);
    }
    for (auto &[key, group] : candidates) {
      if (group.size() < 2)
        continue;
      std::map<Fingerprint, SmallVector<ParamOp>> byFingerprint;
      unsigned width = elementBytes(key.element);
      for (ParamOp param : group)
        byFingerprint[fingerprintOf(store.bytes(param.getSymName()), width)].push_back(param);
      for (auto &[fingerprint, equals] : byFingerprint) {
        // Names that the user gave come first.
        std::stable_sort(equals.begin(), equals.end(), [](ParamOp a, ParamOp b) {
          return isAnonymous(a.getSymName()) < isAnonymous(b.getSymName());
        });
        SmallVector<ParamOp> kept;
        for (ParamOp param : equals)
          if (llvm::none_of(kept,
                            [&](ParamOp other) { return replace(param, other, store, width); }))
            kept.push_back(param);
      }
    }
  }

  /// Uses `other` instead of `param` if they hold the same elements.
  bool replace(ParamOp param, ParamOp other, ParameterStore &store, unsigned width) {
    auto type = cast<RankedTensorType>(param.getType());
    auto otherType = cast<RankedTensorType>(other.getType());
    ArrayRef<char> bytes = store.bytes(param.getSymName());
    ArrayRef<char> otherBytes = store.bytes(other.getSymName());
    if (bytes.empty() || bytes.size() != otherBytes.size())
      return false;
    // Vectors that happen to be equal, gains of 1 above all, keep the names that the user knows.
    if (type.getRank() != 2 && !isAnonymous(param.getSymName()))
      return false;
    bool transposed = false;
    if (type != otherType || std::memcmp(bytes.data(), otherBytes.data(), bytes.size()) != 0) {
      if (type.getRank() != 2 || otherType.getRank() != 2 ||
          type.getDimSize(0) != otherType.getDimSize(1) ||
          !isTranspose(otherBytes, bytes, otherType.getDimSize(0), otherType.getDimSize(1), width))
        return false;
      transposed = true;
    }
    for (GetParamOp get : readers[param.getSymName()]) {
      OpBuilder builder(get);
      auto canonical = builder.create<GetParamOp>(get.getLoc(), otherType, other.getSymName());
      readers[other.getSymName()].push_back(canonical);
      if (transposed)
        flipUses(get, canonical);
      get.getResult().replaceAllUsesWith(canonical.getResult());
      get.erase();
    }
    readers.erase(param.getSymName());
    if (remarks)
      other.emitRemark() << "parameter '" << param.getSymName() << "' is "
                         << (transposed ? "the transpose" : "a copy") << " of '"
                         << other.getSymName() << "'";
    param.erase();
    ++numUnified;
    return true;
  }

  /// Linear operations take either order; what else reads the matrix reads a transpose of it.
  static void flipUses(GetParamOp get, GetParamOp canonical) {
    Value turned;
    for (OpOperand &use : llvm::make_early_inc_range(get.getResult().getUses())) {
      auto linear = dyn_cast<LinearOp>(use.getOwner());
      std::optional<unsigned> weight;
      if (linear)
        weight = linear.weightNumber(use);
      if (weight) {
        SmallVector<int32_t> orders;
        for (auto order : linear.getWeightOrder().getAsRange<IntegerAttr>())
          orders.push_back(int32_t(order.getInt()));
        orders[*weight] = 1 - orders[*weight];
        linear.setWeightOrderAttr(Builder(linear).getI32ArrayAttr(orders));
        use.set(canonical.getResult());
        continue;
      }
      if (!turned) {
        OpBuilder opBuilder(get);
        GraphBuilder builder(opBuilder, get.getLoc(), get.getParam());
        turned = builder.transpose(canonical.getResult(), {1, 0});
      }
      use.set(turned);
    }
  }

  void rename(ParameterStore &store) {
    SymbolTable symbols(getOperation());
    for (auto param : llvm::make_early_inc_range(getOperation().getOps<ParamOp>())) {
      std::string old = param.getSymName().str();
      if (!isAnonymous(old))
        continue;
      std::string wanted = nameAfter(firstReader(old));
      if (wanted.empty())
        continue;
      std::string name = wanted;
      for (unsigned i = 2; symbols.lookup(name); ++i)
        name = wanted + "_" + std::to_string(i);
      for (GetParamOp get : readers[old])
        get.setParam(name);
      readers[name] = readers[old];
      store.add(name, store.bytes(old));
      symbols.remove(param);
      param.setSymName(name);
      symbols.insert(param);
      ++numRenamed;
      if (remarks)
        param.emitRemark() << "parameter '" << old << "' is named '" << name
                           << "' after its reader";
    }
  }

  /// The name of the first node that reads the parameter.
  StringRef firstReader(StringRef name) {
    for (GetParamOp get : readers[name])
      for (Operation *user : get.getResult().getUsers()) {
        if (auto linear = dyn_cast<LinearOp>(user))
          return linear.getNodeName();
        if (auto node = dyn_cast<NodeOp>(user))
          return node.getNodeName();
      }
    return "";
  }

  llvm::StringMap<SmallVector<GetParamOp>> readers;
};

} // namespace

std::unique_ptr<Pass> tacq::createUnifyParams(ParameterStore &store, bool remarks) {
  auto pass = std::make_unique<UnifyParams>(UnifyParamsOptions{"", remarks});
  pass->given = &store;
  return pass;
}
