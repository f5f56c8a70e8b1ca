//===- Passes.td - From tensors to a schedule ------------------------------===//

#ifndef TACQ_SCHEDULE_PASSES_TD
#define TACQ_SCHEDULE_PASSES_TD

include "mlir/Pass/PassBase.td"

def FormDispatches : Pass<"tacq-form-dispatches", "::mlir::ModuleOp"> {
  let summary = "Group operations into kernels and dispatches";
  let description = [{
    Every value is either held in memory or computed inside of the kernels that use it. Held are the
    results of recognized operations, of nodes with a loop nest of their own, of reductions, of
    whatever has several users and is not cheap, and of whatever would be computed again because its
    user repeats it. A reshape of a held value is the same memory under another shape. Kernels that
    are equal up to names are one kernel.

    With `fuse-rows`, a normalization, or nodes of elements, whose result is only quantized are part of
    the kernel that quantizes it, and the rotary embeddings of the queries and new keys of an attention with a cache
    are part of the attention's kernel, if nothing else reads their results.

    With `repeat-rows`, the kernel of a product may quantize its input itself: behind the product,
    it holds the quantization, and the normalization fused with that, and binds what they read. The
    dispatch that quantizes stays; its kernel and those of the products, of each target, agree on
    which of them does it (the attribute `repeated_rows` tells them that they may).
  }];
  let options = [
    Option<"fuseRows", "fuse-rows", "bool", "false",
           "Fuse operations that pass on rows">,
    Option<"repeatRows", "repeat-rows", "bool", "false",
           "Let products quantize their input, for shaders">
  ];
  let statistics = [
    Statistic<"numDispatches", "dispatches", "Dispatches formed">,
    Statistic<"numKernels", "kernels", "Different kernels">,
    Statistic<"numFused", "fused", "Operations that became part of another one's kernel">
  ];
  let dependentDialects = ["::tacq::TACQDialect", "::tacq::rt::ScheduleDialect"];
}

def PlanSchedule : Pass<"tacq-plan-schedule", "::mlir::ModuleOp"> {
  let summary = "Turn the function of dispatches into a schedule of launches on buffers";
  let description = [{
    Gives every tensor a buffer: inputs, outputs, constants, states (a key/value cache that is an
    input and an output of the model, in place) and transients. Transients whose lifetimes do not
    overlap share a slot; those whose sizes are the same expression are preferred, and the size of a
    slot is the largest of its members at run time.
  }];
  let statistics = [
    Statistic<"numSlots", "slots", "Slots of transient memory">,
    Statistic<"numTransients", "transients", "Transient buffers">,
    Statistic<"numInPlaceStates", "in-place-states", "Caches that are updated in place">
  ];
  let dependentDialects = ["::tacq::TACQDialect", "::tacq::rt::ScheduleDialect"];
}

#endif // TACQ_SCHEDULE_PASSES_TD
