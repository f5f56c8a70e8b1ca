//===- StatisticsTest.cpp - Statistics and their files --------------------===//

#include "tacq/Calibrate/Statistics.h"
#include "../AssertOk.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "gtest/gtest.h"
#include <csignal>
#include <numeric>
#include <sys/resource.h>

using namespace tacq;

namespace {

/// Statistics of two tensors, with numbers that tell them apart.
Statistics example(double start = 1, llvm::ArrayRef<uint64_t> samples = {0}) {
  Statistics statistics;
  statistics.modelHash = "abc";
  statistics.modelFile = "m.onnx";
  for (auto [name, rows, columns, input] :
       {std::tuple("q", 2, 3, 0), std::tuple("k", 1, 3, 0), std::tuple("down \"x\"", 3, 5, 1)}) {
    TensorStatistics tensor;
    tensor.name = name;
    tensor.rows = rows;
    tensor.columns = columns;
    tensor.input = input;
    tensor.head = rows == 1;
    tensor.gradient = StatisticsSum::zeros(rows * columns);
    llvm::MutableArrayRef<double> values = tensor.gradient.mutableValues();
    std::iota(values.begin(), values.end(), start);
    statistics.tensors.push_back(std::move(tensor));
  }
  for (int64_t columns : {3, 5}) {
    InputStatistics input;
    input.columns = columns;
    input.tokens = 10 * columns;
    input.hessian = StatisticsSum::zeros(columns * (columns + 1) / 2);
    llvm::MutableArrayRef<double> values = input.hessian.mutableValues();
    std::iota(values.begin(), values.end(), start / 3);
    statistics.inputs.push_back(std::move(input));
  }
  for (uint64_t sample : samples)
    statistics.cover("data", sample, 0.1 * double(sample));
  return statistics;
}

class StatisticsTest : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("tacq-statistics", folder));
    path = folder.str().str() + "/s.stats";
  }
  void TearDown() override { ASSERT_FALSE(llvm::sys::fs::remove_directories(folder)); }

  std::string content() {
    return llvm::cantFail(llvm::errorOrToExpected(llvm::MemoryBuffer::getFile(path)))
        ->getBuffer()
        .str();
  }
  void overwrite(llvm::StringRef bytes) {
    std::error_code code;
    llvm::raw_fd_ostream(path, code) << bytes;
    ASSERT_FALSE(code);
  }
  std::string failure() {
    Statistics read;
    Error error = Statistics::read(path, read);
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
    return error.message();
  }
  size_t filesInFolder() {
    std::error_code code;
    size_t count = 0;
    for (llvm::sys::fs::directory_iterator it(folder, code), end; it != end; it.increment(code))
      ++count;
    return count;
  }

  llvm::SmallString<64> folder;
  std::string path;
};

} // namespace

TEST_F(StatisticsTest, ReadsWhatWasWritten) {
  Statistics written = example(1.0 / 7, {0, 1, 5});
  written.settings.labels = "labels";
  ASSERT_OK(written.write(path));
  EXPECT_EQ(filesInFolder(), 1u);
  Statistics read;
  ASSERT_OK(Statistics::read(path, read));
  EXPECT_EQ(read.modelHash, "abc");
  EXPECT_EQ(read.modelFile, "m.onnx");
  EXPECT_EQ(read.settings.str(), written.settings.str());
  ASSERT_EQ(read.tensors.size(), 3u);
  for (auto [a, b] : llvm::zip(read.tensors, written.tensors)) {
    EXPECT_EQ(a.name, b.name);
    EXPECT_EQ(a.rows, b.rows);
    EXPECT_EQ(a.columns, b.columns);
    EXPECT_EQ(a.input, b.input);
    EXPECT_EQ(a.head, b.head);
    EXPECT_EQ(a.gradient.values(), b.gradient.values());
  }
  for (auto [a, b] : llvm::zip(read.inputs, written.inputs)) {
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.hessian.values(), b.hessian.values());
  }
  ASSERT_EQ(read.covered["data"].size(), 2u);
  EXPECT_EQ(read.covered["data"][0].losses, (std::vector<double>{0, 0.1}));
  EXPECT_EQ(read.sampleCount(), 3u);
  EXPECT_DOUBLE_EQ(read.meanLoss(), 0.2);
  EXPECT_NE(read.find("down \"x\""), nullptr);
  EXPECT_EQ(read.find("nosuch"), nullptr);

  // The same statistics are the same bytes, from memory and from a file.
  std::string bytes = content();
  ASSERT_OK(read.write(path));
  EXPECT_EQ(content(), bytes);
}

