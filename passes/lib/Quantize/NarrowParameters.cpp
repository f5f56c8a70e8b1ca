//===- NarrowParameters.cpp - Store f32 matrices as f16 -------------------===//

#include "mlir/IR/SymbolTable.h"
#include "tacq/Graph/GraphMatch.h"
#include "tacq/Half.h"
#include "tacq/Import/ParameterStore.h"
#include "tacq/Quantize/Passes.h"
#include <cmath>
#include <cstring>

namespace tacq {
#define GEN_PASS_DEF_NARROWPARAMETERS
#include "tacq/Quantize/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

/// The operand is one that takes f16 as well: a linear operation's weight, or a table of rows.
static bool takesHalf(OpOperand &use) {
  if (auto linear = dyn_cast<LinearOp>(use.getOwner()))
    return linear.weightNumber(use).has_value();
  return isNode(use.getOwner(), "Gather") && use.getOperandNumber() == 0;
}

namespace {
struct NarrowParametersPass : tacq::impl::NarrowParametersBase<NarrowParametersPass> {
  using NarrowParametersBase::NarrowParametersBase;

  /// The store given by the caller, or null: then the files are opened.
  ParameterStore *given = nullptr;

  void runOnOperation() override {
    ParameterStore opened;
    ParameterStore *store = ParameterStore::givenOr(given, getOperation(), folder, opened);
    if (!store)
      return signalPassFailure();
    // A mixed-precision weight has bytes of its own.
    llvm::StringMap<SmallVector<GetParamOp>> readers;
    getOperation().walk([&](GetParamOp get) {
      if (!isa<MixedType>(get.getType()))
        readers[get.getParam()].push_back(get);
    });
    for (auto param : getOperation().getOps<ParamOp>()) {
      auto type = cast<RankedTensorType>(param.getType());
      ArrayRef<GetParamOp> gets = readers[param.getSymName()];
      bool fits = type.getElementType().isF32() && type.getRank() == 2 && !gets.empty() &&
                  llvm::all_of(gets, [&](GetParamOp get) {
                    return get.getType() == type && !get.getLayout() &&
                           llvm::all_of(get.getResult().getUses(), takesHalf);
                  });
      if (fits && narrow(param, *store))
        for (GetParamOp get : gets)
          retype(get, cast<RankedTensorType>(param.getType()));
    }
  }

  /// Gives the parameter its f16 elements, if all are in range.
  bool narrow(ParamOp param, ParameterStore &store) {
    ArrayRef<char> bytes = store.bytes(param.getSymName());
    size_t count = bytes.size() / sizeof(float);
    std::vector<char> halves(count * sizeof(uint16_t));
    for (size_t i = 0; i < count; ++i) {
      float value;
      std::memcpy(&value, bytes.data() + i * sizeof(float), sizeof(float));
      uint16_t half = halfFromFloat(value);
      if (std::isfinite(value) && !std::isfinite(floatFromHalf(half)))
        return false;
      std::memcpy(halves.data() + i * sizeof(half), &half, sizeof(half));
    }
    auto type = cast<RankedTensorType>(param.getType());
    param.setType(type.clone(Float16Type::get(&getContext())));
    store.add(param.getSymName(), store.own(std::move(halves)));
    ++numNarrowed;
    return true;
  }

  void retype(GetParamOp get, RankedTensorType type) {
    get.getResult().setType(type);
    for (Operation *user : llvm::make_early_inc_range(get.getResult().getUsers())) {
      auto node = dyn_cast<NodeOp>(user);
      if (!node)
        continue;
      Value result = node.getResult(0);
      auto wide = cast<RankedTensorType>(result.getType());
      result.setType(wide.clone(type.getElementType()));
      OpBuilder builder(&getContext());
      builder.setInsertionPointAfter(node);
      Value cast = GraphBuilder(builder, node.getLoc(), node.getNodeName())
                       .cast(result, wide.getElementType());
      result.replaceAllUsesExcept(cast, cast.getDefiningOp());
    }
  }
};
} // namespace

std::unique_ptr<Pass> tacq::createNarrowParameters(ParameterStore &store) {
  auto pass = std::make_unique<NarrowParametersPass>();
  pass->given = &store;
  return pass;
}
