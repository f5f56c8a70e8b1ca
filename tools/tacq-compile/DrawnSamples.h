//===- DrawnSamples.h - More samples, by the model itself -------*- C++ -*-===//

#ifndef TACQ_COMPILE_DRAWNSAMPLES_H
#define TACQ_COMPILE_DRAWNSAMPLES_H

#include "TokenFiles.h"

namespace tacq::tools {

struct DrawOptions {
  std::string model;
  /// The sample's files.
  std::vector<std::string> dataFiles;
  /// How many are drawn for each of the sample that is not held back.
  unsigned perSample = 1;
  uint32_t seed = 0;
  unsigned threads = 0;
  bool quiet = false;
};

/// Continues pieces of the sample (DrawnTexts.h), but for what is held back, by tokens that are
/// drawn from what the unquantized model predicts, up to a sample's length. TACQ_UNSUPPORTED if the
/// model is none of language with a cache.
Error drawSamples(const DrawOptions &options, std::vector<TokenSequence> &drawn);

} // namespace tacq::tools

#endif // TACQ_COMPILE_DRAWNSAMPLES_H
