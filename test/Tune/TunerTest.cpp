//===- TunerTest.cpp - A small tuning of the small model ------------------===//

#include "tacq/Tune/Tuner.h"
#include "../AssertOk.h"
#include "mlir/IR/MLIRContext.h"
#include "tacq/Register.h"
#include "llvm/Support/FileSystem.h"
#include "gtest/gtest.h"
#include <cmath>
#include <limits>
#include <set>

using namespace mlir;
using namespace tacq;

namespace {

class TunerTest : public ::testing::Test {
protected:
  TunerTest() {
    DialectRegistry registry;
    registerAllDialects(registry);
    context.appendDialectRegistry(registry);
    context.loadAllAvailableDialects();
  }
  ~TunerTest() override { model.module = nullptr; }

  void SetUp() override {
    ASSERT_OK(calibrationGraph(path, context, model));
    samples.count = 8;
    samples.load = [this](size_t sample, std::map<std::string, TensorView> &inputs) {
      const char *text = "Tom has 12 apples.";
      tokens.assign(text, text + length);
      tokens[sample] = '0' + int64_t(sample);
      positions.clear();
      for (int64_t i = 0; i < length; ++i)
        positions.push_back(i);
      ones.assign(length, 1);
      inputs["input_ids"] = inputs["labels"] = TensorView::of({1, length}, tokens.data());
      inputs["position_ids"] = TensorView::of({1, length}, positions.data());
      inputs["attention_mask"] = TensorView::of({1, length}, ones.data());
      return Error();
    };
    options.threads = 2;
    options.interval = 4;
    options.steps = 8;
    options.batch = 4;
  }

  /// The first projections in 2 bits, each weight by itself.
  void quantize(size_t count) {
    ImportedModel copy;
    ASSERT_OK(calibrationGraph(path, context, copy));
    QuantizeModelOptions quantization;
    TensorPlan format;
    format.group = 64;
    quantization.plan.tensors = planAlike(*copy.module, format);
    quantization.plan.tensors.resize(count);
    quantization.method = QuantizeMethod::Nearest;
    ASSERT_OK(quantizeModel(copy, quantization, weights));
  }

  const std::string path = std::string(TACQ_SOURCE) + "/models/tiny/dynamo_past_opset18.onnx";
  MLIRContext context;
  ImportedModel model;
  SampleSource samples;
  TuneOptions options;
  TuneReport report;
  llvm::StringMap<MixedWeight> weights;
  llvm::StringMap<std::vector<float>> gains;
  static constexpr int64_t length = 16;
  std::vector<int64_t> tokens, positions, ones;
};

} // namespace

TEST_F(TunerTest, LowersTheLoss) {
  quantize(3);
  llvm::StringMap<MixedWeight> before = weights;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  EXPECT_EQ(report.steps, 8u);
  EXPECT_EQ(report.held, 1u);
  EXPECT_GT(report.heldBefore, 0);
  EXPECT_LT(report.sampleAfter, 0.9 * report.sampleBefore);
  EXPECT_LE(report.heldAfter, report.heldBefore);
  EXPECT_EQ(report.codesChanged, 0u);
  EXPECT_EQ(gains.size(), 13u); // two of each of 6 layers, and the last
  for (const auto &entry : weights) {
    EXPECT_EQ(entry.second.codes, before[entry.first()].codes);
    EXPECT_NE(entry.second.scales, before[entry.first()].scales);
  }
}

/// Where no step helps, the result is what it was.
TEST_F(TunerTest, KeepsTheBest) {
  quantize(1);
  llvm::StringMap<MixedWeight> before = weights;
  options.rate = 1; // far too much
  options.interval = 1;
  options.patience = 2;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  EXPECT_LE(report.heldAfter, report.heldBefore);
  EXPECT_GT(report.lowered, 0u);
  if (report.bestStep == 0) {
    EXPECT_EQ(report.steps, 2u);
    for (const auto &entry : weights)
      EXPECT_EQ(entry.second.decode(), before[entry.first()].decode());
  }
}

/// Steps that are too large are taken back, and smaller ones help.
TEST_F(TunerTest, LowersTheRate) {
  quantize(3);
  options.rate = 1;
  options.interval = 2;
  options.steps = 16;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  EXPECT_GT(report.lowered, 0u);
  EXPECT_GT(report.bestStep, 2 * report.lowered);
  EXPECT_LT(report.heldAfter, 0.9 * report.heldBefore);
}

