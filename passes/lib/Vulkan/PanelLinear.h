//===- PanelLinear.h - Panels of mixed-precision weights --------*- C++ -*-===//
//
// The kernel of EmitPanelLinear.cpp; what its circuits give is in EmitPanelCircuit.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_PANELLINEAR_H
#define TACQ_LIB_VULKAN_PANELLINEAR_H

#include "WorkgroupCode.h"
#include "tacq/Codegen/MixedFormat.h"

namespace tacq {

constexpr int64_t quadBytes = 16, wordBytes = 4, halfBytes = 2;
/// Words that neighbouring invocations read of four rows each.
constexpr int64_t rowQuads = formatTileRows / 4;
/// What a large device runs at once.
constexpr int64_t invocationsAtOnce = 8192 * 32;
/// Slots that an invocation has under way at once.
constexpr int64_t slotsAtOnce = 2;

class PanelLinear : WorkgroupCode {
public:
  PanelLinear(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  /// Whether the operation has a kernel of this form; else another one must be used.
  bool collect();
  void emit();

private:
  struct Weight {
    MixedFormat format;
    mlir::Value bytes, words, quads, halves, shorts, bias, output;
  };
  /// What an invocation does of a panel.
  struct Place {
    const Weight *weight;
    mlir::Value panel, row;
    /// The number among those of the weight, and parts of it.
    mlir::Value local, rowQuad, part, tile;
    /// The slots of the panel: where they begin, how many there are.
    mlir::Value slotsAt, slots;
    mlir::Value prefix, prefixAt;
    /// The number of slots of the tiles that the invocation counts.
    llvm::SmallVector<mlir::Value, 2> counts;
  };
  using Rows = llvm::SmallVector<mlir::Value, 4>;

  bool addWeight(unsigned i);
  Place placeOf(const Weight &weight, mlir::Value panel, mlir::Value row, unsigned number);
  Rows groupScales(const Place &place, mlir::Value group);
  Rows groupZeros(const Place &place, mlir::Value group);
  Rows planeDots(const Place &place, mlir::Value tile);
  llvm::SmallVector<Rows> levelTerms(const Place &place);
  Rows levelDots(const Place &place, mlir::Value tile, llvm::ArrayRef<Rows> terms);
  mlir::Value loadCodes(const Place &place, mlir::Value tile, size_t plane, int64_t number);
  llvm::SmallVector<mlir::Value> inputWords(const Place &place, mlir::Value tile);
  Rows tiles(const Place &place);
  void loadCounts(Place &place, unsigned number);
  void sumCounts(Place &place, unsigned number);
  mlir::Value slotTile(const Place &place, mlir::Value slot);
  mlir::Value addSlots(const Place &place);
  mlir::Value addList(const Place &place);
  mlir::Value inputNumber(const Place &place, mlir::Value column);
  mlir::Value half(const Weight &weight, mlir::Value byteAt, bool aligned);
  void store(const Rows &sums, mlir::Value extra);
  void emitPanels(llvm::ArrayRef<Weight> part, mlir::Value panel, mlir::Value row);

  /// Partial sums that one weight has: one of 16 rows for each subgroup, but at least for so many.
  int64_t partials() const { return ownInvocations / std::max<int64_t>(rowQuads, subgroup()); }
  int64_t extras() const { return ownInvocations / std::max<int64_t>(formatTileRows, subgroup()); }

  LinearOp op;
  int64_t inputColumns = 0, blocks = 0, block = 0;
  /// Columns that an invocation multiplies of a tile, and how many share a tile's rows.
  int64_t partColumns = 0, parts = 0;
  int64_t ownInvocations = 0, tilesOfPrefix = 1;
  Sym rowCount;
  mlir::Value x, xWords, xScales, residual;
  mlir::Value sumsMemory, extrasMemory, prefixMemory, totalsMemory;
  bool anyCircuit = false;
  llvm::SmallVector<Weight, 2> weights;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_PANELLINEAR_H
