//===- Register.h - Dialects and passes of TACQ -----------------*- C++ -*-===//

#ifndef TACQ_REGISTER_H
#define TACQ_REGISTER_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace tacq {

/// TACQ's dialects, and the upstream ones that its passes create.
void registerAllDialects(mlir::DialectRegistry &registry);
/// TACQ's passes and pipelines, under their names on the command line.
void registerAllPasses();

} // namespace tacq

#endif // TACQ_REGISTER_H
