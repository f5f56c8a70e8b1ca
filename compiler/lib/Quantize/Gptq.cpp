//===- Gptq.cpp - Quantization with error compensation --------------------===//
//
// Rows do not depend on each other, so threads take chunks of rows. Within a chunk, updates inside
// of a block of columns are applied one by one, those of the rest of the row by one matrix product
// for each block.
//
//===----------------------------------------------------------------------===//

#include "tacq/Quantize/Gptq.h"
#include "Parallel.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cassert>
#include <cblas.h>

using namespace tacq;

namespace {
/// The rows [begin, end) of the weight; columns in the order of visits.
class Chunk {
public:
  Chunk(WeightView weight, const HessianFactor &factor, const CircuitMask &mask,
        const GptqOptions &options, MixedWeight &result, int64_t begin, int64_t end)
      : weight(weight), factor(factor), mask(mask), options(options), result(result), begin(begin),
        count(end - begin), columns(weight.columns) {}

  void quantize();

private:
  static constexpr uint32_t notKept = ~0u;

  void load();
  void fitFixedGroups();
  int64_t blockEnd(int64_t start) const;
  void quantizeBlock(int64_t r, int64_t start, int64_t end);
  double store(int64_t r, int64_t i, double value);
  void fitGroup(int64_t r, int64_t group, bool fromOriginal);
  bool hasFixedGroups() const { return result.format.group == 0 || factor.isReordered(); }

  double &updated(int64_t r, int64_t i) { return current[r * columns + i]; }
  uint32_t entryOf(int64_t r, int64_t i) const {
    return entries.empty() ? notKept : entries[r * columns + i];
  }
  AffineFit &fitOf(int64_t r, int64_t group) { return fits[r * result.groups() + group]; }

  WeightView weight;
  const HessianFactor &factor;
  const CircuitMask &mask;
  const GptqOptions &options;
  MixedWeight &result;
  int64_t begin, count, columns;

  std::vector<double> current; ///< the weights as updated so far
  std::vector<double> errors;  ///< of the block, [count][block]
  /// The circuit's entry at each position, or notKept; empty without a circuit.
  std::vector<uint32_t> entries;
  std::vector<AffineFit> fits; ///< [count][groups]
  std::vector<float> scratch;
};
} // namespace

void Chunk::load() {
  current.resize(count * columns);
  fits.resize(count * result.groups());
  std::vector<uint32_t> visit(columns);
  for (int64_t i = 0; i < columns; ++i)
    visit[factor.order()[i]] = static_cast<uint32_t>(i);
  if (!mask.empty())
    entries.assign(count * columns, notKept);
  for (int64_t r = 0; r < count; ++r) {
    const float *row = weight.row(begin + r);
    for (int64_t k = 0; k < columns; ++k)
      updated(r, visit[k]) = factor.isDead(k) ? 0 : row[k];
    llvm::ArrayRef<uint32_t> kept = mask.row(begin + r);
    for (size_t i = 0; i < kept.size(); ++i) {
      entries[r * columns + visit[kept[i]]] = mask.starts[begin + r] + static_cast<uint32_t>(i);
      updated(r, visit[kept[i]]) = row[kept[i]];
    }
  }
}

/// Without reordering a column is its own visit; with it, groups are fitted on the original row.
void Chunk::fitGroup(int64_t r, int64_t group, bool fromOriginal) {
  int64_t first = group * result.groupColumns();
  int64_t last = std::min(columns, first + result.groupColumns());
  scratch.clear();
  if (fromOriginal) {
    const float *row = weight.row(begin + r);
    llvm::ArrayRef<uint32_t> kept = mask.row(begin + r);
    const uint32_t *next = std::lower_bound(kept.begin(), kept.end(), first);
    for (int64_t k = first; k < last; ++k) {
      if (next != kept.end() && *next == k)
        ++next;
      else
        scratch.push_back(row[k]);
    }
  } else {
    for (int64_t i = first; i < last; ++i)
      if (entryOf(r, i) == notKept)
        scratch.push_back(static_cast<float>(updated(r, i)));
  }
  AffineFit fit = fitAffine(scratch, result.format.bits, options.clip);
  fitOf(r, group) = fit;
  int64_t index = (begin + r) * result.groups() + group;
  result.scales[index] = fit.scaleBits;
  result.zeros[index] = fit.zero;
}

void Chunk::fitFixedGroups() {
  for (int64_t r = 0; r < count; ++r)
    for (int64_t group = 0; group < result.groups(); ++group)
      fitGroup(r, group, /*fromOriginal=*/true);
}

/// A group that is fitted when it is reached must have all updates of earlier columns, so it starts
/// at the start of a block.
int64_t Chunk::blockEnd(int64_t start) const {
  int64_t end = std::min(columns, start + options.blockSize);
  if (hasFixedGroups() || end == columns)
    return end;
  int64_t boundary = end - end % result.format.group;
  return boundary > start ? boundary : end;
}

/// Stores the weight in row r that is visited as i-th, and returns what is stored.
double Chunk::store(int64_t r, int64_t i, double value) {
  int64_t column = factor.order()[i];
  const AffineFit &fit = fitOf(r, column / result.groupColumns());
  uint8_t &code = result.codes[(begin + r) * columns + column];
  uint32_t entry = entryOf(r, i);
  if (entry == notKept) {
    code = fit.codeOf(value);
    return fit.valueOf(code);
  }
  code = fit.zero;
  double kept = options.circuitValues == CircuitSource::Original
                    ? static_cast<double>(weight.row(begin + r)[column])
                    : value;
  uint16_t half = halfFromDouble(std::clamp<double>(kept, -largestHalf, largestHalf));
  result.values[entry] = half;
  return floatFromHalf(half);
}

void Chunk::quantizeBlock(int64_t r, int64_t start, int64_t end) {
  double *row = &updated(r, 0), *error = &errors[r * (end - start)];
  for (int64_t i = start; i < end; ++i) {
    if (!hasFixedGroups() && i % result.format.group == 0)
      fitGroup(r, i / result.format.group, /*fromOriginal=*/false);
    const double *factorRow = factor.row(i);
    double e = (row[i] - store(r, i, row[i])) / factorRow[i];
    error[i - start] = e;
    for (int64_t j = i + 1; j < end; ++j)
      row[j] -= e * factorRow[j];
  }
}

void Chunk::quantize() {
  load();
  if (hasFixedGroups())
    fitFixedGroups();
  errors.resize(count * std::min(options.blockSize, columns));
  for (int64_t start = 0, end; start < columns; start = end) {
    end = blockEnd(start);
    for (int64_t r = 0; r < count; ++r)
      quantizeBlock(r, start, end);
    if (end < columns)
      cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(count),
                  static_cast<int>(columns - end), static_cast<int>(end - start), -1, errors.data(),
                  static_cast<int>(end - start), factor.row(start) + end, static_cast<int>(columns),
                  1, &updated(0, end), static_cast<int>(columns));
  }
}

Error tacq::quantizeGptq(WeightView weight, const HessianFactor &factor, const WeightFormat &format,
                         const CircuitMask &mask, const GptqOptions &options, MixedWeight &result) {
  assert(!format.codebook && "codebooks are fitted by fitCodebook");
  assert(factor.columns() == weight.columns && "the statistics are of another layer");
  assert(options.blockSize > 0 && "blocks have columns");
  if (Error error = checkFinite(weight))
    return error;
  result = makeMixedWeight(weight, format, mask);
  forEachChunk(weight.rows, 32, options.threads, [&](int64_t begin, int64_t end) {
    Chunk(weight, factor, mask, options, result, begin, end).quantize();
  });
  return success();
}
