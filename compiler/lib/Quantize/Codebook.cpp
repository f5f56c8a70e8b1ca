//===- Codebook.cpp - Levels of a row, fitted -----------------------------===//

#include "tacq/Quantize/Codebook.h"
#include "Damping.h"
#include "LevelFit.h"
#include "Parallel.h"
#include "tacq/Half.h"
#include <algorithm>
#include <cassert>
#include <cblas.h>
#include <cmath>

using namespace tacq;

namespace {
/// The rows [begin, begin + count). In every step `gradient` is H (w - q) of the row, `stored` is
/// q, and `projected` has, for each level, the sum of the rows of H whose columns have its code.
class Chunk {
public:
  Chunk(WeightView weight, llvm::ArrayRef<double> hessian, const std::vector<bool> &dead,
        const MixedWeight &affine, const CodebookOptions &options, MixedWeight &result,
        int64_t begin, int64_t end)
      : weight(weight), hessian(hessian), dead(dead), affine(affine), options(options),
        result(result), begin(begin), count(end - begin), columns(weight.columns),
        books(int64_t(1) << affine.format.bits) {}

  void fit();

private:
  void load();
  void refreshGradient();
  double errorOf(int64_t r) const;
  void projectHessian();
  LevelForm formOf(int64_t r) const;
  void moveLevels(int64_t r, const double *step);
  void fitLevels();
  void fitRoundedLevels();
  bool sweep();
  void change(int64_t r, int64_t k, double value);
  void recode(int64_t r, int64_t k, int code);
  void storeCircuit(int64_t r);
  void takeAffine(int64_t r);

  int nearestLevel(int64_t r, double value) const;
  bool isKept(int64_t r, int64_t k) const { return !kept.empty() && kept[r * columns + k]; }
  uint8_t &codeOf(int64_t r, int64_t k) { return result.codes[(begin + r) * columns + k]; }
  uint8_t codeOf(int64_t r, int64_t k) const { return result.codes[(begin + r) * columns + k]; }
  double *levelsOf(int64_t r) { return levels.data() + r * books; }
  const double *levelsOf(int64_t r) const { return levels.data() + r * books; }
  /// Row c of Pᵀ H.
  const double *projection(int64_t r, int64_t c) const {
    return projected.data() + (r * books + c) * columns;
  }
  double *projection(int64_t r, int64_t c) { return projected.data() + (r * books + c) * columns; }

  WeightView weight;
  llvm::ArrayRef<double> hessian;
  const std::vector<bool> &dead;
  const MixedWeight &affine;
  const CodebookOptions &options;
  MixedWeight &result;
  int64_t begin, count, columns, books;

  std::vector<double> target, stored, gradient; ///< [count][columns]
  std::vector<uint8_t> kept;                    ///< [count][columns], empty without a circuit
  std::vector<double> levels;                   ///< [count][books]
  std::vector<double> projected;                ///< [count][books][columns]
};
} // namespace

void Chunk::load() {
  target.resize(count * columns);
  stored.resize(count * columns);
  levels.resize(count * books);
  if (!affine.starts.empty())
    kept.resize(count * columns);
  for (int64_t r = 0; r < count; ++r) {
    int64_t n = begin + r;
    double scale = floatFromHalf(affine.scales[n]);
    for (int64_t c = 0; c < books; ++c)
      levelsOf(r)[c] = scale * static_cast<double>(c - affine.zeros[n]);
    for (int64_t k = 0; k < columns; ++k) {
      target[r * columns + k] = dead[k] ? 0 : weight.row(n)[k];
      codeOf(r, k) = affine.codes[n * columns + k];
      stored[r * columns + k] = levelsOf(r)[codeOf(r, k)];
    }
    if (affine.starts.empty())
      continue;
    for (uint32_t i = affine.starts[n]; i < affine.starts[n + 1]; ++i) {
      uint32_t k = affine.positions[i];
      kept[r * columns + k] = 1;
      target[r * columns + k] = weight.row(n)[k];
      bool original = options.circuitValues == CircuitSource::Original;
      uint16_t half = original
                          ? halfFromFloat(std::clamp(weight.row(n)[k], -largestHalf, largestHalf))
                          : affine.values[i];
      stored[r * columns + k] = floatFromHalf(half);
    }
  }
}

