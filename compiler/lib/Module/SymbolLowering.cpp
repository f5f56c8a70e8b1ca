//===- SymbolLowering.cpp - Symbolic expressions for the runtime ----------===//

#include "SymbolLowering.h"
#include <cassert>

using namespace tacq;
using namespace tacq::format;

uint32_t SymbolLowering::define(llvm::StringRef name) {
  uint32_t symbol = module.symbol_count++;
  symbols[name] = symbol;
  return symbol;
}

uint32_t SymbolLowering::emit(SymbolOpcode opcode, uint32_t a, uint32_t b, int64_t imm) {
  uint32_t symbol = module.symbol_count++;
  module.symbol_ops.push_back(format::SymbolOp(opcode, 0, symbol, a, b, imm));
  return symbol;
}

uint32_t SymbolLowering::lowerAtom(const Sym::Atom &atom) {
  auto known = symbols.find(atom.key);
  if (known != symbols.end())
    return known->second;
  assert(atom.kind != Sym::AtomKind::Name && "a name that nothing defines");
  static const SymbolOpcode opcodes[] = {SymbolOpcode_Const, SymbolOpcode_FloorDiv,
                                         SymbolOpcode_Mod, SymbolOpcode_Min, SymbolOpcode_Max};
  uint32_t a = lower(atom.operands[0]);
  uint32_t b = lower(atom.operands[1]);
  return symbols[atom.key] = emit(opcodes[size_t(atom.kind)], a, b);
}

uint32_t SymbolLowering::lower(const Sym &value) {
  std::string text = value.str();
  auto known = symbols.find(text);
  if (known != symbols.end())
    return known->second;
  if (std::optional<int64_t> constant = value.constant())
    return symbols[text] = emit(SymbolOpcode_Const, 0, 0, *constant);
  std::optional<uint32_t> sum;
  for (const Sym::Term &term : value.terms()) {
    std::optional<uint32_t> product;
    if (term.coefficient != 1 || term.factors.empty())
      product = lower(term.coefficient);
    for (const Sym::AtomRef &factor : term.factors) {
      uint32_t symbol = lowerAtom(*factor);
      product = product ? emit(SymbolOpcode_Mul, *product, symbol) : symbol;
    }
    sum = sum ? emit(SymbolOpcode_Add, *sum, *product) : *product;
  }
  return symbols[text] = *sum;
}

void SymbolLowering::read(llvm::StringRef name, uint32_t buffer, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    symbols[("%" + name + "[" + llvm::Twine(i) + "]").str()] =
        emit(SymbolOpcode_Read, buffer, 0xFFFFFFFFu, i);
}

void SymbolLowering::capacity(llvm::StringRef name, uint32_t state) {
  symbols[name] = emit(SymbolOpcode_CacheCapacity, state, 0);
}

void SymbolLowering::require(const Sym &lhs, const Sym &rhs, bool atMost, llvm::StringRef message) {
  uint32_t a = lower(lhs), b = lower(rhs);
  module.symbol_ops.push_back(format::SymbolOp(atMost ? SymbolOpcode_CheckLe : SymbolOpcode_CheckEq,
                                               0, 0, a, b, int64_t(module.messages.size())));
  module.messages.push_back(message.str());
}

std::pair<uint32_t, uint32_t> SymbolLowering::endSegment() {
  uint32_t begin = segmentBegin;
  segmentBegin = module.symbol_ops.size();
  return {begin, segmentBegin - begin};
}
