//===- Disassembly.h - The machine code of a module -------------*- C++ -*-===//

#ifndef TACQ_TOOLS_DISASSEMBLY_H
#define TACQ_TOOLS_DISASSEMBLY_H

#include "tacq/ModuleView.h"

#include <string>

namespace tacq::tools {

/// Writes the machine code of the executables to stdout by way of llvm-objdump. `target` and
/// `kernel` choose one; empty: all. TACQ_INVALID_ARGUMENT when there is no such target or kernel,
/// TACQ_UNSUPPORTED without llvm-objdump or for code that is not ELF.
Error disassemble(const ModuleView &view, const std::string &target, const std::string &kernel);

} // namespace tacq::tools

#endif // TACQ_TOOLS_DISASSEMBLY_H
