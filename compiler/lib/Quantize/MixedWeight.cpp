//===- MixedWeight.cpp - Mixed-precision weights and their masks ----------===//

#include "tacq/Quantize/MixedWeight.h"
#include "tacq/Half.h"
#include "tacq/Quantize/CircuitMask.h"
#include <cmath>

using namespace tacq;

std::vector<float> MixedWeight::decode() const {
  std::vector<float> result(static_cast<size_t>(rows * columns));
  int64_t span = groupColumns(), count = groups();
  for (int64_t n = 0; n < rows; ++n) {
    float *row = result.data() + n * columns;
    const uint8_t *code = codes.data() + n * columns;
    const uint8_t *book = format.codebook ? levels.data() + (n << format.bits) : nullptr;
    for (int64_t g = 0; g < count; ++g) {
      float scale = floatFromHalf(scales[n * count + g]);
      int zero = book ? 128 : zeros[n * count + g];
      for (int64_t k = g * span, end = std::min(columns, (g + 1) * span); k < end; ++k)
        row[k] = scale * static_cast<float>((book ? book[code[k]] : code[k]) - zero);
    }
    if (!starts.empty())
      for (uint32_t i = starts[n]; i < starts[n + 1]; ++i)
        row[positions[i]] += floatFromHalf(values[i]);
  }
  return result;
}

MixedWeight tacq::makeMixedWeight(WeightView weight, WeightFormat format, const CircuitMask &mask) {
  MixedWeight result;
  result.rows = weight.rows;
  result.columns = weight.columns;
  result.format = format;
  if (mask.empty()) {
    result.format.circuit = WeightFormat::Circuit::None;
  } else {
    result.starts = mask.starts;
    result.positions = mask.positions;
    result.values.resize(mask.positions.size());
    result.order = mask.order;
  }
  result.codes.resize(weight.elements());
  result.scales.resize(weight.rows * result.groups());
  if (format.codebook)
    result.levels.resize(static_cast<size_t>(weight.rows) << format.bits);
  else
    result.zeros.resize(weight.rows * result.groups());
  return result;
}

Error tacq::checkFinite(WeightView weight) {
  for (int64_t i = 0; i < weight.elements(); ++i)
    if (!std::isfinite(weight.data[i]))
      return makeError(TACQ_INVALID_INPUT, "the weight in row %lld and column %lld is not finite",
                       static_cast<long long>(i / weight.columns),
                       static_cast<long long>(i % weight.columns));
  return success();
}
