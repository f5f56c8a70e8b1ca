//===- TileGradients.h - Gradients of weights by matrix tiles ---*- C++ -*-===//

#ifndef TACQ_CALIBRATE_TILEGRADIENTS_H
#define TACQ_CALIBRATE_TILEGRADIENTS_H

#include "SumContributions.h"

namespace tacq {

/// Whether this machine has products of bf16 tiles, and lets the process use them.
bool hasGradientTiles();

/// Adds Σ dYᵀ X up as sumGradients does, with factors that are rounded to bf16; sums stay f32.
/// False, with nothing done, for a weight that does not consist of tiles. Only where
/// hasGradientTiles().
bool addOnTiles(const WeightGradient &gradient, std::vector<float> &scratch);

} // namespace tacq

#endif // TACQ_CALIBRATE_TILEGRADIENTS_H
