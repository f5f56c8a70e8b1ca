//===- Reproducer.h - Whose fault a failed compilation is -------*- C++ -*-===//

#ifndef TACQ_REPRODUCER_H
#define TACQ_REPRODUCER_H

#include "mlir/IR/BuiltinOps.h"
#include "tacq/Error.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/StringRef.h"

namespace mlir {
class PassManager;
} // namespace mlir

namespace tacq {

/// Runs the passes over `module`. Their errors say by their first word whose fault they are:
/// "unsupported node …" is TACQ_UNSUPPORTED, "node '…" TACQ_INVALID_INPUT. Anything else, and a
/// crash, is TACQ_INTERNAL, and the message names a file in the folder for temporary files that
/// holds the IR before the passes and their pipeline (`tacq-opt --run-reproducer FILE`). `file` is
/// the model's file name, which begins each line of the message.
Error runPasses(mlir::PassManager &manager, mlir::ModuleOp module, llvm::StringRef file);

/// Runs `step`, which generates code for `module` and leaves it unchanged. If it fails with
/// TACQ_INTERNAL or crashes, the message names a file with the text of `module`. If it crashes in a
/// way after which memory cannot be allocated, the process ends with the status of internal errors.
Error runGuarded(mlir::ModuleOp module, llvm::StringRef file, llvm::function_ref<Error()> step);

} // namespace tacq

#endif // TACQ_REPRODUCER_H
