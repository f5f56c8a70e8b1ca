//===- UnifyParams.h - One parameter for all copies of the same bytes -*- C++ -*-===//

#ifndef TACQ_GRAPH_UNIFYPARAMS_H
#define TACQ_GRAPH_UNIFYPARAMS_H

#include "mlir/Pass/Pass.h"
#include <memory>

namespace tacq {

class ParameterStore;

/// tacq-unify-params with the bytes of a store, which must outlive the pass; parameters that are
/// renamed are found in it under their new names, too.
std::unique_ptr<mlir::Pass> createUnifyParams(ParameterStore &store, bool remarks);

} // namespace tacq

#endif // TACQ_GRAPH_UNIFYPARAMS_H
