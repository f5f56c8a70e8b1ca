//===- FrontierChart.h - Bytes against predicted loss -----------*- C++ -*-===//

#ifndef TACQ_TOOLS_FRONTIERCHART_H
#define TACQ_TOOLS_FRONTIERCHART_H

#include "tacq/Quantize/Plan.h"

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace tacq::tools {

/// Which candidates no other one beats in both bytes and predicted loss. Of equal ones the first.
std::vector<bool> paretoFrontier(const std::vector<PricedPlan> &candidates);

/// "2 bits, levels of each row".
std::string formatName(unsigned bits, int64_t group, bool levels);
std::string formatName(const PricedPlan &candidate);

/// A picture of them as SVG, both axes logarithmic: candidates with a size and a loss above 0.
/// `meanLoss` is what losses are shown as parts of; 0: losses as they are.
void writeFrontier(llvm::raw_ostream &os, const std::vector<PricedPlan> &candidates,
                   double meanLoss);

} // namespace tacq::tools

#endif // TACQ_TOOLS_FRONTIERCHART_H
