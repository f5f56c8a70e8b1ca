//===- TunedWeight.cpp - What tuning moves of a quantized weight ----------===//

#include "tacq/Tune/TunedWeight.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cmath>

using namespace tacq;

/// Levels are this far from 0 at most, in units of the row's scale.
static constexpr int largestLevel = 127, zeroLevel = 128;

static uint16_t toHalf(double value) {
  return halfFromDouble(std::clamp<double>(value, -largestHalf, largestHalf));
}

TunedWeight::TunedWeight(MixedWeight weight) : stored(std::move(weight)) {
  std::vector<float> decoded = stored.decode();
  rowSizes.resize(stored.rows);
  for (int64_t n = 0; n < stored.rows; ++n) {
    double sum = 0;
    for (int64_t k = 0; k < stored.columns; ++k)
      sum += double(decoded[n * stored.columns + k]) * decoded[n * stored.columns + k];
    rowSizes[n] = static_cast<float>(std::sqrt(sum / static_cast<double>(stored.columns)));
  }
  if (stored.format.codebook) {
    int64_t books = int64_t(1) << stored.format.bits;
    for (int64_t n = 0; n < stored.rows; ++n) {
      const uint8_t *levels = stored.levels.data() + n * books;
      float scale = floatFromHalf(stored.scales[n]);
      auto [least, most] = std::minmax_element(levels, levels + books);
      float spacing = scale * static_cast<float>(*most - *least) / static_cast<float>(books - 1);
      for (int64_t c = 0; c < books; ++c) {
        values.push_back(scale * static_cast<float>(levels[c] - zeroLevel));
        units.push_back(spacing);
      }
    }
  } else {
    // The outermost levels are 2^(bits - 1) scales from zero, and move as many times as far.
    float part = std::ldexp(1.0f, 2 - static_cast<int>(stored.format.bits));
    for (uint16_t scale : stored.scales) {
      values.push_back(floatFromHalf(scale));
      units.push_back(part * std::fabs(values.back()));
    }
  }
  if (stored.starts.empty())
    return;
  for (int64_t n = 0; n < stored.rows; ++n)
    for (uint32_t i = stored.starts[n]; i < stored.starts[n + 1]; ++i) {
      values.push_back(decoded[n * stored.columns + stored.positions[i]]);
      units.push_back(rowSizes[n]);
    }
}

void TunedWeight::roundLevels(int64_t row) {
  int64_t books = int64_t(1) << stored.format.bits;
  const float *levels = values.data() + row * books;
  uint8_t *integers = stored.levels.data() + row * books;
  float largest = 0;
  for (int64_t c = 0; c < books; ++c)
    largest = std::max(largest, std::fabs(levels[c]));
  stored.scales[row] = toHalf(largest / largestLevel);
  float scale = floatFromHalf(stored.scales[row]);
  for (int64_t c = 0; c < books; ++c) {
    float integer = scale == 0 ? 0 : std::nearbyint(levels[c] / scale);
    integers[c] = static_cast<uint8_t>(
        zeroLevel + std::clamp<int>(static_cast<int>(integer), -largestLevel, largestLevel));
  }
}

void TunedWeight::round() {
  if (stored.format.codebook) {
    for (int64_t n = 0; n < stored.rows; ++n)
      roundLevels(n);
  } else {
    for (size_t i = 0; i < stored.scales.size(); ++i)
      stored.scales[i] = toHalf(values[i]);
  }
  if (stored.starts.empty())
    return;
  const float *circuit = values.data() + decodingValues();
  int64_t books = int64_t(1) << stored.format.bits;
  for (int64_t n = 0; n < stored.rows; ++n)
    for (uint32_t i = stored.starts[n]; i < stored.starts[n + 1]; ++i) {
      float level = 0;
      if (stored.format.codebook) {
        uint8_t code = stored.codes[n * stored.columns + stored.positions[i]];
        level = floatFromHalf(stored.scales[n]) *
                static_cast<float>(stored.levels[n * books + code] - zeroLevel);
      }
      stored.values[i] = toHalf(double(circuit[i]) - level);
    }
}

