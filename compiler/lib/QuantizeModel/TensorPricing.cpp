//===- TensorPricing.cpp - What formats cost a weight ---------------------===//

#include "TensorPricing.h"
#include "tacq/CPU/MixedPacking.h"
#include "tacq/Dialect/TACQ/MixedStorage.h"
#include "tacq/Quantize/Codebook.h"
#include "tacq/Quantize/NearestLevels.h"
#include "tacq/Quantize/PredictedLoss.h"
#include "tacq/Quantize/Saliency.h"
#include <cassert>

using namespace tacq;

/// Rows by which the loss of a weight is estimated, at most.
static constexpr int64_t mostSampledRows = 32;

PricedTensor::PricedTensor(std::string name, const Statistics &statistics,
                           const TensorStatistics &own)
    : name(std::move(name)), rows(own.rows), columns(own.columns), input(own.input),
      statistics(statistics), own(own) {}

void PricedTensor::setWeight(std::vector<float> elements) {
  weight = std::move(elements);
  int64_t count = std::min(rows, mostSampledRows);
  llvm::ArrayRef<double> gradient = own.gradient.values();
  // The square of a row's gradient is what its errors are weighted by.
  auto importance = [&](int64_t row) {
    double squares = 0, size = 0;
    for (int64_t i = row * columns; i < (row + 1) * columns; ++i) {
      squares += gradient[i] * gradient[i];
      size += double(weight[i]) * weight[i];
    }
    return squares * size;
  };
  double all = 0, part = 0;
  for (int64_t row = 0; row < rows; ++row)
    all += importance(row);
  for (int64_t i = 0; i < count; ++i) {
    int64_t row = (2 * i + 1) * rows / (2 * count);
    sampledRows.push_back(row);
    part += importance(row);
    sampled.insert(sampled.end(), &weight[row * columns], &weight[row * columns] + columns);
    sampledGradient.insert(sampledGradient.end(), &gradient[row * columns],
                           &gradient[row * columns] + columns);
  }
  sampledPart = part > 0 ? part / all : double(count) / double(rows);
}

double PricedTensor::lossOf(llvm::ArrayRef<float> quantizedRows,
                            llvm::ArrayRef<double> hessian) const {
  return secondOrderLoss(sampledView(), quantizedRows, sampledGradient, hessian,
                         {statistics.sampleCount(), statistics.inputs[input].tokens}) /
         sampledPart;
}

Error PricedTensor::predict(const CandidateFormat &format, const HessianFactor &factor,
                            llvm::ArrayRef<double> hessian, unsigned threads, double &loss) const {
  WeightFormat stored{format.bits, format.group, false, WeightFormat::Circuit::None};
  GptqOptions gptq;
  gptq.threads = threads;
  MixedWeight result;
  Error error = quantizeGptq(sampledView(), factor, stored, CircuitMask(), gptq, result);
  if (!error && format.codebook) {
    CodebookOptions codebook;
    codebook.threads = threads;
    MixedWeight fitted;
    error = fitCodebook(sampledView(), hessian, result, codebook, fitted);
    result = std::move(fitted);
  }
  if (error)
    return Error(error.code(), "tensor '" + name + "': " + error.message());
  loss = lossOf(result.decode(), hessian);
  return Error();
}

Error PricedTensor::round(const CandidateFormat &format, llvm::ArrayRef<double> hessian,
                          unsigned threads) {
  WeightView view{weight.data(), rows, columns};
  assert(format.codebook && "nearest numbers are those of levels");
  if (Error error = checkFinite(view))
    return Error(error.code(), "tensor '" + name + "': " + error.message());
  quantized = nearestLevels(view, format.bits, threads);
  salient = computeCurvatureSaliency(view, quantized, own.gradient.values(), hessian);
  roundedLoss = lossOf(roundedRows(CircuitMask()), hessian);
  return Error();
}

/// The sampled rows, rounded but for the circuit.
std::vector<float> PricedTensor::roundedRows(const CircuitMask &mask) const {
  std::vector<float> rounded;
  for (int64_t row : sampledRows) {
    const float *from = quantized.data() + row * columns;
    size_t begin = rounded.size();
    rounded.insert(rounded.end(), from, from + columns);
    for (uint32_t column : mask.row(row))
      rounded[begin + column] = weight[row * columns + column];
  }
  return rounded;
}

double PricedTensor::partLeft(const CircuitMask &mask, llvm::ArrayRef<double> hessian) const {
  if (mask.empty())
    return 1;
  return roundedLoss > 0 ? lossOf(roundedRows(mask), hessian) / roundedLoss : 1;
}

uint64_t PricedTensor::bytes(mlir::MLIRContext *context, const CandidateFormat &format,
                             WeightFormat::Circuit layout, const CircuitMask &mask) const {
  WeightFormat stored{format.bits, format.group, format.codebook,
                      mask.empty() ? WeightFormat::Circuit::None : layout};
  MixedType type = cpuMixedType(context, makeMixedWeight({nullptr, rows, columns}, stored, mask));
  return storedBytes(type, cpuMixedLayout(type, /*sorted=*/!mask.order.empty())).total();
}
