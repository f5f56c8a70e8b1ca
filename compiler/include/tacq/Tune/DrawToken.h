//===- DrawToken.h - A token by its probability -----------------*- C++ -*-===//

#ifndef TACQ_TUNE_DRAWTOKEN_H
#define TACQ_TUNE_DRAWTOKEN_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <random>

namespace tacq {

/// For what is drawn for the `number`-th time in a run with the seed `seed`.
inline uint64_t seedOf(uint32_t seed, uint64_t number) { return (uint64_t(seed) << 32) + number; }

/// Between 0 and 1, the same on all machines.
inline double drawUniform(std::mt19937_64 &random) { return double(random() >> 11) * 0x1p-53; }

/// The token at which the probabilities, which are proportional to exp(logits), sum up to
/// `uniform`.
int64_t drawToken(llvm::ArrayRef<float> logits, double uniform);

} // namespace tacq

#endif // TACQ_TUNE_DRAWTOKEN_H
