//===- SampleData.h - The samples of several files --------------*- C++ -*-===//

#ifndef TACQ_TOOLS_SAMPLEDATA_H
#define TACQ_TOOLS_SAMPLEDATA_H

#include "CalibrationData.h"
#include "tacq/Quantize/QuantizeModel.h"

namespace tacq::tools {

using SampleData = std::vector<std::unique_ptr<CalibrationData>>;

/// The samples of all files, which are bound; `data` must outlive the result.
SampleSource samplesOf(const SampleData &data);

/// Also with the weights that samples of these files have in the statistics, which must outlive the
/// result, too. Samples of other files count once.
SampleSource samplesOf(const SampleData &data, const Statistics &statistics);

/// A sentence for the user if the statistics have tasks with weights and do not know all files, so
/// that samples of these count once; else empty. The name is that of the statistics' file.
std::string filesWithoutWeight(const SampleData &data, const Statistics &statistics,
                               const std::string &name);

/// "math.jsonl: line 3"
std::string placeOf(const SampleData &data, size_t sample);

} // namespace tacq::tools

#endif // TACQ_TOOLS_SAMPLEDATA_H
