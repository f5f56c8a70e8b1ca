//===- SelectCircuit.cpp - Circuits in a layout ---------------------------===//

#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"

using namespace tacq;

std::vector<std::vector<CircuitMask>> tacq::selectCircuits(WeightFormat::Circuit layout,
                                                           llvm::ArrayRef<WeightView> saliency,
                                                           llvm::ArrayRef<double> fractions) {
  std::vector<std::vector<CircuitMask>> masks;
  for (double fraction : fractions)
    masks.push_back(selectScattered(saliency, fraction));
  std::vector<std::vector<SlotCircuit>> circuits;
  if (layout == WeightFormat::Circuit::Slots)
    circuits = selectSlots(saliency, masks, SlotOptions());
  else if (layout == WeightFormat::Circuit::Uniform)
    for (const std::vector<CircuitMask> &each : masks)
      circuits.push_back(selectUniform(saliency, each, SlotOptions()));
  for (auto [each, inTiles] : llvm::zip(masks, circuits))
    for (auto [mask, circuit] : llvm::zip(each, inTiles))
      mask = std::move(circuit.mask);
  return masks;
}

std::vector<CircuitMask> tacq::selectCircuit(WeightFormat::Circuit layout,
                                             llvm::ArrayRef<WeightView> saliency, double fraction) {
  return std::move(selectCircuits(layout, saliency, fraction)[0]);
}