/// With folds whose numbers are multiples of `start`.
static Statistics withFolds(double start, llvm::ArrayRef<uint64_t> samples) {
  Statistics statistics = example(start, {});
  statistics.hasFolds = true;
  for (TensorStatistics &tensor : statistics.tensors) {
    tensor.sketch = StatisticsSum::zeros(tensor.sketchedRows() * tensor.columns);
    tensor.foldGradients = StatisticsSum::zeros(sampleFolds * tensor.sketch.size());
    for (auto [i, value] : llvm::enumerate(tensor.foldGradients.mutableValues()))
      value = start * double(i);
    tensor.sketch.mutableValues()[0] = 0.25;
  }
  for (uint64_t sample : samples)
    statistics.cover("data", sample, 0.5, std::vector<double>(signatureSize, double(sample)));
  return statistics;
}

TEST_F(StatisticsTest, SketchedRowsAreSpread) {
  TensorStatistics tensor;
  for (const auto &[rows, expected] :
       {std::pair<int64_t, std::vector<int64_t>>{1, {0}}, {3, {0, 1, 2}}, {16, {2, 6, 10, 14}}}) {
    tensor.rows = rows;
    std::vector<int64_t> sketched;
    for (int64_t i = 0; i < tensor.sketchedRows(); ++i)
      sketched.push_back(tensor.sketchedRow(i));
    EXPECT_EQ(sketched, expected);
  }
}

TEST_F(StatisticsTest, FoldsAreSumsToo) {
  Statistics first = withFolds(1, {0, 4, 2}), second = withFolds(2, {3, 1});
  ASSERT_OK(second.write(path));
  Statistics read;
  ASSERT_OK(Statistics::read(path, read));
  ASSERT_OK(first.merge(read, "a", "b"));
  ASSERT_OK(first.write(path));
  ASSERT_OK(Statistics::read(path, read));
  EXPECT_TRUE(read.hasFolds);
  for (const TensorStatistics &tensor : read.tensors) {
    ASSERT_EQ(tensor.foldGradients.size(), size_t(sampleFolds * tensor.rows * tensor.columns));
    for (auto [i, value] : llvm::enumerate(tensor.foldGradients.values()))
      EXPECT_EQ(value, 3.0 * double(i));
    EXPECT_EQ(tensor.sketch.values()[0], 0.25);
  }
  // In the order of the samples, whatever the order in which they came.
  std::vector<double> signatures = read.signatures();
  ASSERT_EQ(signatures.size(), size_t(5 * signatureSize));
  for (int64_t sample = 0; sample < 5; ++sample)
    for (int64_t i = 0; i < signatureSize; ++i)
      EXPECT_EQ(signatures[sample * signatureSize + i], double(sample));
}

TEST_F(StatisticsTest, SumsWithSomeThatHaveNoFoldsHaveNone) {
  Statistics sum = withFolds(1, {0}), without = example(1, {1});
  ASSERT_OK(sum.merge(without, "a", "b"));
  EXPECT_FALSE(sum.hasFolds);
  EXPECT_TRUE(sum.signatures().empty());
  ASSERT_OK(sum.write(path));
  Statistics read;
  ASSERT_OK(Statistics::read(path, read));
  EXPECT_EQ(read.sampleCount(), 2u);
}

