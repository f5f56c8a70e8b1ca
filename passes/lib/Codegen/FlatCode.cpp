//===- FlatCode.cpp - Loops over flat buffers -----------------------------===//

#include "tacq/Codegen/FlatCode.h"

using namespace mlir;
using namespace tacq;

Value FlatCode::inputBuffer(Value tensor) {
  std::optional<unsigned> input = tensor ? k.inputOf(tensor) : std::nullopt;
  return input ? k.inputBuffer(*input) : Value();
}

Value FlatCode::outputBuffer(Value tensor) {
  Operation *yield = k.region().front().getTerminator();
  auto found = llvm::find(yield->getOperands(), tensor);
  return found == yield->operand_end()
             ? Value()
             : k.outputBuffer(std::distance(yield->operand_begin(), found));
}

SmallVector<Value> FlatCode::loop(Value first, Value last, int64_t step, ValueRange carried,
                                  function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = b.create<scf::ForOp>(first, last, k.index(step), carried);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  // Without carried values the loop has been built with its terminator.
  if (!next.empty())
    b.create<scf::YieldOp>(next);
  return SmallVector<Value>(loop.getResults());
}

void FlatCode::loop(Value first, Value last, int64_t step, function_ref<void(Value)> body) {
  loop(first, last, step, {}, [&](Value i, ValueRange) {
    body(i);
    return SmallVector<Value>();
  });
}

void FlatCode::when(Value condition, function_ref<void()> then) {
  auto branch = b.create<scf::IfOp>(condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  then();
}