/// However often it is interrupted, also where the rate was lowered and patience is running out.
TEST_F(TunerTest, GoesOnWithTheSameNumbers) {
  quantize(2);
  options.rate = 1;
  options.interval = 1;
  options.steps = 30;
  const llvm::StringMap<MixedWeight> before = weights;
  using Looks = std::vector<std::pair<unsigned, double>>;
  Looks looks, resumedLooks;
  options.looked = [&](unsigned step, double held) { looks.emplace_back(step, held); };
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  // Else this test says less than it should.
  EXPECT_GT(report.lowered, 1u);
  EXPECT_GT(report.bestStep, 1u);
  EXPECT_LT(report.steps, options.steps);

  llvm::SmallString<128> file;
  ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("tuning", "state", file));
  ASSERT_FALSE(llvm::sys::fs::remove(file));
  options.stateFile = file.str().str();
  options.resume = true;
  options.looked = [&](unsigned step, double held) { resumedLooks.emplace_back(step, held); };
  unsigned steps = 0, interruptions = 0;
  options.interrupted = [&] { return ++steps % 5 == 0; };
  llvm::StringMap<MixedWeight> resumed;
  llvm::StringMap<std::vector<float>> resumedGains;
  TuneReport resumedReport;
  for (;; ++interruptions) {
    ASSERT_LT(interruptions, options.steps);
    resumed = before;
    Error error = tuneModel(*model.module, model.parameters, samples, options, resumed,
                            resumedGains, resumedReport);
    if (!error)
      break;
    ASSERT_EQ(error.code(), TACQ_IO) << error.message();
  }
  EXPECT_GT(interruptions, 1u);
  EXPECT_EQ(resumedLooks, looks);
  EXPECT_EQ(resumedReport.steps, report.steps);
  EXPECT_EQ(resumedReport.bestStep, report.bestStep);
  EXPECT_EQ(resumedReport.lowered, report.lowered);
  EXPECT_EQ(resumedReport.heldBefore, report.heldBefore);
  EXPECT_EQ(resumedReport.heldAfter, report.heldAfter);
  EXPECT_EQ(resumedReport.sampleBefore, report.sampleBefore);
  EXPECT_EQ(resumedReport.sampleAfter, report.sampleAfter);
  for (const auto &entry : weights)
    EXPECT_EQ(resumed[entry.first()].decode(), entry.second.decode()) << entry.first().str();
  for (const auto &entry : gains)
    EXPECT_EQ(resumedGains[entry.first()], entry.second) << entry.first().str();
}

TEST(RateTest, IsTooLarge) {
  EXPECT_FALSE(isRateTooLarge(1.02, 1, /*without=*/1, /*patience=*/4));
  EXPECT_TRUE(isRateTooLarge(1.06, 1, 1, 4));
  EXPECT_TRUE(isRateTooLarge(1.02, 1, 2, 4)); // going around
  EXPECT_FALSE(isRateTooLarge(1.02, 1, 3, 4));
  EXPECT_FALSE(isRateTooLarge(1.02, 1, 1, 3));
}

/// Drawn samples are stepped on and never held back.
TEST_F(TunerTest, HoldsNoDrawnSampleBack) {
  quantize(1);
  options.ownSamples = 8;
  samples.count = 24;
  std::set<size_t> loaded;
  samples.load = [&, load = samples.load](size_t sample,
                                          std::map<std::string, TensorView> &inputs) {
    loaded.insert(sample);
    return load(sample % length, inputs);
  };
  options.steps = 6; // of 4 samples: all but the one held back, once
  options.resample = 0;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  EXPECT_EQ(report.held, 1u);
  EXPECT_EQ(loaded.size(), 24u);
}

