//===- WeightElements.cpp - The elements of weights, as f32 ---------------===//

#include "WeightElements.h"
#include "GraphSegments.h"
#include "tacq/Half.h"
#include <cstring>

using namespace mlir;
using namespace tacq;

Error tacq::readWeight(const ParameterStore &parameters, LinearOp linear,
                       std::vector<float> &elements) {
  StringRef name = weightName(linear);
  auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(
      linear, StringAttr::get(linear.getContext(), name));
  auto type = cast<RankedTensorType>(param.getType());
  ArrayRef<char> bytes = parameters.bytes(name);
  size_t count = type.getNumElements();
  std::vector<float> stored(count);
  Type element = type.getElementType();
  for (size_t i = 0; i < count; ++i) {
    if (element.isF32()) {
      std::memcpy(&stored[i], bytes.data() + i * sizeof(float), sizeof(float));
      continue;
    }
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(bits), sizeof(bits));
    if (element.isF16()) {
      stored[i] = floatFromHalf(bits);
    } else if (element.isBF16()) {
      uint32_t wide = uint32_t(bits) << 16;
      std::memcpy(&stored[i], &wide, sizeof(wide));
    } else {
      return Error(TACQ_UNSUPPORTED, "weights of this element type are not quantized");
    }
  }
  auto order = WeightOrder(cast<IntegerAttr>(linear.getWeightOrder()[0]).getInt());
  if (order == WeightOrder::NK) {
    elements = std::move(stored);
    return Error();
  }
  int64_t k = type.getDimSize(0), n = type.getDimSize(1);
  elements.resize(count);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < n; ++j)
      elements[j * k + i] = stored[i * n + j];
  return Error();
}

void tacq::expandHessian(const InputStatistics &input, std::vector<double> &matrix) {
  int64_t k = input.columns;
  ArrayRef<double> triangle = input.hessian.values();
  matrix.resize(k * k);
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j <= i; ++j)
      matrix[i * k + j] = matrix[j * k + i] = triangle[i * (i + 1) / 2 + j];
}
