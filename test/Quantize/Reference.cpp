//===- Reference.cpp - Random layers and plain references -----------------===//

#include "Reference.h"
#include "tacq/Half.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace tacq;
using namespace tacq::test;

Layer test::randomLayer(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Layer layer{rows, columns, {}, std::vector<double>(columns * columns)};
  for (int64_t i = 0; i < rows * columns; ++i) {
    double value = 0.05 * normal(random) * (random() % 64 == 0 ? 8 : 1);
    layer.weight.push_back(floatFromHalf(halfFromFloat(static_cast<float>(value))));
  }
  const int64_t directions = 5;
  std::vector<double> mixing(columns * directions), x(columns);
  for (double &value : mixing)
    value = normal(random);
  for (int64_t sample = 0; sample < 3 * columns + 10; ++sample) {
    double hidden[directions];
    for (double &value : hidden)
      value = normal(random);
    for (int64_t k = 0; k < columns; ++k) {
      x[k] = 0.5 * normal(random);
      for (int64_t d = 0; d < directions; ++d)
        x[k] += mixing[k * directions + d] * hidden[d];
    }
    for (int64_t i = 0; i < columns; ++i)
      for (int64_t j = 0; j < columns; ++j)
        layer.hessian[i * columns + j] += x[i] * x[j];
  }
  return layer;
}

CircuitMask test::randomMask(int64_t rows, int64_t columns, double density, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> uniform;
  CircuitMask mask;
  mask.starts.push_back(0);
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t k = 0; k < columns; ++k)
      if (uniform(random) < density && n % 3 != 2)
        mask.positions.push_back(static_cast<uint32_t>(k));
    mask.starts.push_back(static_cast<uint32_t>(mask.positions.size()));
  }
  return mask;
}

void test::killColumn(Layer &layer, int64_t column) {
  for (int64_t k = 0; k < layer.columns; ++k)
    layer.hessian[k * layer.columns + column] = layer.hessian[column * layer.columns + k] = 0;
}

double test::layerErrorOf(const Layer &layer, const std::vector<float> &quantized) {
  double total = 0;
  std::vector<double> error(layer.columns);
  for (int64_t n = 0; n < layer.rows; ++n) {
    for (int64_t k = 0; k < layer.columns; ++k)
      error[k] = double(layer.weight[n * layer.columns + k]) - quantized[n * layer.columns + k];
    for (int64_t i = 0; i < layer.columns; ++i)
      for (int64_t j = 0; j < layer.columns; ++j)
        total += error[i] * layer.hessian[i * layer.columns + j] * error[j];
  }
  return total;
}

/// Gauss-Jordan of a positive definite matrix.
static std::vector<double> inverse(std::vector<double> a, int64_t n) {
  for (int64_t p = 0; p < n; ++p) {
    double pivot = 1 / a[p * n + p];
    a[p * n + p] = 1;
    for (int64_t j = 0; j < n; ++j)
      a[p * n + j] *= pivot;
    for (int64_t i = 0; i < n; ++i) {
      if (i == p)
        continue;
      double factor = a[i * n + p];
      a[i * n + p] = 0;
      for (int64_t j = 0; j < n; ++j)
        a[i * n + j] -= factor * a[p * n + j];
    }
  }
  return a;
}

std::vector<float> test::referenceGptq(const Layer &layer, const WeightFormat &format,
                                       const CircuitMask &mask, const ReferenceOptions &options) {
  int64_t K = layer.columns, span = format.group == 0 ? K : format.group;
  std::vector<double> hessian = layer.hessian;
  double sum = 0;
  int64_t live = 0;
  std::vector<bool> dead(K);
  for (int64_t k = 0; k < K; ++k) {
    dead[k] = hessian[k * K + k] == 0;
    live += !dead[k];
    sum += hessian[k * K + k];
  }
  double mean = sum / static_cast<double>(live);
  for (int64_t k = 0; k < K; ++k)
    hessian[k * K + k] += (dead[k] ? mean : 0) + options.damping * mean;
  std::vector<int64_t> order(K);
  std::iota(order.begin(), order.end(), 0);
  if (options.activationOrder)
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return layer.hessian[a * K + a] > layer.hessian[b * K + b];
    });

  std::vector<float> quantized(layer.rows * K);
  std::vector<std::vector<double>> current(layer.rows, std::vector<double>(K));
  std::vector<std::vector<AffineFit>> fits(layer.rows,
                                           std::vector<AffineFit>((K + span - 1) / span));
  auto isKept = [&](int64_t n, int64_t k) {
    return std::binary_search(mask.row(n).begin(), mask.row(n).end(), k);
  };
  auto fitGroup = [&](int64_t n, int64_t group, bool original) {
    std::vector<float> values;
    for (int64_t k = group * span; k < std::min(K, (group + 1) * span); ++k)
      if (!isKept(n, k))
        values.push_back(original ? layer.weight[n * K + k] : static_cast<float>(current[n][k]));
    fits[n][group] = fitAffine(values, format.bits, options.clip);
  };
  bool fixed = format.group == 0 || options.activationOrder;
  for (int64_t n = 0; n < layer.rows; ++n) {
    for (int64_t k = 0; k < K; ++k)
      current[n][k] = dead[k] && !isKept(n, k) ? 0 : layer.weight[n * K + k];
    for (int64_t group = 0; fixed && group < (K + span - 1) / span; ++group)
      fitGroup(n, group, true);
  }

  // The textbook's form: after column k, the inverse of the Hessian of the columns that remain is
  // the Schur complement in the inverse so far.
  std::vector<double> remaining = inverse(hessian, K);
  for (int64_t i = 0; i < K; ++i) {
    int64_t k = order[i];
    for (int64_t n = 0; n < layer.rows; ++n) {
      if (!fixed && k % span == 0)
        fitGroup(n, k / span, false);
      double w = current[n][k], q;
      if (isKept(n, k)) {
        bool original = options.circuitValues == CircuitSource::Original;
        q = floatFromHalf(halfFromDouble(original ? layer.weight[n * K + k] : w));
      } else {
        const AffineFit &fit = fits[n][k / span];
        double code = fit.scale == 0 ? fit.zero : std::nearbyint(w / fit.scale) + fit.zero;
        q = double(fit.scale) * (std::clamp<double>(code, 0, fit.maxCode) - fit.zero);
      }
      quantized[n * K + k] = static_cast<float>(q);
      double error = (w - q) / remaining[k * K + k];
      for (int64_t j = i + 1; j < K; ++j)
        current[n][order[j]] -= error * remaining[k * K + order[j]];
    }
    for (int64_t a = i + 1; a < K; ++a)
      for (int64_t b = i + 1; b < K; ++b)
        remaining[order[a] * K + order[b]] -=
            remaining[order[a] * K + k] * remaining[k * K + order[b]] / remaining[k * K + k];
  }
  return quantized;
}
