//===- ProductMode.h - tacq-bench --rotate ----------------------*- C++ -*-===//

#ifndef TACQ_TOOLS_PRODUCTMODE_H
#define TACQ_TOOLS_PRODUCTMODE_H

#include "ProductBenchmark.h"

namespace tacq::tools {

/// Measures the product of a module and prints what it found.
Error runProductMode(const ProductBenchmarkOptions &options, bool json);

} // namespace tacq::tools

#endif // TACQ_TOOLS_PRODUCTMODE_H