TEST_F(StatisticsTest, ExpandsHessians) {
  Statistics statistics = example(3);
  std::vector<double> full;
  statistics.inputs[0].expand(full);
  EXPECT_EQ(full, (std::vector<double>{1, 2, 4, 2, 3, 5, 4, 5, 6}));
  EXPECT_DOUBLE_EQ(statistics.inputs[0].trace(), 10);
}

TEST_F(StatisticsTest, CoversSamplesInAnyOrder) {
  Statistics statistics = example(1, {});
  for (uint64_t sample : {7, 3, 5, 4, 6, 0})
    statistics.cover("data", sample, double(sample));
  for (uint64_t sample = 0; sample < 10; ++sample)
    EXPECT_EQ(statistics.covers("data", sample), sample == 0 || (sample > 2 && sample < 8));
  EXPECT_FALSE(statistics.covers("other", 3));
  const std::vector<SampleRange> &ranges = statistics.covered["data"];
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1].losses, (std::vector<double>{3, 4, 5, 6, 7}));
}

TEST_F(StatisticsTest, MergesWhatWasReadAndWhatWasNot) {
  ASSERT_OK(example(1, {0, 2}).write(path));
  Statistics sum;
  ASSERT_OK(Statistics::read(path, sum));
  ASSERT_OK(sum.merge(example(10, {1, 3}), "a", "b"));
  EXPECT_EQ(sum.tensors[0].gradient.values().back(), 6 + 15);
  EXPECT_EQ(sum.inputs[1].tokens, 100u);
  EXPECT_EQ(sum.covered["data"].size(), 1u);
  EXPECT_EQ(sum.covered["data"][0].losses, (std::vector<double>{0, 0.1, 0.2, 0.1 * 3}));
  // The file is as it was.
  Statistics again;
  ASSERT_OK(Statistics::read(path, again));
  EXPECT_EQ(again.tensors[0].gradient.values().back(), 6);
}

/// What tasks count stays known of their samples, through merging and files.
TEST_F(StatisticsTest, KnowsWeightsOfSamples) {
  Statistics sum = example(1, {0, 1}), other = example(1, {2, 3});
  EXPECT_FALSE(sum.isWeighted());
  EXPECT_EQ(sum.weightOf("data", 1), 1);
  EXPECT_EQ(sum.weightOf("nosuch", 1), std::nullopt);
  sum.scale(1.5);
  EXPECT_FALSE(sum.isWeighted()); // all the same
  other.scale(0.5);
  ASSERT_OK(sum.merge(other, "a", "b"));
  ASSERT_OK(sum.write(path));
  Statistics read;
  ASSERT_OK(Statistics::read(path, read));
  for (const Statistics *each : {&sum, &read}) {
    EXPECT_TRUE(each->isWeighted());
    EXPECT_EQ(each->weightOf("data", 1), 1.5);
    EXPECT_EQ(each->weightOf("data", 2), 0.5);
    EXPECT_EQ(each->weightOf("data", 9), 1.5); // not covered
    EXPECT_EQ(each->sampleCount(), 4u);
    EXPECT_DOUBLE_EQ(each->meanLoss(), (1.5 * (0 + 0.1) + 0.5 * (0.2 + 0.3)) / 4);
  }
  // Samples that join those of another weight keep theirs.
  read.cover("data", 4, 0);
  EXPECT_EQ(read.weightOf("data", 4), 1);
  EXPECT_EQ(read.weightOf("data", 3), 0.5);
  read.scale(-1);
  ASSERT_OK(read.write(path));
  EXPECT_NE(failure().find("weights that are not positive"), std::string::npos);
}