void TunedWeight::reduce(llvm::ArrayRef<float> gradient,
                         llvm::MutableArrayRef<float> result) const {
  int64_t columns = stored.columns, span = stored.groupColumns(), groups = stored.groups();
  int64_t books = int64_t(1) << stored.format.bits;
  std::vector<float> row(columns);
  std::vector<double> sums(std::max<int64_t>(books, groups));
  size_t entries = decodingValues();
  for (int64_t n = 0; n < stored.rows; ++n) {
    std::copy_n(gradient.data() + n * columns, columns, row.data());
    if (!stored.starts.empty())
      for (uint32_t i = stored.starts[n]; i < stored.starts[n + 1]; ++i) {
        result[entries + i] = row[stored.positions[i]];
        row[stored.positions[i]] = 0;
      }
    std::fill(sums.begin(), sums.end(), 0);
    const uint8_t *codes = stored.codes.data() + n * columns;
    if (stored.format.codebook) {
      for (int64_t k = 0; k < columns; ++k)
        sums[codes[k]] += row[k];
      std::copy_n(sums.begin(), books, result.begin() + n * books);
      continue;
    }
    for (int64_t g = 0; g < groups; ++g) {
      int zero = stored.zeros[n * groups + g];
      for (int64_t k = g * span, end = std::min(columns, (g + 1) * span); k < end; ++k)
        sums[g] += double(row[k]) * (codes[k] - zero);
    }
    std::copy_n(sums.begin(), groups, result.begin() + n * groups);
  }
}

float TunedWeight::decodedAs(int64_t n, int64_t k, int code) const {
  if (stored.format.codebook)
    return values[(n << stored.format.bits) + code];
  int64_t group = n * stored.groups() + k / stored.groupColumns();
  return values[group] * static_cast<float>(code - stored.zeros[group]);
}

std::vector<float> TunedWeight::numbersBehind(llvm::ArrayRef<float> original) const {
  /// How close to the border of its cell a number may be, as a part of the way to the other level.
  /// Error compensation gives many weights a code that is not the nearest: without a distance, the
  /// first steps would give half of them up.
  constexpr float inset = 0.25f;
  std::vector<float> numbers(original.begin(), original.end());
  for (int64_t n = 0; n < stored.rows; ++n)
    for (int64_t k = 0; k < stored.columns; ++k) {
      float &number = numbers[n * stored.columns + k];
      float own = decodedAs(n, k, stored.codes[n * stored.columns + k]);
      for (int c = 0; c < 1 << stored.format.bits; ++c) {
        float other = decodedAs(n, k, c), border = own + (other - own) * (0.5f - inset);
        if (other > own)
          number = std::min(number, border);
        else if (other < own)
          number = std::max(number, border);
      }
    }
  return numbers;
}

void TunedWeight::assignCodes(llvm::ArrayRef<float> wanted) {
  int64_t columns = stored.columns, span = stored.groupColumns(), groups = stored.groups();
  int books = 1 << stored.format.bits;
  for (int64_t n = 0; n < stored.rows; ++n) {
    uint8_t *codes = stored.codes.data() + n * columns;
    llvm::ArrayRef<uint32_t> kept;
    if (!stored.starts.empty())
      kept = llvm::ArrayRef(stored.positions)
                 .slice(stored.starts[n], stored.starts[n + 1] - stored.starts[n]);
    const uint32_t *next = kept.begin();
    for (int64_t k = 0; k < columns; ++k) {
      if (next != kept.end() && *next == k) {
        ++next;
        continue;
      }
      float value = wanted[n * columns + k];
      if (!stored.format.codebook) {
        float scale = values[n * groups + k / span];
        float code = scale == 0 ? 0 : std::nearbyint(value / scale);
        codes[k] = static_cast<uint8_t>(std::clamp<int>(
            static_cast<int>(code) + stored.zeros[n * groups + k / span], 0, books - 1));
        continue;
      }
      const float *levels = values.data() + n * books;
      int best = codes[k];
      float least = std::fabs(value - levels[best]);
      for (int c = 0; c < books; ++c) {
        float distance = std::fabs(value - levels[c]);
        best = distance < least ? c : best;
        least = std::min(least, distance);
      }
      codes[k] = static_cast<uint8_t>(best);
    }
  }
}
