//===- SymbolicValues.h - Shape arithmetic of inference functions -*- C++ -*-===//
//
// What the inference functions of the operator tables use to compute with integer tensors whose
// elements are symbolic expressions, and to hand what they found to the code of the kernel.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_OPS_SYMBOLICVALUES_H
#define TACQ_LIB_OPS_SYMBOLICVALUES_H

#include "tacq/Ops/OpSpec.h"

namespace tacq {

//===--- Elements of results ------------------------------------------------===//

/// One element of a result from the operands' elements; nullopt if it is not an expression.
using FoldFn = std::optional<Sym> (*)(llvm::ArrayRef<Sym> operands);
/// The known elements of result 0, whose type has been set, of an operator that works on each
/// element of its broadcast operands.
void foldElementwise(InferContext &c, FoldFn fold);

/// The known elements of a result, whose type has been set, that holds elements of one operand:
/// `source` gives the operand's index for an index of the result.
using SourceFn = llvm::function_ref<llvm::SmallVector<int64_t>(llvm::ArrayRef<int64_t> index)>;
void foldMovement(InferContext &c, unsigned operand, unsigned result, SourceFn source);

/// Sets the elements of a result, whose type has been set, if they are worth to be kept.
void setElements(InferContext &c, unsigned result, llvm::ArrayRef<Sym> values);
/// As `foldMovement` where the result has the operand's elements in the same order.
void foldView(InferContext &c, unsigned operand = 0);

/// Advances a row-major index; false behind the last one.
bool nextIndex(llvm::MutableArrayRef<int64_t> index, llvm::ArrayRef<int64_t> extents);

//===--- Conditions as expressions ------------------------------------------===//

/// 1 if a == b, else 0.
Sym whenEqual(const Sym &a, const Sym &b);
/// 1 if x < 0, else 0.
Sym whenNegative(const Sym &x);
/// 1, 0 or -1.
Sym signOf(const Sym &x);
/// a / b rounded towards zero; b > 0 or b constant, else nullopt.
std::optional<Sym> truncatingDiv(const Sym &a, const Sym &b);
/// The number of steps from `start` (inclusive) to `end` (exclusive); `step` may be negative.
Sym stepCount(const Sym &start, const Sym &end, const Sym &step);

/// `values[j]` belongs to axis `axes[j]` (negative ones count from the end); gives the value of
/// each axis, or `others[axis]` where it is not listed. Axes may be known at run time only.
Dims perAxis(llvm::ArrayRef<Sym> axes, llvm::ArrayRef<Sym> values, llvm::ArrayRef<Sym> others);

//===--- From inference to the kernel ---------------------------------------===//

/// Keeps expressions in the node, under a name of its own among the attributes.
void recordSymbols(NodeOp node, llvm::StringRef name, llvm::ArrayRef<Sym> values);
Dims recordedSymbols(NodeOp node, llvm::StringRef name);

/// The dimensions that the file declares for a result, if all are constant.
std::optional<Dims> declaredDims(InferContext &c, unsigned result);

} // namespace tacq

#endif // TACQ_LIB_OPS_SYMBOLICVALUES_H
