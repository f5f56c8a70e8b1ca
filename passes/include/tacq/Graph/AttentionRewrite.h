//===- AttentionRewrite.h - From matched parts to tacq.attention -*- C++ -*-===//

#ifndef TACQ_GRAPH_ATTENTIONREWRITE_H
#define TACQ_GRAPH_ATTENTIONREWRITE_H

#include "tacq/Graph/GraphMatch.h"
#include "tacq/Graph/HeadLayout.h"
#include "tacq/Graph/MaskPredicate.h"
#include <map>

namespace tacq {

/// Keys or values of one attention, with the cache in front of the new ones.
struct CachedHeads {
  /// The new ones, or all if there is no cache.
  HeadView heads;
  /// The cache, [B, H, P, D], or [B, P, H, D] if `sequenceMajor`; null without one.
  mlir::Value past;
  bool sequenceMajor = false;
  /// The value that holds cache and new ones together in the cache's order; null if there is none.
  mlir::Value present;
};

/// Finds what the keys or values `value` (four axes in the order `order`) are made of.
std::optional<CachedHeads> findCachedHeads(mlir::Value value, HeadLayout order,
                                           std::string &reason);

struct AttentionParts {
  /// The operation that computes the result; the new one takes its place.
  mlir::Operation *anchor;
  std::string nodeName;
  HeadView query;
  CachedHeads key, value;
  double scale = 1;
  bool causal = false;
  llvm::SmallVector<Mask> masks;
};

/// Makes tacq.attention operations for one function and remembers what masks are.
class AttentionRewriter {
public:
  AttentionRewriter(mlir::Block &block, MatchReport &report) : block(block), report(report) {}

  /// The new operation, its result [B, S, H, D]; null with a reason if the parts do not fit. All
  /// uses of the present keys and values that come later are redirected to it.
  AttentionOp rewrite(const AttentionParts &parts, std::string &reason);

private:
  struct Known {
    std::optional<MaskPredicate> predicate;
    std::string reason;
  };
  const Known &classify(const Mask &mask, const AttentionSizes &sizes);
  mlir::Value biasOf(GraphBuilder &builder, llvm::ArrayRef<Mask> masks, mlir::Type element,
                     const AttentionSizes &sizes, std::string &reason);
  void requireEqual(mlir::Location loc, mlir::BlockArgument input, unsigned axis,
                    const Sym &wanted);
  std::string describe(const Sym &sym);

  mlir::Block &block;
  MatchReport &report;
  std::map<std::pair<void *, std::string>, Known> known;
};

} // namespace tacq

#endif // TACQ_GRAPH_ATTENTIONREWRITE_H
