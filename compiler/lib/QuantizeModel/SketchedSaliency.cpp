//===- SketchedSaliency.cpp - Saliency of whole weights -------------------===//

#include "tacq/Quantize/SketchedSaliency.h"
#include "tacq/Quantize/Nearest.h"
#include <cmath>
#include <numeric>

using namespace tacq;
using llvm::ArrayRef;

static double total(ArrayRef<double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

Error tacq::sketchedSaliency(const Statistics &statistics, const std::string &name, unsigned bits,
                             std::vector<double> &saliency) {
  if (!statistics.hasFolds)
    return Error(TACQ_INVALID_INPUT,
                 name + " has no gradients of sketched rows: it is of an earlier TACQ, or was "
                        "calibrated without gradients; calibrate again");
  for (const TensorStatistics &tensor : statistics.tensors) {
    std::vector<float> weight(tensor.sketch.values().begin(), tensor.sketch.values().end());
    WeightFormat format;
    format.bits = bits;
    MixedWeight quantized;
    if (Error error = quantizeNearest({weight.data(), tensor.sketchedRows(), tensor.columns},
                                      format, CircuitMask(), NearestOptions(), quantized))
      return Error(error.code(), name + ", '" + tensor.name + "': " + error.message());
    std::vector<float> decoded = quantized.decode();
    ArrayRef<double> folds = tensor.foldGradients.values();
    double sketched = total(folds), sum = 0;
    for (size_t i = 0; i < folds.size(); ++i) {
      double value = weight[i % weight.size()];
      sum += folds[i] * std::fabs(value - decoded[i % weight.size()]) * std::fabs(value);
    }
    saliency.push_back(sketched > 0 ? sum / sketched * total(tensor.gradient.values()) : 0);
  }
  return Error();
}
