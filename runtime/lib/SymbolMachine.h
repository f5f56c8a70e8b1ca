//===- SymbolMachine.h - Executes symbol operations -------------*- C++ -*-===//
//
// The arithmetic on dimensions: Module.symbol_ops. Everything that can go wrong with values
// (overflow, division by zero, failed checks, elements out of range) ends in an Error.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_SYMBOLMACHINE_H
#define TACQ_LIB_SYMBOLMACHINE_H

#include "tacq/Error.h"
#include "tacq/ModuleView.h"

#include <cstdint>
#include <vector>

namespace tacq {

/// Where the operations find what is not a symbol.
class SymbolSource {
public:
  /// Copies the element (of `size` bytes) number `element` of a buffer.
  virtual Error readElement(uint32_t buffer, int64_t element, void *value, int64_t size) = 0;

protected:
  ~SymbolSource() = default;
};

struct SymbolContext {
  const ModuleView *view = nullptr;
  int64_t *symbols = nullptr;
  const std::vector<std::vector<int64_t>> *inputDims = nullptr;
  const std::vector<int64_t> *capacities = nullptr; // by state
  SymbolSource *source = nullptr;
  /// By symbol: nonzero when a change of it must set `changed`. May be null.
  const uint8_t *watched = nullptr;
  bool changed = false;
};

/// Executes symbol_ops[begin, begin + count); the range is inside the module's operations.
Error executeSymbolOps(SymbolContext &context, uint32_t begin, uint32_t count);

/// An element as Read converts it. TACQ_INVALID_INPUT for values that no int64 holds.
Error elementToInteger(format::ElementType type, const void *bytes, int64_t &value);

} // namespace tacq

#endif // TACQ_LIB_SYMBOLMACHINE_H
