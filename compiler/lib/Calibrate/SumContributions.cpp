//===- SumContributions.cpp - One sample's part of the statistics ---------===//

#include "SumContributions.h"
#include "../Quantize/SerialBlas.h"
#include "TileGradients.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <atomic>
#include <cblas.h>
#include <cmath>
#include <cstring>
#include <thread>

using namespace tacq;
using llvm::ArrayRef;

/// Rows of a product that a thread computes at once: what it holds is added to the sums while it is
/// in the cache.
static constexpr int64_t blockRows = 96;

namespace {

struct Block {
  bool gradient;
  size_t number;
  int64_t begin, end;
};

} // namespace

static std::vector<Block> blocksOf(ArrayRef<GradientContribution> gradients,
                                   ArrayRef<HessianContribution> hessians) {
  std::vector<Block> blocks;
  auto split = [&](bool gradient, size_t number, int64_t rows) {
    for (int64_t begin = 0; begin < rows; begin += blockRows)
      blocks.push_back({gradient, number, begin, std::min(begin + blockRows, rows)});
  };
  for (size_t i = 0; i < gradients.size(); ++i)
    split(true, i, gradients[i].rows);
  for (size_t i = 0; i < hessians.size(); ++i)
    split(false, i, hessians[i].columns);
  return blocks;
}

/// result[M, N] = a[:, begin : begin + M]ᵀ b[:, : N], or added to what is there.
static void product(const float *a, int64_t aColumns, int64_t begin, int64_t m, const float *b,
                    int64_t bColumns, int64_t n, int64_t tokens, bool added, float *result) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, int(m), int(n), int(tokens), 1.0f, a + begin,
              int(aColumns), b, int(bColumns), added ? 1.0f : 0.0f, result, int(n));
}

static uint32_t magnitudeBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits & 0x7FFFFFFF;
}
/// Everything that is no finite number has larger bits.
static constexpr uint32_t infinityBits = 0x7F800000;

/// Adds the numbers' magnitudes; false if one is not finite. The loops have no branches.
static bool addMagnitudes(const float *values, int64_t count, double *sum) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum[i] += std::fabs(values[i]);
    largest = std::max(largest, magnitudeBits(values[i]));
  }
  return largest < infinityBits;
}

static bool add(const float *values, int64_t count, double *sum) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    sum[i] += values[i];
    largest = std::max(largest, magnitudeBits(values[i]));
  }
  return largest < infinityBits;
}

static bool run(const GradientContribution &c, const Block &block, std::vector<float> &scratch) {
  int64_t rows = block.end - block.begin;
  scratch.resize(std::max<size_t>(scratch.size(), rows * c.columns));
  for (const TappedRows &use : c.uses)
    product(use.outputGradient, c.rows, block.begin, rows, use.input, c.columns, c.columns,
            use.tokens, &use != &c.uses.front(), scratch.data());
  for (auto [i, row] : llvm::enumerate(c.sketchedRows))
    if (block.begin <= row && row < block.end)
      addMagnitudes(scratch.data() + (row - block.begin) * c.columns, c.columns,
                    c.sketchSum + i * c.columns);
  return addMagnitudes(scratch.data(), rows * c.columns, c.sum + block.begin * c.columns);
}

/// Rows of the lower triangle; what the product has above it is not used.
static bool run(const HessianContribution &c, const Block &block, std::vector<float> &scratch) {
  int64_t rows = block.end - block.begin;
  scratch.resize(std::max<size_t>(scratch.size(), rows * block.end));
  for (const TappedRows &use : c.uses)
    product(use.input, c.columns, block.begin, rows, use.input, c.columns, block.end, use.tokens,
            &use != &c.uses.front(), scratch.data());
  bool finite = true;
  for (int64_t i = block.begin; i < block.end; ++i)
    finite &= add(scratch.data() + (i - block.begin) * block.end, i + 1, c.sum + i * (i + 1) / 2);
  for (int64_t i = block.begin; c.diagonal && i < block.end; ++i)
    c.diagonal[i] = scratch[(i - block.begin) * block.end + i];
  return finite;
}

/// Calls work(0), … work(count - 1) on several threads, each with scratch memory of its own.
static void onThreads(size_t count, unsigned threads,
                      llvm::function_ref<void(size_t, std::vector<float> &)> work) {
  // Several products run at a time, one on each thread; a product is not split further.
  SerialBlas serial;
  std::atomic<size_t> next{0};
  auto run = [&] {
    std::vector<float> scratch;
    for (size_t i = next++; i < count; i = next++)
      work(i, scratch);
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < std::min<size_t>(threads, count); ++i)
    others.emplace_back(run);
  run();
  for (std::thread &thread : others)
    thread.join();
}

/// Adds up those that consist of tiles, and returns the others.
static std::vector<WeightGradient> sumOnTiles(ArrayRef<WeightGradient> gradients,
                                              unsigned threads) {
  std::vector<char> done(gradients.size());
  onThreads(gradients.size(), threads, [&](size_t i, std::vector<float> &scratch) {
    done[i] = addOnTiles(gradients[i], scratch);
  });
  std::vector<WeightGradient> rest;
  for (auto [i, gradient] : llvm::enumerate(gradients))
    if (!done[i])
      rest.push_back(gradient);
  return rest;
}

void tacq::sumGradients(ArrayRef<WeightGradient> gradients, bool bf16, unsigned threads) {
  std::vector<WeightGradient> rest;
  if (bf16 && hasGradientTiles()) {
    rest = sumOnTiles(gradients, threads);
    gradients = rest;
  }
  std::vector<Block> blocks;
  for (size_t i = 0; i < gradients.size(); ++i)
    for (int64_t begin = 0; begin < gradients[i].rows; begin += blockRows)
      blocks.push_back({true, i, begin, std::min(begin + blockRows, gradients[i].rows)});
  onThreads(blocks.size(), threads, [&](size_t i, std::vector<float> &) {
    const WeightGradient &c = gradients[blocks[i].number];
    for (const TappedRows &use : c.uses)
      product(use.outputGradient, c.rows, blocks[i].begin, blocks[i].end - blocks[i].begin,
              use.input, c.columns, c.columns, use.tokens, /*added=*/true,
              c.sum + blocks[i].begin * c.columns);
  });
}

NonFinite tacq::sumContributions(ArrayRef<GradientContribution> gradients,
                                 ArrayRef<HessianContribution> hessians, unsigned threads) {
  std::vector<Block> blocks = blocksOf(gradients, hessians);
  std::vector<char> finite(blocks.size(), 1);
  onThreads(blocks.size(), threads, [&](size_t i, std::vector<float> &scratch) {
    const Block &block = blocks[i];
    finite[i] = block.gradient ? run(gradients[block.number], block, scratch)
                               : run(hessians[block.number], block, scratch);
  });

  NonFinite found;
  for (size_t i = blocks.size(); i-- > 0;)
    if (!finite[i])
      (blocks[i].gradient ? found.gradient : found.hessian) = int64_t(blocks[i].number);
  return found;
}
