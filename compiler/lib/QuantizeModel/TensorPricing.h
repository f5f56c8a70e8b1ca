//===- TensorPricing.h - What formats cost a weight -------------*- C++ -*-===//
//
// Bytes and predicted loss of a weight in each format, with circuits of several sizes.
//
// The loss is that of PredictedLoss.h, of what the real quantizer makes of a part of the rows:
// GPTQ, then fitted levels where the format has them. Circuits are chosen by the nearest of levels
// of the same number of bits, whose errors do not depend on each other: the part of their loss that
// a circuit saves is taken for what it saves of the real one's.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_QUANTIZEMODEL_TENSORPRICING_H
#define TACQ_LIB_QUANTIZEMODEL_TENSORPRICING_H

#include "tacq/Calibrate/Statistics.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"
#include "tacq/Quantize/CircuitMask.h"
#include "tacq/Quantize/Gptq.h"
#include "tacq/Quantize/Planner.h"

namespace tacq {

class PricedTensor {
public:
  PricedTensor(std::string name, const Statistics &statistics, const TensorStatistics &own);

  /// Takes the weight, and the rows by which losses are estimated.
  void setWeight(std::vector<float> elements);
  /// The loss of what the real quantizer makes of it; `hessian` has both triangles.
  Error predict(const CandidateFormat &format, const HessianFactor &factor,
                llvm::ArrayRef<double> hessian, unsigned threads, double &loss) const;
  /// Prepares the nearest numbers of a format with levels, which saliency() and partLeft() are of.
  Error round(const CandidateFormat &format, llvm::ArrayRef<double> hessian, unsigned threads);
  WeightView saliency() const { return {salient.data(), rows, columns}; }
  /// The part of the loss that is left with this circuit.
  double partLeft(const CircuitMask &mask, llvm::ArrayRef<double> hessian) const;
  /// As the module holds it.
  uint64_t bytes(mlir::MLIRContext *context, const CandidateFormat &format,
                 WeightFormat::Circuit layout, const CircuitMask &mask) const;
  uint64_t denseBytes() const { return uint64_t(rows) * uint64_t(columns) * 2; }
  /// The original ones, f32 [N, K].
  llvm::ArrayRef<float> elements() const { return weight; }
  bool isPossible(const CandidateFormat &format) const { return format.group <= columns; }

  std::string name;
  int64_t rows, columns;
  uint32_t input;

private:
  std::vector<float> roundedRows(const CircuitMask &mask) const;
  double lossOf(llvm::ArrayRef<float> quantizedRows, llvm::ArrayRef<double> hessian) const;
  WeightView sampledView() const {
    return {sampled.data(), static_cast<int64_t>(sampledRows.size()), columns};
  }

  const Statistics &statistics;
  const TensorStatistics &own;
  std::vector<float> weight, quantized, salient;
  std::vector<int64_t> sampledRows;
  std::vector<float> sampled; ///< their weights
  std::vector<double> sampledGradient;
  double roundedLoss = 0; ///< of the sampled rows without a circuit
  double sampledPart = 1; ///< of the whole weight's loss, about
};

} // namespace tacq

#endif // TACQ_LIB_QUANTIZEMODEL_TENSORPRICING_H
