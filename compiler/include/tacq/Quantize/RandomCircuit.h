//===- RandomCircuit.h - A circuit for measuring speed ----------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_RANDOMCIRCUIT_H
#define TACQ_QUANTIZE_RANDOMCIRCUIT_H

#include "tacq/Quantize/CircuitMask.h"

namespace tacq {

/// Positions drawn at random where no sample says which weights matter, so that kernels can be
/// measured on weights that nobody has trained. `fraction` is the part of the weights that the
/// circuit holds at 4 bytes an entry. Slots are as many, and spread over tiles, as in a language
/// model with this fraction: 0.35 % become 0.42 % of the weights, since counts and permutations
/// take their part of the bytes; most tiles have no slot, some have one, few have many, and rows
/// are stored sorted by how much they hold. Without a layout or a fraction there is no circuit.
CircuitMask randomCircuit(int64_t rows, int64_t columns, WeightFormat::Circuit layout,
                          double fraction, uint64_t seed);

} // namespace tacq

#endif // TACQ_QUANTIZE_RANDOMCIRCUIT_H
