//===- AllowBf16.cpp - Products of factors rounded to bf16 ----------------===//

#include "tacq/Calibration/Passes.h"
#include "tacq/Codegen/MixedFormat.h"
#include "tacq/Dialect/TACQ/TACQDialect.h"

using namespace mlir;
using namespace tacq;

namespace tacq {
#define GEN_PASS_DEF_ALLOWBF16
#include "tacq/Calibration/Passes.h.inc"
} // namespace tacq

namespace {

struct AllowBf16 : tacq::impl::AllowBf16Base<AllowBf16> {
  using AllowBf16Base::AllowBf16Base;

  void runOnOperation() override {
    getOperation().walk([&](LinearOp linear) {
      if (hasMixedWeights(linear) || linear.getAllowBf16())
        return;
      linear.setAllowBf16(true);
      ++numAllowed;
    });
  }
};

} // namespace
