//===- SampleData.h - The samples of several files --------------*- C++ -*-===//

#ifndef TACQ_TOOLS_SAMPLEDATA_H
#define TACQ_TOOLS_SAMPLEDATA_H

#include "CalibrationData.h"
#include "tacq/Quantize/QuantizeModel.h"

namespace tacq::tools {

using SampleData = std::vector<std::unique_ptr<CalibrationData>>;

/// The samples of all files, which are bound; `data` must outlive the result.
SampleSource samplesOf(const SampleData &data);

/// "math.jsonl: line 3"
std::string placeOf(const SampleData &data, size_t sample);

} // namespace tacq::tools

#endif // TACQ_TOOLS_SAMPLEDATA_H
