//===- AppendLoss.cpp - A loss of an output -------------------------------===//

#include "GradientBuilder.h"
#include "MainFunction.h"
#include "tacq/Differentiate/DifferentiatePasses.h"

namespace tacq {
#define GEN_PASS_DEF_APPENDLOSS
#include "tacq/Differentiate/Passes.h.inc"
} // namespace tacq

using namespace mlir;
using namespace tacq;

/// What marks a label that does not count.
static constexpr int64_t ignoredLabel = -100;

namespace {
class AppendLossPass : public tacq::impl::AppendLossBase<AppendLossPass> {
  using AppendLossBase::AppendLossBase;

  void runOnOperation() override {
    if (failed(append()))
      signalPassFailure();
  }

  LogicalResult append() {
    FailureOr<MainFunction> found = MainFunction::find(getOperation());
    if (failed(found))
      return failure();
    MainFunction &main = *found;
    if (kind != "cross-entropy" && kind != "kl" && kind != "mse")
      return main.function.emitError("unknown loss '")
             << kind << "': losses are cross-entropy, kl and mse";
    std::optional<unsigned> index = main.findResult(output);
    if (!index)
      return main.function.emitError("the model has no output '")
             << output << "' to compute a loss of; its outputs are " << main.resultNames();
    Value value = main.results()[*index];
    std::optional<Dims> dims = dimsOf(value);
    if (!dims || !isComputedInF32(value))
      return main.function.emitError("the output '")
             << output << "' is " << value.getType()
             << "; a loss needs a floating-point tensor of known rank";
    bool hasLabels = kind != "mse";
    if (hasLabels && dims->size() != 3)
      return main.function.emitError("the output '")
             << output << "' has " << dims->size() << " dimensions; " << kind
             << " needs [batch, sequence, classes]: choose another output or mse";
    SmallVector<StringRef> arguments;
    if (hasLabels)
      arguments.push_back("labels");
    if (kind == "kl")
      arguments.push_back("reference_logits");
    if (kind == "mse")
      arguments.push_back("target");
    for (StringRef name : llvm::concat<const StringRef>(arguments, ArrayRef<StringRef>("loss")))
      if (main.findArgument(name) || main.findResult(name))
        return main.function.emitError("the model has an input or output '")
               << name << "' already, which is the name that its loss needs";
    OpBuilder builder(main.function.getBody().front().getTerminator());
    Type labelsType = tensorType(builder.getI64Type(), ArrayRef(*dims).take_front(2));
    SmallVector<Value> values;
    for (StringRef name : arguments)
      values.push_back(main.addArgument(name, name == "labels" ? labelsType : value.getType()));
    GraphBuilder nodes(builder, value.getLoc(), "loss");
    Value loss = kind == "mse"  ? squaredError(nodes, value, values[0])
                 : kind == "kl" ? divergence(nodes, value, values[0], values[1])
                                : crossEntropy(nodes, value, values[0]);
    main.addResult("loss", loss);
    main.update();
    return success();
  }

  static Value squaredError(GraphBuilder &b, Value output, Value target) {
    Type f32 = b.builder.getF32Type();
    Value difference = b.create("Sub", {b.cast(output, f32), b.cast(target, f32)});
    Value squared = b.create("Mul", {difference, difference});
    return b.create("ReduceMean", {squared}, {b.attr("keepdims", int64_t(0))});
  }

  /// Of each position the label that it predicts, and whether that is none.
  struct Predicted {
    Value labels, ignored;
  };

  static Predicted predictedBy(GraphBuilder &b, ArrayRef<Sym> dims, Value labels) {
    Type i64 = b.builder.getI64Type();
    // The label of position i is the token at i + 1; the last position has none.
    Value length = b.symbols({dims[1]});
    Value end = b.create("Squeeze", {b.symbols({dims[1] + Sym(1)}), b.integers({0})});
    Value next = b.create("Range", {b.integers({1}, true), end, b.integers({1}, true)});
    next = b.reshape(next, {dims[1]});
    Value isInside = b.create("Less", {next, length});
    Value at = b.create("Where", {isInside, next, b.integers({0}, true)});
    Value shifted = b.create("Gather", {labels, at}, {b.attr("axis", int64_t(1))});
    Value ignored = b.scalar(i64, double(ignoredLabel));
    shifted = b.create("Where", {isInside, shifted, ignored});
    return {shifted, b.create("Equal", {shifted, ignored})};
  }

  /// The mean of numbers over the positions that predict a label.
  static Value meanOver(GraphBuilder &b, Value numbers, Value ignored) {
    Type f32 = b.builder.getF32Type();
    Value zero = b.scalar(f32, 0), one = b.scalar(f32, 1);
    NamedAttribute noAxes = b.attr("keepdims", int64_t(0));
    Value sum = b.create("ReduceSum", {b.create("Where", {ignored, zero, numbers})}, {noAxes});
    Value count = b.create("ReduceSum", {b.create("Where", {ignored, zero, one})}, {noAxes});
    return b.create("Div", {sum, b.create("Max", {count, one})});
  }

  static Value crossEntropy(GraphBuilder &b, Value scores, Value labels) {
    Type i64 = b.builder.getI64Type(), f32 = b.builder.getF32Type();
    Dims dims = *dimsOf(scores);
    Predicted predicted = predictedBy(b, dims, labels);
    // An ignored label need not be a class: class 0 stands in for it.
    Value valid = b.create("Where", {predicted.ignored, b.scalar(i64, 0), predicted.labels});

    Value logarithms = b.create("LogSoftmax", {b.cast(scores, f32)}, {b.attr("axis", int64_t(-1))});
    Value picked =
        b.create("GatherElements", {logarithms, b.reshape(valid, {dims[0], dims[1], Sym(1)})},
                 {b.attr("axis", int64_t(2))});
    picked = b.reshape(picked, {dims[0], dims[1]});
    return b.create("Neg", {meanOver(b, picked, predicted.ignored)});
  }

  /// Σ p (log p - log q) of each position, with p of the reference.
  static Value divergence(GraphBuilder &b, Value scores, Value labels, Value reference) {
    Type f32 = b.builder.getF32Type();
    Dims dims = *dimsOf(scores);
    Value ignored = predictedBy(b, dims, labels).ignored;
    NamedAttribute last = b.attr("axis", int64_t(-1));
    Value logarithms = b.create("LogSoftmax", {b.cast(scores, f32)}, {last});
    Value wanted = b.create("LogSoftmax", {b.cast(reference, f32)}, {last});
    Value terms =
        b.create("Mul", {b.create("Exp", {wanted}), b.create("Sub", {wanted, logarithms})});
    Value sums = b.create("ReduceSum", {terms, b.integers({2})}, {b.attr("keepdims", int64_t(0))});
    return meanOver(b, b.reshape(sums, {dims[0], dims[1]}), ignored);
  }
};
} // namespace
