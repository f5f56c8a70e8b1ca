//===- DecodedWeights.h - A module's mixed-precision weights ----*- C++ -*-===//

#ifndef TACQ_DUMP_DECODEDWEIGHTS_H
#define TACQ_DUMP_DECODEDWEIGHTS_H

#include "tacq/ModuleView.h"

namespace tacq::tools {

/// Writes each mixed-precision weight, decoded, as f32 [N, K] to FOLDER/NAME.npy; a '/' of the name
/// becomes a '_'. FOLDER/circuit/NAME.npy has the positions of its circuit, row-major in [N, K],
/// i64. The folder is made if it is not there.
Error writeDecodedWeights(const ModuleView &view, const std::string &folder);

} // namespace tacq::tools

#endif // TACQ_DUMP_DECODEDWEIGHTS_H
