//===- TaskDrift.cpp - Whether two samples are of one task ----------------===//

#include "tacq/Calibrate/TaskDrift.h"
#include "llvm/ADT/STLExtras.h"
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

//===----------------------------------------------------------------------===//
// Several tasks
//===----------------------------------------------------------------------===//

/// So many of the samples.
static std::vector<double> spaced(ArrayRef<double> signatures, size_t kept) {
  size_t count = signatures.size() / signatureSize;
  std::vector<double> result;
  for (size_t i = 0; i < kept; ++i)
    llvm::append_range(result, signatures.slice(i * count / kept * signatureSize, signatureSize));
  return result;
}

std::vector<TaskSignatures> tacq::taskSignatures(const Statistics &statistics) {
  std::vector<TaskSignatures> tasks;
  for (auto &[data, ranges] : statistics.covered) {
    TaskSignatures task;
    task.data = data;
    for (const SampleRange &range : ranges) {
      task.samples += range.end - range.begin;
      llvm::append_range(task.signatures, range.signatures);
    }
    if (task.samples > 0)
      tasks.push_back(std::move(task));
  }
  return tasks;
}

std::vector<double> tacq::mixtureOf(ArrayRef<TaskSignatures> tasks) {
  auto keptOf = [](const TaskSignatures &task) -> size_t {
    return task.signatures.size() / signatureSize;
  };
  double part = 1;
  for (const TaskSignatures &task : tasks)
    part = std::min(part, static_cast<double>(keptOf(task)) / static_cast<double>(task.samples));
  std::vector<double> mixture;
  for (const TaskSignatures &task : tasks) {
    auto wanted = size_t(std::llround(part * double(task.samples)));
    llvm::append_range(mixture, spaced(task.signatures, std::min(wanted, keptOf(task))));
  }
  return mixture;
}

bool TasksDrift::drifted() const {
  return mixture.drifted() && llvm::none_of(tasks, [](const Task &task) { return task.fits(); });
}

const TasksDrift::Task *TasksDrift::nearest() const {
  const Task *nearest = nullptr;
  const TaskDrift *best = &mixture;
  // The least probability is that of all large distances.
  auto fit = [](const TaskDrift &drift) { return std::pair(drift.probability, -drift.distance); };
  for (const Task &task : tasks)
    if (task.drift && fit(*task.drift) > fit(*best)) {
      nearest = &task;
      best = &*task.drift;
    }
  return nearest;
}

Error tacq::testTasks(ArrayRef<TaskSignatures> known, const std::string &nameKnown,
                      ArrayRef<double> fresh, const std::string &nameFresh, TasksDrift &result) {
  result = TasksDrift();
  if (Error error = testDrift(mixtureOf(known), nameKnown, fresh, nameFresh, result.mixture))
    return error;
  if (known.size() < 2)
    return Error();
  for (const TaskSignatures &task : known) {
    TasksDrift::Task &tested = result.tasks.emplace_back();
    tested.data = task.data;
    if (task.signatures.size() < fewestDriftSamples * signatureSize)
      continue;
    if (Error error =
            testDrift(task.signatures, nameKnown, fresh, nameFresh, tested.drift.emplace()))
      return error;
  }
  return Error();
}

//===----------------------------------------------------------------------===//
// In a module
//===----------------------------------------------------------------------===//

void tacq::storeSignatures(ArrayRef<TaskSignatures> tasks, llvm::StringMap<std::string> &metadata) {
  std::string signatures, list;
  for (const TaskSignatures &task : tasks) {
    signatures += signaturesText(task.signatures);
    size_t kept = std::min(task.signatures.size() / signatureSize, mostModuleSamples);
    list += (list.empty() ? "" : ",") + std::to_string(kept) + ":" + std::to_string(task.samples) +
            ":" + task.data;
  }
  metadata[signaturesKey] = signatures;
  if (tasks.size() > 1)
    metadata[signatureTasksKey] = list;
}

std::optional<std::vector<TaskSignatures>> tacq::parseTasks(llvm::StringRef signatures,
                                                            llvm::StringRef tasks) {
  std::optional<std::vector<double>> all = parseSignatures(signatures);
  if (!all)
    return std::nullopt;
  size_t left = all->size() / signatureSize;
  std::vector<TaskSignatures> result;
  if (tasks.empty()) {
    if (left > 0)
      result.push_back({"", left, std::move(*all)});
    return result;
  }
  ArrayRef<double> rest = *all;
  llvm::SmallVector<llvm::StringRef> list;
  tasks.split(list, ',');
  for (llvm::StringRef text : list) {
    auto [keptText, others] = text.split(':');
    auto [samplesText, data] = others.split(':');
    uint64_t kept, samples;
    if (keptText.getAsInteger(10, kept) || samplesText.getAsInteger(10, samples) || kept == 0 ||
        kept > samples || kept > rest.size() / signatureSize || !llvm::all_of(data, llvm::isAlnum))
      return std::nullopt;
    result.push_back({data.str(), samples, rest.take_front(kept * signatureSize).vec()});
    rest = rest.drop_front(kept * signatureSize);
  }
  if (!rest.empty())
    return std::nullopt;
  return result;
}

std::string tacq::signaturesText(ArrayRef<double> signatures) {
  size_t kept = std::min(signatures.size() / signatureSize, mostModuleSamples);
  std::string text;
  for (double number : spaced(signatures, kept)) {
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
