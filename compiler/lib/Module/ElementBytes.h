//===- ElementBytes.h - Elements as a module stores them --------*- C++ -*-===//

#ifndef TACQ_MODULE_ELEMENTBYTES_H
#define TACQ_MODULE_ELEMENTBYTES_H

#include "mlir/IR/BuiltinAttributes.h"
#include "tacq/ModuleWriter.h"

namespace tacq {

/// None for mixed-precision weights.
format::ElementType formatType(mlir::Type element);
std::vector<char> elementBytes(mlir::ElementsAttr value);

} // namespace tacq

#endif // TACQ_MODULE_ELEMENTBYTES_H
