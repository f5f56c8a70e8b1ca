//===- SelectCircuit.cpp - Circuits in a layout ---------------------------===//

#include "tacq/Quantize/Saliency.h"
#include "tacq/Quantize/Slots.h"

using namespace tacq;

std::vector<CircuitMask> tacq::selectCircuit(WeightFormat::Circuit layout,
                                             llvm::ArrayRef<WeightView> saliency, double fraction) {
  std::vector<CircuitMask> masks = selectScattered(saliency, fraction);
  if (layout != WeightFormat::Circuit::Slots && layout != WeightFormat::Circuit::Uniform)
    return masks;
  std::vector<SlotCircuit> circuits = layout == WeightFormat::Circuit::Slots
                                          ? selectSlots(saliency, masks, SlotOptions())
                                          : selectUniform(saliency, masks, SlotOptions());
  for (auto [mask, circuit] : llvm::zip(masks, circuits))
    mask = std::move(circuit.mask);
  return masks;
}
