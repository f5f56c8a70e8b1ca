//===- SketchedSaliency.h - Saliency of whole weights -----------*- C++ -*-===//

#ifndef TACQ_QUANTIZE_SKETCHEDSALIENCY_H
#define TACQ_QUANTIZE_SKETCHEDSALIENCY_H

#include "tacq/Calibrate/Statistics.h"

namespace tacq {

/// The saliency G |W - Q| |W| summed over each tensor's weights, in the order of the statistics,
/// where Q is the nearest of 2^bits levels between the extremes of a row. Statistics hold W of a
/// few rows only: the saliency of a unit of G in those rows is taken for that of all rows, whose G
/// is known. TACQ_INVALID_INPUT without gradients and folds, and for weights that are not finite;
/// the name is for messages.
Error sketchedSaliency(const Statistics &statistics, const std::string &name, unsigned bits,
                       std::vector<double> &saliency);

} // namespace tacq

#endif // TACQ_QUANTIZE_SKETCHEDSALIENCY_H