void Chunk::refreshGradient() {
  std::vector<double> error(count * columns);
  for (size_t i = 0; i < error.size(); ++i)
    error[i] = target[i] - stored[i];
  gradient.resize(error.size());
  int size = static_cast<int>(columns);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(count), size, size, 1,
              error.data(), size, hessian.data(), size, 0, gradient.data(), size);
}

/// By the gradient, so refreshed ones only are exact.
double Chunk::errorOf(int64_t r) const {
  double sum = 0;
  for (int64_t i = r * columns; i < (r + 1) * columns; ++i)
    sum += (target[i] - stored[i]) * gradient[i];
  return sum;
}

void Chunk::projectHessian() {
  std::vector<double> selection(count * books * columns);
  projected.resize(selection.size());
  for (int64_t r = 0; r < count; ++r)
    for (int64_t k = 0; k < columns; ++k)
      if (!isKept(r, k))
        selection[(r * books + codeOf(r, k)) * columns + k] = 1;
  int size = static_cast<int>(columns);
  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(count * books), size,
              size, 1, selection.data(), size, hessian.data(), size, 0, projected.data(), size);
}

LevelForm Chunk::formOf(int64_t r) const {
  LevelForm form;
  form.levels = static_cast<int>(books);
  for (int64_t k = 0; k < columns; ++k) {
    if (isKept(r, k))
      continue;
    uint8_t code = codeOf(r, k);
    form.slope[code] += gradient[r * columns + k];
    for (int64_t c = 0; c < books; ++c)
      form.curvature[c][code] += projection(r, c)[k];
  }
  return form;
}

void Chunk::moveLevels(int64_t r, const double *step) {
  for (int64_t c = 0; c < books; ++c) {
    levelsOf(r)[c] += step[c];
    if (step[c] != 0)
      cblas_daxpy(static_cast<int>(columns), -step[c], projection(r, c), 1, &gradient[r * columns],
                  1);
  }
  for (int64_t k = 0; k < columns; ++k)
    if (!isKept(r, k))
      stored[r * columns + k] = levelsOf(r)[codeOf(r, k)];
}

void Chunk::fitLevels() {
  double step[mostLevels];
  for (int64_t r = 0; r < count; ++r)
    if (formOf(r).solve(step))
      moveLevels(r, step);
}

/// Expects that levels were just fitted, so that they are the minimum for their codes.
void Chunk::fitRoundedLevels() {
  for (int64_t r = 0; r < count; ++r) {
    RoundedLevels rounded = roundLevels(formOf(r), levelsOf(r));
    result.scales[begin + r] = rounded.scaleBits;
    std::copy_n(rounded.integers, books, &result.levels[(begin + r) * books]);
    double step[mostLevels];
    for (int64_t c = 0; c < books; ++c)
      step[c] = rounded.value(static_cast<int>(c)) - levelsOf(r)[c];
    moveLevels(r, step);
  }
}

int Chunk::nearestLevel(int64_t r, double value) const {
  int best = 0;
  double least = std::fabs(value - levelsOf(r)[0]);
  for (int c = 1; c < books; ++c) {
    double distance = std::fabs(value - levelsOf(r)[c]);
    if (distance < least) {
      least = distance;
      best = c;
    }
  }
  return best;
}

void Chunk::change(int64_t r, int64_t k, double value) {
  double &current = stored[r * columns + k];
  cblas_daxpy(static_cast<int>(columns), current - value, &hessian[k * columns], 1,
              &gradient[r * columns], 1);
  current = value;
}

/// Few codes change in a pass, so that this takes less than projecting again.
void Chunk::recode(int64_t r, int64_t k, int code) {
  int size = static_cast<int>(columns);
  const double *row = &hessian[k * columns];
  cblas_daxpy(size, -1, row, 1, projection(r, codeOf(r, k)), 1);
  cblas_daxpy(size, 1, row, 1, projection(r, code), 1);
  codeOf(r, k) = static_cast<uint8_t>(code);
  change(r, k, levelsOf(r)[code]);
}

