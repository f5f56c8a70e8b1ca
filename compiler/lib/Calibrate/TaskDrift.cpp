//===- TaskDrift.cpp - Whether two samples are of one task ----------------===//

#include "tacq/Calibrate/TaskDrift.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>
#include <numeric>
#include <random>

using namespace tacq;
using llvm::ArrayRef;

static constexpr unsigned permutations = 999;

/// Rows of signatures that are in one of two sets.
static double distance(ArrayRef<double> rows, ArrayRef<size_t> order, size_t first) {
  double total = 0;
  for (int64_t i = 0; i < signatureSize; ++i) {
    double mean[2], error = 0;
    for (int side = 0; side < 2; ++side) {
      ArrayRef<size_t> set = side == 0 ? order.take_front(first) : order.drop_front(first);
      double sum = 0, squares = 0;
      for (size_t row : set)
        sum += rows[row * signatureSize + i];
      mean[side] = sum / double(set.size());
      for (size_t row : set)
        squares += std::pow(rows[row * signatureSize + i] - mean[side], 2);
      error += squares / double(set.size() - 1) / double(set.size());
    }
    // Numbers that are the same in all samples say nothing.
    if (error > 1e-12)
      total += std::pow(mean[0] - mean[1], 2) / error;
  }
  return total / double(signatureSize);
}

Error tacq::testDrift(ArrayRef<double> a, const std::string &nameA, ArrayRef<double> b,
                      const std::string &nameB, TaskDrift &result) {
  result = TaskDrift();
  result.samples[0] = a.size() / signatureSize;
  result.samples[1] = b.size() / signatureSize;
  for (int side = 0; side < 2; ++side)
    if (result.samples[side] < fewestDriftSamples)
      return Error(TACQ_INVALID_INPUT,
                   (side == 0 ? nameA : nameB) + " has " + std::to_string(result.samples[side]) +
                       " samples, too few to tell whether the task has drifted; " +
                       std::to_string(fewestDriftSamples) + " would do");
  std::vector<double> rows(a.begin(), a.end());
  rows.insert(rows.end(), b.begin(), b.end());
  std::vector<size_t> order(rows.size() / signatureSize);
  std::iota(order.begin(), order.end(), size_t(0));
  result.distance = distance(rows, order, result.samples[0]);
  // The standard leaves distributions to libraries, but not the engine: the order is one
  // everywhere.
  std::mt19937_64 random(1);
  unsigned larger = 0;
  for (unsigned i = 0; i < permutations; ++i) {
    for (size_t j = order.size() - 1; j > 0; --j)
      std::swap(order[j], order[random() % (j + 1)]);
    larger += distance(rows, order, result.samples[0]) >= result.distance;
  }
  result.probability = double(larger + 1) / double(permutations + 1);
  return Error();
}

std::string tacq::signaturesText(ArrayRef<double> signatures) {
  size_t count = signatures.size() / signatureSize, kept = std::min(count, mostModuleSamples);
  std::string text;
  for (size_t i = 0; i < kept; ++i)
    for (double number : signatures.slice(i * count / kept * signatureSize, signatureSize)) {
      auto thousandths = int16_t(std::clamp(std::round(1000 * number), -32768.0, 32767.0));
      text += llvm::utohexstr(uint16_t(thousandths), /*LowerCase=*/true, /*Width=*/4);
    }
  return text;
}

std::optional<std::vector<double>> tacq::parseSignatures(llvm::StringRef text) {
  std::vector<double> signatures;
  if (text.size() % (4 * signatureSize) != 0)
    return std::nullopt;
  for (; !text.empty(); text = text.drop_front(4)) {
    uint16_t bits;
    if (text.take_front(4).getAsInteger(16, bits))
      return std::nullopt;
    signatures.push_back(int16_t(bits) / 1000.0);
  }
  return signatures;
}
