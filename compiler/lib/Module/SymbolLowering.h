//===- SymbolLowering.h - Symbolic expressions for the runtime --*- C++ -*-===//
//
// Turns expressions into operations on the module's symbol table. An expression is computed once:
// in the prologue, or, where it depends on integers that are read while the model runs, in the Eval
// command that follows the read.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_MODULE_SYMBOLLOWERING_H
#define TACQ_MODULE_SYMBOLLOWERING_H

#include "tacq/Dialect/TACQ/Sym.h"
#include "tacq/format/module_generated.h"
#include "llvm/ADT/StringMap.h"

namespace tacq {

class SymbolLowering {
public:
  explicit SymbolLowering(format::ModuleT &module) : module(module) {}

  /// A new symbol that something else defines: an input dimension, a capacity, the node number.
  uint32_t define(llvm::StringRef name);
  bool isDefined(llvm::StringRef name) const { return symbols.count(name); }
  /// The symbol that holds the value of an expression; its names must be defined.
  uint32_t lower(const Sym &value);
  uint32_t lower(int64_t value) { return lower(Sym(value)); }
  /// Names symbol `%name[i]`, read from element i of a buffer.
  void read(llvm::StringRef name, uint32_t buffer, int64_t count);
  void capacity(llvm::StringRef name, uint32_t state);
  void require(const Sym &lhs, const Sym &rhs, bool atMost, llvm::StringRef message);

  /// Ends the operations that run so far; those that follow run in another Eval. Returns the range
  /// [begin, count) that has been ended.
  std::pair<uint32_t, uint32_t> endSegment();

private:
  uint32_t emit(format::SymbolOpcode opcode, uint32_t a, uint32_t b, int64_t imm = 0);
  uint32_t lowerAtom(const Sym::Atom &atom);

  format::ModuleT &module;
  llvm::StringMap<uint32_t> symbols;
  uint32_t segmentBegin = 0;
};

} // namespace tacq

#endif // TACQ_MODULE_SYMBOLLOWERING_H
