//===- AppendNextToken.cpp - The likeliest token as a result --------------===//

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Graph/GraphPasses.h"

namespace tacq {
#define GEN_PASS_DEF_APPENDNEXTTOKEN
#include "tacq/Graph/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

constexpr llvm::StringLiteral nameAttribute = "tacq.name";
constexpr int64_t opset = 13;

StringRef resultName(func::FuncOp function, unsigned i) {
  auto name = function.getResultAttrOfType<StringAttr>(i, nameAttribute);
  return name ? name.getValue() : StringRef();
}

/// Three axes, of which the last one is as long as the vocabulary. There is a last position unless
/// the axis of positions is known to be empty.
bool isLogits(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  std::optional<Dims> dims = type ? dimsOf(type) : std::nullopt;
  return dims && dims->size() == 3 && isa<FloatType>(type.getElementType()) &&
         !(*dims)[1].isConstant(0) && (*dims)[2].constant().value_or(0) > 0;
}

class AppendNextTokenPass : public tacq::impl::AppendNextTokenBase<AppendNextTokenPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    Operation *terminator = function.getBody().front().getTerminator();
    Value logits = findLogits(function, terminator);
    if (!logits)
      return;
    OpBuilder b(terminator);
    Location loc = logits.getLoc();
    Dims dims = *dimsOf(logits);
    auto node = [&](StringRef op, Type type, ValueRange inputs,
                    ArrayRef<NamedAttribute> attributes) -> Value {
      return b
          .create<NodeOp>(loc, TypeRange{type}, op, inputs, b.getDictionaryAttr(attributes), name,
                          opset)
          .getOutputs()[0];
    };
    auto integer = [&](StringRef key, int64_t value) {
      return NamedAttribute(b.getStringAttr(key), b.getI64IntegerAttr(value));
    };
    Type element = cast<ShapedType>(logits.getType()).getElementType(), i64 = b.getI64Type();
    auto place = RankedTensorType::get({1}, i64);
    Value last = b.create<ConstantOp>(loc, place, DenseElementsAttr::get(place, int64_t(-1)));
    Value row = node("Gather", tensorType(element, {dims[0], Sym(1), dims[2]}), {logits, last},
                     {integer("axis", 1)});
    Value token = node("ArgMax", tensorType(i64, {dims[0], Sym(1)}), {row},
                       {integer("axis", 2), integer("keepdims", 0)});
    unsigned behind = terminator->getNumOperands();
    terminator->insertOperands(behind, token);
    function.insertResult(
        behind, token.getType(),
        b.getDictionaryAttr(b.getNamedAttr(nameAttribute, b.getStringAttr(name))));
    ++numAppended;
  }

  /// The result of that name, or the only one that can be; null if there is none, or if a result
  /// has our name.
  Value findLogits(func::FuncOp function, Operation *terminator) const {
    Value only;
    unsigned candidates = 0;
    for (auto [i, value] : llvm::enumerate(terminator->getOperands())) {
      if (resultName(function, i) == name)
        return {};
      if (!isLogits(value))
        continue;
      if (resultName(function, i) == "logits")
        return value;
      only = value;
      ++candidates;
    }
    return candidates == 1 ? only : Value();
  }

  const StringRef name = nextTokenName;
};

} // namespace
