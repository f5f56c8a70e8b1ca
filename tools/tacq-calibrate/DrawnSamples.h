//===- DrawnSamples.h - More samples, by the model itself -------*- C++ -*-===//

#ifndef TACQ_CALIBRATE_DRAWNSAMPLES_H
#define TACQ_CALIBRATE_DRAWNSAMPLES_H

#include "TokenFiles.h"
#include "tacq/Quantize/QuantizeModel.h"

#include <optional>

namespace tacq::tools {

struct DrawOptions {
  std::string model;
  uint32_t seed = 0;
  unsigned threads = 0;
  bool quiet = false;
  /// Predictions are those of products that round to bf16, where the machine has matrix tiles.
  bool bf16 = true;
};

/// Continues pieces of the samples in `dataFiles` (DrawnTexts.h), but for what tuning holds back,
/// by tokens that are drawn from what the unquantized model predicts, up to a sample's length:
/// `perSample` for each. `samples` have the weights of the files' samples, and `weights` gets those
/// of the drawn ones. TACQ_UNSUPPORTED if the model is none of language with a cache.
Error drawSamples(const DrawOptions &options, const SampleSource &samples,
                  const std::vector<std::string> &dataFiles, unsigned perSample,
                  std::vector<TokenSequence> &drawn, std::vector<double> &weights);

struct OwnTexts {
  size_t count = 128, length = 512;
  /// What each begins with; without, a token that is drawn from the vocabulary.
  std::optional<int64_t> begin;
};

/// What the unquantized model writes when nothing is asked: all tokens but the first are drawn from
/// its predictions. TACQ_UNSUPPORTED as above.
Error drawOwnTexts(const DrawOptions &options, const OwnTexts &texts,
                   std::vector<TokenSequence> &drawn);

} // namespace tacq::tools

#endif // TACQ_CALIBRATE_DRAWNSAMPLES_H