/// Means over samples held back are by their weights.
TEST_F(TunerTest, LooksCountByWeight) {
  quantize(1);
  samples.count = 16; // the 8th and the 16th are held back
  samples.load = [load = samples.load](size_t sample, std::map<std::string, TensorView> &inputs) {
    return load(sample % 11, inputs);
  };
  options.steps = 1;
  auto heldBefore = [&](double first, double second) {
    samples.weight = [=](size_t sample) { return sample < 8 ? first : second; };
    llvm::StringMap<MixedWeight> own = weights;
    Error error = tuneModel(*model.module, model.parameters, samples, options, own, gains, report);
    EXPECT_FALSE(error) << error.message();
    return report.heldBefore;
  };
  double a = heldBefore(1, 1e-12), b = heldBefore(1e-12, 1);
  EXPECT_GT(std::fabs(a - b), 0.01 * a);
  EXPECT_NEAR(heldBefore(1, 1), (a + b) / 2, 1e-6 * a);
  EXPECT_NEAR(heldBefore(3, 1), (3 * a + b) / 4, 1e-6 * a);
}

/// Steps in which one sample counts and the others hardly do are those of this sample.
TEST_F(TunerTest, StepsCountByWeight) {
  quantize(1);
  options.resample = 0;
  options.batch = 7; // all
  options.steps = 4;
  options.rate = 0.003;
  auto tuned = [&](const SampleSource &source) {
    llvm::StringMap<MixedWeight> own = weights;
    gains.clear();
    Error error = tuneModel(*model.module, model.parameters, source, options, own, gains, report);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(report.bestStep, 4u);
    return std::pair(own.begin()->second.decode(), gains);
  };
  auto distance = [](ArrayRef<float> a, ArrayRef<float> b) {
    double sum = 0;
    for (auto [x, y] : llvm::zip(a, b))
      sum += std::fabs(double(x) - y);
    return sum;
  };
  SampleSource weighted = samples, alone = samples;
  weighted.weight = [](size_t sample) { return sample == 2 ? 1 : 1e-9; };
  alone.load = [load = samples.load](size_t sample, std::map<std::string, TensorView> &inputs) {
    return load(isHeldBack(sample) ? sample : 2, inputs);
  };
  auto [weight, gain] = tuned(weighted);
  auto [weightAlone, gainAlone] = tuned(alone);
  auto [weightOfAll, gainOfAll] = tuned(samples);
  EXPECT_LT(distance(weight, weightAlone), 0.1 * distance(weight, weightOfAll));
  for (const auto &entry : gain) {
    StringRef name = entry.first();
    EXPECT_LT(distance(entry.second, gainAlone[name]),
              0.1 * distance(entry.second, gainOfAll[name]))
        << name.str();
  }
}

/// Codes follow, and the threads do not matter, to the bit.
TEST_F(TunerTest, CodesFollow) {
  quantize(2);
  llvm::StringMap<MixedWeight> again = weights;
  options.resample = 0;
  options.codes = true;
  options.rate = 0.01;
  options.codeRate = 8; // in few steps
  options.steps = 10;
  options.interval = 1;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, weights, gains, report));
  EXPECT_GT(report.codesChanged, 0u);
  EXPECT_LT(report.heldAfter, report.heldBefore);
  options.threads = 1;
  ASSERT_OK(tuneModel(*model.module, model.parameters, samples, options, again, gains, report));
  for (const auto &entry : weights) {
    EXPECT_EQ(entry.second.codes, again[entry.first()].codes) << entry.first().str();
    EXPECT_EQ(entry.second.scales, again[entry.first()].scales) << entry.first().str();
  }
}

/// Step and tensor are named.
TEST_F(TunerTest, StopsWhereNumbersAreNotFinite) {
  quantize(6);
  std::vector<std::string> names;
  for (const auto &entry : weights)
    names.push_back(entry.first().str());
  llvm::sort(names);
  weights[names[0]].scales[0] = 0x7E00; // no number
  options.place = [](size_t) { return "here"; };
  Error error =
      tuneModel(*model.module, model.parameters, samples, options, weights, gains, report);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_NE(error.message().find("before the first step: the loss of here is not finite"),
            std::string::npos)
      << error.message();
  EXPECT_NE(error.message().find("the input of tensor '"), std::string::npos) << error.message();
}

TEST_F(TunerTest, NeedsSamplesToHoldBack) {
  quantize(1);
  samples.count = 7;
  Error error =
      tuneModel(*model.module, model.parameters, samples, options, weights, gains, report);
  EXPECT_EQ(error.code(), TACQ_INVALID_INPUT);
  EXPECT_NE(error.message().find("it needs 8 samples or more, and there are 7"), std::string::npos)
      << error.message();
}
