//===- SampleData.cpp - The samples of several files ----------------------===//

#include "SampleData.h"

using namespace tacq;
using namespace tacq::tools;

/// The file that a sample is of; the sample's number becomes that in the file.
static CalibrationData &fileOf(const SampleData &data, size_t &sample) {
  size_t file = 0;
  while (sample >= data[file]->size())
    sample -= data[file++]->size();
  return *data[file];
}

SampleSource tacq::tools::samplesOf(const SampleData &data) {
  SampleSource samples;
  for (const auto &file : data)
    samples.count += file->size();
  samples.load = [&data](size_t sample, std::map<std::string, TensorView> &inputs) {
    CalibrationData &file = fileOf(data, sample);
    return file.load(sample, inputs);
  };
  return samples;
}

SampleSource tacq::tools::samplesOf(const SampleData &data, const Statistics &statistics) {
  SampleSource samples = samplesOf(data);
  if (statistics.isWeighted())
    samples.weight = [&data, &statistics](size_t sample) {
      const CalibrationData &file = fileOf(data, sample);
      return statistics.weightOf(file.hash(), sample).value_or(1);
    };
  return samples;
}

std::string tacq::tools::filesWithoutWeight(const SampleData &data, const Statistics &statistics,
                                            const std::string &name) {
  std::string files;
  for (const auto &file : data)
    if (statistics.isWeighted() && !statistics.weightOf(file->hash(), 0))
      files += (files.empty() ? "" : ", ") + file->name();
  return files.empty() ? ""
                       : "no samples of " + files + " are among those of " + name +
                             ", whose tasks have weights: each of them counts once";
}

std::string tacq::tools::placeOf(const SampleData &data, size_t sample) {
  const CalibrationData &file = fileOf(data, sample);
  return file.place(sample);
}
