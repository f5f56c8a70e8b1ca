//===- WeightElements.cpp - The elements of weights, as f32 ---------------===//

#include "tacq/Import/WeightElements.h"
#include "tacq/Half.h"
#include "llvm/ADT/bit.h"
#include <cstring>

using namespace mlir;
using namespace tacq;

template <typename Stored> static Stored storedAt(ArrayRef<char> bytes, int64_t i) {
  Stored number;
  std::memcpy(&number, bytes.data() + i * sizeof(Stored), sizeof(Stored));
  return number;
}

/// read(i) for each element, as [n, k]. What is stored as [k, n] is turned in squares, whose lines
/// stay in the cache.
template <typename Read>
static std::vector<float> inOrder(int64_t n, int64_t k, WeightOrder order, Read read) {
  constexpr int64_t square = 64;
  std::vector<float> elements(n * k);
  if (order == WeightOrder::NK) {
    for (int64_t i = 0; i < n * k; ++i)
      elements[i] = read(i);
    return elements;
  }
  for (int64_t row = 0; row < n; row += square)
    for (int64_t column = 0; column < k; column += square)
      for (int64_t i = row; i < std::min(n, row + square); ++i)
        for (int64_t j = column; j < std::min(k, column + square); ++j)
          elements[i * k + j] = read(j * n + i);
  return elements;
}

Error tacq::readWeight(const ParameterStore &parameters, LinearOp linear,
                       std::vector<float> &elements) {
  StringRef name = linear.getWeights()[0].getDefiningOp<GetParamOp>().getParam();
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(
      linear, StringAttr::get(linear.getContext(), name));
  auto type = cast<RankedTensorType>(param.getType());
  ArrayRef<char> bytes = parameters.bytes(name);
  auto order = WeightOrder(cast<IntegerAttr>(linear.getWeightOrder()[0]).getInt());
  int64_t n = type.getDimSize(0), k = type.getDimSize(1);
  if (order != WeightOrder::NK)
    std::swap(n, k);
  Type element = type.getElementType();
  if (element.isF32())
    elements = inOrder(n, k, order, [&](int64_t i) { return storedAt<float>(bytes, i); });
  else if (element.isF16())
    elements = inOrder(n, k, order,
                       [&](int64_t i) { return floatFromHalf(storedAt<uint16_t>(bytes, i)); });
  else if (element.isBF16())
    elements = inOrder(n, k, order, [&](int64_t i) {
      return llvm::bit_cast<float>(uint32_t(storedAt<uint16_t>(bytes, i)) << 16);
    });
  else
    return Error(TACQ_UNSUPPORTED, "weights of this element type are not quantized");
  return Error();
}