/// One pass over all codes; true if any has changed. Column by column for all rows, so that a row
/// of H is read once.
bool Chunk::sweep() {
  bool changed = false;
  for (int64_t k = 0; k < columns; ++k) {
    double inverse = 1 / hessian[k * columns + k];
    for (int64_t r = 0; r < count; ++r) {
      int64_t i = r * columns + k;
      double wanted = stored[i] + gradient[i] * inverse;
      if (isKept(r, k)) {
        if (options.circuitValues == CircuitSource::Original)
          continue;
        double limited = std::clamp<double>(wanted, -largestHalf, largestHalf);
        double value = floatFromHalf(halfFromDouble(limited));
        if (value != stored[i])
          change(r, k, value);
        continue;
      }
      int code = nearestLevel(r, wanted);
      if (code == codeOf(r, k) || levelsOf(r)[code] == stored[i])
        continue;
      recode(r, k, code);
      changed = true;
    }
  }
  return changed;
}

void Chunk::storeCircuit(int64_t r) {
  int64_t n = begin + r;
  for (uint32_t i = affine.starts[n]; i < affine.starts[n + 1]; ++i) {
    uint32_t k = affine.positions[i];
    double &value = stored[r * columns + k];
    int code = nearestLevel(r, value);
    codeOf(r, k) = static_cast<uint8_t>(code);
    double difference = std::clamp<double>(value - levelsOf(r)[code], -largestHalf, largestHalf);
    result.values[i] = halfFromDouble(difference);
    value = levelsOf(r)[code] + floatFromHalf(result.values[i]);
  }
}

/// GPTQ's row as a codebook: its levels are integers times its scale.
void Chunk::takeAffine(int64_t r) {
  int64_t n = begin + r;
  result.scales[n] = affine.scales[n];
  for (int64_t c = 0; c < books; ++c)
    result.levels[n * books + c] = static_cast<uint8_t>(128 + c - affine.zeros[n]);
  std::copy_n(&affine.codes[n * columns], columns, &result.codes[n * columns]);
  if (!affine.starts.empty())
    std::copy(affine.values.begin() + affine.starts[n],
              affine.values.begin() + affine.starts[n + 1],
              result.values.begin() + affine.starts[n]);
}

void Chunk::fit() {
  load();
  refreshGradient();
  projectHessian();
  std::vector<double> before(count);
  for (int64_t r = 0; r < count; ++r)
    before[r] = errorOf(r);
  bool changed = true;
  for (unsigned round = 0; round < options.rounds && changed; ++round) {
    fitLevels();
    changed = false;
    for (unsigned i = 0; i < options.sweeps; ++i)
      changed |= sweep();
  }
  fitLevels();
  fitRoundedLevels();
  for (unsigned i = 0; i < options.sweeps; ++i)
    sweep();
  if (!affine.starts.empty())
    for (int64_t r = 0; r < count; ++r)
      storeCircuit(r);
  refreshGradient();
  for (int64_t r = 0; r < count; ++r)
    if (!(errorOf(r) < before[r]))
      takeAffine(r);
}

Error tacq::fitCodebook(WeightView weight, llvm::ArrayRef<double> hessian,
                        const MixedWeight &affine, const CodebookOptions &options,
                        MixedWeight &result) {
  assert(affine.rows == weight.rows && affine.columns == weight.columns && "another weight");
  assert(!affine.format.codebook && affine.format.group == 0 && "levels are those of a row");
  int64_t columns = weight.columns;
  if (Error error = checkFinite(weight))
    return error;
  if (affine.format.bits > 4)
    return makeError(TACQ_INVALID_INPUT, "codebooks have 2, 3 or 4 bits, not %u",
                     affine.format.bits);

  Damping damping;
  if (Error error = Damping::compute(hessian, columns, options.damping, damping))
    return error;
  std::vector<double> damped(hessian.begin(), hessian.end());
  for (int64_t k = 0; k < columns; ++k)
    damped[k * columns + k] = damping.diagonal(k, damped[k * columns + k]);

  result = MixedWeight();
  result.rows = affine.rows;
  result.columns = columns;
  result.format = affine.format;
  result.format.codebook = true;
  result.codes.resize(affine.codes.size());
  result.scales.resize(affine.rows);
  result.levels.resize(static_cast<size_t>(affine.rows) << affine.format.bits);
  result.starts = affine.starts;
  result.positions = affine.positions;
  result.values.resize(affine.values.size());
  result.order = affine.order;
  forEachChunk(weight.rows, 16, options.threads, [&](int64_t begin, int64_t end) {
    Chunk(weight, damped, damping.dead, affine, options, result, begin, end).fit();
  });
  return success();
}
