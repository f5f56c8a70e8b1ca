//===- TileKernels.cpp - Choose how kernels go through their weights ------===//

#include "tacq/CPU/LinearTiling.h"
#include "tacq/CPU/Passes.h"
#include "tacq/Dialect/Schedule/ScheduleDialect.h"

namespace tacq {
#define GEN_PASS_DEF_TILEKERNELS
#include "tacq/CPU/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

namespace {

struct TileKernelsPass : tacq::impl::TileKernelsBase<TileKernelsPass> {
  using TileKernelsBase::TileKernelsBase;

  void runOnOperation() override {
    std::vector<CpuTarget> known;
    for (const std::string &name : targets) {
      std::optional<CpuTarget> target = parseCpuTarget(name);
      if (!target) {
        getOperation().emitError("there is no CPU target '") << name << "'";
        return signalPassFailure();
      }
      known.push_back(*target);
    }
    if (auto given = getOperation()->getAttrOfType<ArrayAttr>(tilingsAttribute))
      for (Attribute each : given) {
        auto tiling = dyn_cast<TilingAttr>(each);
        if (!tiling) {
          getOperation().emitError() << "'" << tilingsAttribute << "' is a list of #tacq.tiling";
          return signalPassFailure();
        }
        measured[{tiling.getTarget(), tiling.getWeight()}] = tiling;
      }
    for (auto kernel : getOperation().getOps<rt::KernelOp>())
      tile(kernel, known);
  }

private:
  void tile(rt::KernelOp kernel, ArrayRef<CpuTarget> known) {
    SmallVector<Attribute> tilings;
    for (const CpuTarget &target : known)
      for (Type input : kernel.getBody().getArgumentTypes())
        if (auto weight = dyn_cast<MixedType>(input))
          if (Attribute tiling = choose(target, weight); !llvm::is_contained(tilings, tiling))
            tilings.push_back(tiling);
    if (tilings.empty())
      return;
    // The launches are the same for all weights of the kernel and all targets.
    int64_t rows = cast<TilingAttr>(tilings.front()).getTaskRows();
    for (Attribute &each : tilings) {
      auto tiling = cast<TilingAttr>(each);
      each = TilingAttr::get(&getContext(), tiling.getTarget(), tiling.getWeight(), rows,
                             tiling.getPrefetch());
    }
    kernel.setTilingsAttr(ArrayAttr::get(&getContext(), tilings));
    ++numTiled;
  }

  TilingAttr choose(const CpuTarget &target, MixedType weight) {
    auto found = measured.find({target.name, weight});
    if (found == measured.end())
      return modelTiling(target, weight);
    ++numMeasured;
    return found->second;
  }

  llvm::DenseMap<std::pair<StringRef, Type>, TilingAttr> measured;
};

} // namespace
