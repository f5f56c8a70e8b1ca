//===- InitAll.h - All dialects and passes of the compiler -----*- C++ -*-===//

#ifndef TACQ_INITALL_H
#define TACQ_INITALL_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace tacq {

/// The project's dialects and those of MLIR that its passes make.
void registerAllDialects(mlir::DialectRegistry &registry);
/// The project's passes and pipelines, by name.
void registerAllPasses();

} // namespace tacq

#endif // TACQ_INITALL_H
