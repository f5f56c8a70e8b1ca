//===- PlanTest.cpp - Plans come back as they were written ----------------===//

#include "tacq/Quantize/Plan.h"
#include "../AssertOk.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "gtest/gtest.h"
#include <random>

using namespace tacq;

namespace {

/// A plan with every member in some form, and numbers that have no short decimals.
Plan randomPlan(unsigned seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> part;
  auto choose = [&](auto... values) {
    std::common_type_t<decltype(values)...> all[] = {values...};
    return all[random() % std::size(all)];
  };
  Plan plan;
  plan.modelHash = seed % 3 ? "5a0f" + std::to_string(seed) : "";
  plan.circuitLayout = choose(WeightFormat::Circuit::None, WeightFormat::Circuit::Scattered,
                              WeightFormat::Circuit::Slots, WeightFormat::Circuit::Uniform);
  plan.circuit = part(random);
  plan.meanLoss = seed % 2 ? part(random) : 0;
  for (unsigned t = 0; t < seed % 5; ++t) {
    TensorPlan &tensor = plan.tensors.emplace_back();
    tensor.name = "layer \"" + std::to_string(t) + "\"/\xc3\xa4.weight";
    tensor.bits = choose(2u, 3u, 4u, 8u, 16u);
    tensor.group = choose(0, 32, 64, 128, 256);
    tensor.codebook = tensor.bits <= 4 && tensor.group == 0 && random() % 2;
    if (random() % 2)
      tensor.circuit = choose(0.0, part(random));
    if (random() % 4 == 0)
      continue; // not filled in, as in a plan by hand
    tensor.bytes = 1 + (random() >> choose(1, 20, 50));
    tensor.bitsPerWeight = 16 * part(random);
    tensor.predictedLoss = part(random) * choose(1.0, 1e-300, 1e10);
  }
  for (unsigned k = 0; k < seed % 3; ++k)
    plan.kernels.push_back({"x86-64-v" + std::to_string(k),
                            "!tacq.mixed<…>",
                            choose(96, 192),
                            {1024, 0, int64_t(random() % 4096)}});
  for (unsigned c = 0; c < seed % 4; ++c) {
    PricedPlan &candidate = plan.candidates.emplace_back();
    candidate.mixed = random() % 2;
    if (!candidate.mixed) {
      candidate.bits = choose(2u, 8u);
      candidate.group = choose(0, 64);
      candidate.codebook = random() % 2;
    }
    candidate.circuit = part(random);
    candidate.bytes = random() >> 1;
    candidate.bitsPerWeight = part(random);
    candidate.predictedLoss = part(random);
    if (random() % 2)
      candidate.measuredLoss = choose(0.0, part(random));
    candidate.chosen = c == 1;
  }
  return plan;
}

class PlanTest : public ::testing::Test {
protected:
  void SetUp() override { ASSERT_FALSE(llvm::sys::fs::createTemporaryFile("plan", "json", path)); }
  void TearDown() override { EXPECT_FALSE(llvm::sys::fs::remove(path)); }

  std::string content() const {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : "";
  }

  llvm::SmallString<128> path;
};

} // namespace

TEST_F(PlanTest, IsWrittenAsItWasRead) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    ASSERT_OK(writePlan(path.str().str(), randomPlan(seed)));
    std::string first = content();
    Plan read;
    ASSERT_OK(readPlan(path.str().str(), read));
    ASSERT_OK(writePlan(path.str().str(), read));
    EXPECT_EQ(content(), first);
  }
}

/// What is left out of the file would also come back as it is there.
TEST_F(PlanTest, KeepsEveryMember) {
  for (unsigned seed = 0; seed < 60; ++seed) {
    Plan plan = randomPlan(seed), read;
    ASSERT_OK(writePlan(path.str().str(), plan));
    ASSERT_OK(readPlan(path.str().str(), read));
    EXPECT_EQ(read.modelHash, plan.modelHash);
    EXPECT_EQ(read.circuitLayout, plan.circuitLayout);
    EXPECT_EQ(read.circuit, plan.circuit);
    EXPECT_EQ(read.meanLoss, plan.meanLoss);
    auto tensor = [](const TensorPlan &t) {
      return std::tuple(t.name, t.bits, t.group, t.codebook, t.circuit, t.bytes, t.bitsPerWeight,
                        t.predictedLoss);
    };
    ASSERT_EQ(read.tensors.size(), plan.tensors.size());
    for (size_t i = 0; i < plan.tensors.size(); ++i)
      EXPECT_EQ(tensor(read.tensors[i]), tensor(plan.tensors[i])) << seed;
    auto kernel = [](const KernelTiling &k) {
      return std::tuple(k.target, k.weight, k.taskRows, k.prefetch);
    };
    ASSERT_EQ(read.kernels.size(), plan.kernels.size());
    for (size_t i = 0; i < plan.kernels.size(); ++i)
      EXPECT_EQ(kernel(read.kernels[i]), kernel(plan.kernels[i])) << seed;
    auto candidate = [](const PricedPlan &c) {
      return std::tuple(c.mixed, c.bits, c.group, c.codebook, c.circuit, c.bytes, c.bitsPerWeight,
                        c.predictedLoss, c.measuredLoss, c.chosen);
    };
    ASSERT_EQ(read.candidates.size(), plan.candidates.size());
    for (size_t i = 0; i < plan.candidates.size(); ++i)
      EXPECT_EQ(candidate(read.candidates[i]), candidate(plan.candidates[i])) << seed;
  }
}
