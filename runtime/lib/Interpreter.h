//===- Interpreter.h - What tacq_interpret keeps between calls --*- C++ -*-===//
//
// One RunContext belongs to a session; tacq_run.internal points to it. Keeping the vectors here
// makes a run free of allocations.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_INTERPRETER_H
#define TACQ_LIB_INTERPRETER_H

#include "SymbolMachine.h"
#include "tacq/driver.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tacq {

/// What is derived once from a module for running it.
struct ProgramInfo {
  /// By symbol: a buffer's size or offset, or a dynamic output extent.
  std::vector<uint8_t> sizeSymbols;
  /// By block: ordinal of its first dispatch.
  std::vector<uint32_t> firstOrdinal;
  uint32_t dispatchCount = 0;

  explicit ProgramInfo(const format::Module &module);
};

struct RunContext {
  const ModuleView *view = nullptr;
  const ProgramInfo *program = nullptr;
  std::vector<int64_t> symbols;
  std::vector<std::vector<int64_t>> inputDims;
  std::vector<int64_t> capacities; // by state
  std::vector<uint8_t> isUnused;   // by slot: no kernel of the executable uses it

  void *owner = nullptr; // the session

  // Of the interpreter.
  std::vector<tacq_binding_t> bindings;
  std::vector<int64_t> slotSizes; // wanted
  std::vector<int64_t> slotReserved;
  std::vector<int64_t> outputWanted;
  std::vector<int64_t> dispatchSymbols;
};

/// Bytes of a declared tensor with the symbols' values; false when negative or an overflow.
bool tensorBytes(const format::TensorDecl &decl, const int64_t *symbols, int64_t &bytes);

/// "node '/a/b' (MatMul, model.onnx)" or "".
std::string describeNode(const format::Module &module, uint32_t node);

} // namespace tacq

#endif // TACQ_LIB_INTERPRETER_H