TEST_F(StatisticsTest, SaysHowManySamplesWouldDo) {
  Statistics statistics = example(1, {0, 1});
  EXPECT_EQ(statistics.fewTokens("a.stats"), "");
  statistics.inputs[0].tokens = 3; // as many as columns
  EXPECT_EQ(statistics.fewTokens("a.stats"), "");
  statistics.inputs[0].tokens = 2; // two samples of one token: three would do
  statistics.inputs[1].tokens = 3; // of one and a half: four
  EXPECT_EQ(
      statistics.fewTokens("a.stats"),
      "a.stats: the sample has 2 tokens for the 3 columns of the input of tensor 'q', too few "
      "for a Hessian of full rank; calibrate on more: 4 samples of this length would do for "
      "all tensors");
}

TEST_F(StatisticsTest, RefusesToMergeWhatDoesNotFit) {
  Statistics statistics = example(1, {0, 1, 2});
  auto refusal = [&](const Statistics &other) {
    Error error = statistics.merge(other, "a.stats", "b.stats");
    EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
    EXPECT_EQ(statistics.sampleCount(), 3u);
    EXPECT_EQ(statistics.tensors[0].gradient.values().front(), 1);
    return error.message();
  };
  EXPECT_EQ(refusal(example(1, {5, 2})), "a.stats and b.stats cannot be merged: both cover sample "
                                         "2 (counted from 0) of the same data");
  Statistics other = example(1, {5});
  other.modelHash = "def";
  EXPECT_NE(refusal(other).find("they are of different models"), std::string::npos);
  other = example(1, {5});
  other.settings.loss = "mse";
  EXPECT_NE(refusal(other).find("their settings differ, loss=cross-entropy"), std::string::npos);
  other = example(1, {5});
  other.tensors[1].name = "v";
  EXPECT_NE(refusal(other).find("they list different tensors"), std::string::npos);
}

TEST_F(StatisticsTest, NoticesEveryAlteredByte) {
  ASSERT_OK(example().write(path));
  std::string bytes = content();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string altered = bytes;
    altered[i] ^= 0x20;
    overwrite(altered);
    Statistics read;
    EXPECT_EQ(Statistics::read(path, read).code(), TACQ_INVALID_INPUT) << "byte " << i;
  }
}

TEST_F(StatisticsTest, NoticesTruncation) {
  ASSERT_OK(example().write(path));
  std::string bytes = content();
  for (size_t size = 0; size < bytes.size(); ++size) {
    overwrite(llvm::StringRef(bytes).take_front(size));
    std::string message = failure();
    EXPECT_NE(message.find(size < 8 ? "is no statistics file" : "is truncated"), std::string::npos)
        << message;
  }
  overwrite(bytes + "x");
  EXPECT_NE(failure().find("bytes"), std::string::npos);
}

TEST_F(StatisticsTest, SaysWhichVersionItReads) {
  ASSERT_OK(example().write(path));
  std::string bytes = content();
  bytes[8] = 9;
  overwrite(bytes);
  EXPECT_EQ(failure(), path + " has version 9; this TACQ reads version 1");
  overwrite("TACQ is nice, but this is text\n");
  EXPECT_EQ(failure(), path + " is no statistics file of tacq-calibrate");
}

TEST_F(StatisticsTest, ReportsFilesThatCannotBeUsed) {
  Statistics statistics;
  EXPECT_EQ(Statistics::read(path, statistics).code(), TACQ_IO);
  EXPECT_EQ(example().write(folder.str().str() + "/nosuch/s").code(), TACQ_IO);
  EXPECT_EQ(filesInFolder(), 0u);
}

/// A full disk, played by a limit on the size of files, leaves the earlier file and nothing else.
TEST_F(StatisticsTest, LeavesNothingHalfWritten) {
  ASSERT_OK(example().write(path));
  std::string before = content();
  auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit, small;
  getrlimit(RLIMIT_FSIZE, &limit);
  small = limit;
  small.rlim_cur = 256;
  setrlimit(RLIMIT_FSIZE, &small);
  Error error = example(2, {1}).write(path);
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(error.code(), TACQ_IO);
  EXPECT_NE(error.message().find("cannot be written"), std::string::npos);
  EXPECT_EQ(content(), before);
  EXPECT_EQ(filesInFolder(), 1u);
}
