//===- PredictedLoss.cpp - What a quantized weight costs ------------------===//

#include "tacq/Quantize/PredictedLoss.h"
#include "Parallel.h"
#include <cassert>
#include <cblas.h>
#include <cmath>
#include <numeric>
#include <vector>

using namespace tacq;

/// δ H δᵀ of each row.
static std::vector<double> rowErrors(WeightView weight, llvm::ArrayRef<float> quantized,
                                     llvm::ArrayRef<double> hessian) {
  int64_t columns = weight.columns;
  assert(quantized.size() == static_cast<size_t>(weight.elements()) && "another weight");
  assert(hessian.size() == static_cast<size_t>(columns * columns) && "not columns x columns");
  std::vector<double> errors(weight.rows);
  forEachChunk(weight.rows, 64, /*threads=*/0, [&](int64_t begin, int64_t end) {
    std::vector<double> delta((end - begin) * columns), product(delta.size());
    for (size_t i = 0; i < delta.size(); ++i)
      delta[i] = double(weight.row(begin)[i]) - quantized[begin * columns + i];
    int size = static_cast<int>(columns);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(end - begin), size,
                size, 1, delta.data(), size, hessian.data(), size, 0, product.data(), size);
    for (int64_t n = begin; n < end; ++n)
      errors[n] =
          std::inner_product(&delta[(n - begin) * columns], &delta[(n - begin) * columns] + columns,
                             &product[(n - begin) * columns], 0.0);
  });
  return errors;
}

double tacq::firstOrderLoss(WeightView weight, llvm::ArrayRef<float> quantized,
                            llvm::ArrayRef<double> gradient, const SampleCounts &counts) {
  assert(gradient.size() == static_cast<size_t>(weight.elements()) && "of another weight");
  double sum = 0;
  for (size_t i = 0; i < gradient.size(); ++i)
    sum += gradient[i] * std::fabs(double(weight.data[i]) - quantized[i]);
  return sum / static_cast<double>(counts.sequences);
}

double tacq::layerError(WeightView weight, llvm::ArrayRef<float> quantized,
                        llvm::ArrayRef<double> hessian) {
  std::vector<double> errors = rowErrors(weight, quantized, hessian);
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

double tacq::secondOrderLoss(WeightView weight, llvm::ArrayRef<float> quantized,
                             llvm::ArrayRef<double> gradient, llvm::ArrayRef<double> hessian,
                             const SampleCounts &counts) {
  assert(gradient.size() == static_cast<size_t>(weight.elements()) && "of another weight");
  auto sequences = static_cast<double>(counts.sequences);
  auto tokens = static_cast<double>(counts.tokens);
  double inputSquares = 0;
  for (int64_t k = 0; k < weight.columns; ++k)
    inputSquares += hessian[k * weight.columns + k] / tokens;
  if (inputSquares == 0)
    return 0;
  constexpr double halfPi = 1.57079632679489661923;
  std::vector<double> errors = rowErrors(weight, quantized, hessian);
  double loss = 0;
  for (int64_t n = 0; n < weight.rows; ++n) {
    double gradientSquares = 0;
    for (int64_t k = 0; k < weight.columns; ++k) {
      double mean = gradient[n * weight.columns + k] / sequences;
      gradientSquares += halfPi * mean * mean;
    }
    double fisher = tokens / sequences * gradientSquares / inputSquares;
    loss += fisher * errors[n] / tokens / 2;
  }
  return loss;
}
