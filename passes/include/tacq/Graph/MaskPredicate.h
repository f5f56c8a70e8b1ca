//===- MaskPredicate.h - Which keys an attention mask lets be seen -*- C++ -*-===//

#ifndef TACQ_GRAPH_MASKPREDICATE_H
#define TACQ_GRAPH_MASKPREDICATE_H

#include "tacq/Dialect/TACQ/TACQDialect.h"
#include <string>

namespace tacq {

/// A mask as the model applies it to the scores.
struct Mask {
  enum Kind {
    Additive, ///< added; 0 leaves a key visible
    Keep,     ///< a condition that holds for visible keys
    Drop,     ///< a condition that holds for invisible keys
  };
  mlir::Value value;
  Kind kind;
  /// What the sum of scores and mask is multiplied by afterwards.
  double scale = 1;
};

struct AttentionSizes {
  Sym batch, queries, keys, past;
};

/// The conjunction of what is given; nothing given: every key is visible.
struct MaskPredicate {
  /// Key t is visible to query s only if t <= s + past.
  bool causal = false;
  /// An input of the model, [batch, keys]: key t is visible only where it is not zero.
  mlir::Value keyMask;
};

/// Numbers at or below this are as good as minus infinity in a mask.
inline constexpr double kInvisible = -1e4;

/// Finds the predicate that the mask computes, by evaluating it at many sizes and for many values
/// of the one integer or bool input of shape [batch, keys] that it may depend on. A query that sees
/// no key by the predicate may see all keys in the model: models do either, and such rows are
/// padding. nullopt with a reason if no predicate fits.
std::optional<MaskPredicate> recognizeMask(const Mask &mask, const AttentionSizes &sizes,
                                           std::string &reason);

} // namespace tacq

#endif // TACQ_GRAPH_MASKPREDICATE_H
