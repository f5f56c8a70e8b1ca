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

std::string tacq::tools::placeOf(const SampleData &data, size_t sample) {
  const CalibrationData &file = fileOf(data, sample);
  return file.place(sample);
}
