//===- HeadLayout.h - How a tensor of attention heads is laid out -*- C++ -*-===//
//
// Exporters move queries, keys and values between [batch, sequence, heads * features],
// [batch, sequence, heads, features] and [batch, heads, sequence, features], and repeat key heads,
// by any mixture of Reshape, Transpose, Unsqueeze and Expand. What such a chain does is found by
// running it on numbered elements.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_GRAPH_HEADLAYOUT_H
#define TACQ_GRAPH_HEADLAYOUT_H

#include "tacq/Graph/ConcreteEvaluator.h"
#include "tacq/Graph/GraphMatch.h"

namespace tacq {

/// The letters: B batch, S sequence, H heads, D features; F is all features of all heads, Rows are
/// the sequences of all batches, one after the other.
enum class HeadLayout { BSHD, BHSD, BHDS, BSF, RowsF };

/// A tensor seen as heads[b, h, s, d].
struct HeadView {
  mlir::Value source;
  HeadLayout layout;
  Sym batch, sequence;
  int64_t heads, features;
  /// Head h of what was asked for is head h / repeat of the source.
  int64_t repeat = 1;
  /// The product of the scalars that the chain multiplies by.
  double scale = 1;
};

/// Follows `value`, four axes in the order `order` (BSHD, BHSD or BHDS), up through data movement
/// and multiplication by scalars to the earliest tensor that is one of the layouts. Only with
/// `repeated` may that have fewer heads. nullopt with a reason if no value of the chain fits.
std::optional<HeadView> findHeadView(mlir::Value value, HeadLayout order, bool repeated,
                                     std::string &reason);

/// The source as [B, S, H, D].
mlir::Value toSequenceMajor(GraphBuilder &builder, const HeadView &view);

/// Small, pairwise different sizes for all names in these dimensions. `variant` picks others.
ConcreteEvaluator::Environment sampleSizes(llvm::ArrayRef<Sym> dims, unsigned variant);

} // namespace tacq

#endif // TACQ_GRAPH_HEADLAYOUT_H
