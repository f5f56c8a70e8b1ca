//===- DrawnSamples.h - More samples, by the model itself -------*- C++ -*-===//

#ifndef TACQ_COMPILE_DRAWNSAMPLES_H
#define TACQ_COMPILE_DRAWNSAMPLES_H

#include "tacq/Error.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tacq::tools {

struct DrawOptions {
  std::string model;
  /// The sample's files.
  std::vector<std::string> dataFiles;
  /// How many are drawn for each of the sample.
  unsigned perSample = 1;
  uint32_t seed = 0;
  unsigned threads = 0;
  bool quiet = false;
};

/// Continues a piece of each sample, from a place in it that is drawn, by tokens that are drawn
/// from what the unquantized model predicts, up to the sample's length. TACQ_UNSUPPORTED if the
/// model is none of language with a cache.
Error drawSamples(const DrawOptions &options, std::vector<std::vector<int64_t>> &drawn);

} // namespace tacq::tools

#endif // TACQ_COMPILE_DRAWNSAMPLES_H
