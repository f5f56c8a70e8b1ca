//===- OpRegistry.cpp - Finds an operator's table entry -------------------===//

#include "tacq/Ops/OpSpec.h"

using namespace tacq;

namespace {
using Table = llvm::DenseMap<std::pair<llvm::StringRef, llvm::StringRef>, const OpSpec *>;
} // namespace

static Table buildTable() {
  Table table;
  for (llvm::ArrayRef<OpSpec> family :
       {elementwiseOps(), movementOps(), shapeOps(), indexingOps(), reductionOps(),
        contractionOps(), poolingOps(), normalizationOps(), quantizationOps(), recurrentOps(),
        attentionOps(), controlFlowOps()})
    for (const OpSpec &spec : family)
      table[{spec.domain, spec.name}] = &spec;
  return table;
}

const OpSpec *tacq::lookupOp(llvm::StringRef domain, llvm::StringRef name) {
  static const Table table = buildTable();
  // The default domain has two names.
  if (domain == "ai.onnx")
    domain = "";
  return table.lookup({domain, name});
}
