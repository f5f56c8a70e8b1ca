//===- PanelLinear.h - Panels of mixed-precision weights --------*- C++ -*-===//
//
// The kernel of EmitPanelLinear.cpp; the row that it multiplies is in EmitPanelRow.cpp, what its
// tiles and circuits give in EmitPanelTile.cpp and EmitPanelCircuit.cpp.
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_PANELLINEAR_H
#define TACQ_LIB_VULKAN_PANELLINEAR_H

#include "RowShaders.h"
#include "tacq/Codegen/MixedOperands.h"

namespace tacq {

constexpr int64_t quadBytes = 16, wordBytes = 4, halfBytes = 2;
/// Words that neighbouring invocations read of four rows each.
constexpr int64_t rowQuads = formatTileRows / 4;

class PanelLinear : WorkgroupCode, MixedOperands {
public:
  PanelLinear(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  /// Whether the operation has a kernel of this form; else another one must be used.
  bool collect();
  void emit();

private:
  using Values = llvm::SmallVector<mlir::Value>;
  using Rows = llvm::SmallVector<mlir::Value, 4>;

  struct Weight {
    MixedFormat format;
    mlir::Value bytes, words, quads, halves, shorts, bias, output;
  };
  /// What an invocation does of each panel of a weight.
  struct Place {
    const Weight *weight;
    /// The number of the weight among those that the workgroup does at once.
    unsigned number;
    /// The number of the invocation among those of the weight, and parts of it.
    mlir::Value local, rowQuad, part, tile;
    mlir::Value row; // of the input
  };
  /// What an invocation has read of a tile: codes of all planes, and numbers of its group.
  struct Tile {
    Values codes, scales;
    mlir::Value zeros;
  };
  /// What is read of a panel's circuit before the invocation's slots are known.
  struct Counts {
    /// The number of slots of the tiles that the invocation counts.
    Values counts;
    /// The numbers of the panel's first slot and of the next panel's.
    mlir::Value first, next;
  };
  bool addWeight(const Operand &operand);
  void chooseShape();
  Place placeOf(const Weight &weight, mlir::Value row, unsigned number);
  /// What `compute` gives for the weight that the invocation works at.
  Values ofOwn(llvm::ArrayRef<Place> places, llvm::function_ref<Values(const Place &)> compute);

  // The row of the input.
  bool findRepeatedRow();
  /// Before the flags are waited for: what the row needs besides activations.
  void loadGain();
  void stageRow(mlir::Value row);
  void makeRow();
  llvm::SmallVector<Values> loadSources(llvm::ArrayRef<mlir::Value> columns);
  llvm::SmallVector<Values> computeElements(llvm::ArrayRef<mlir::Value> columns);
  void copyRow(mlir::Value row);
  Values loadRun(mlir::Value buffer, mlir::Value at, int64_t count);
  mlir::Value inputQuad(const Place &place, mlir::Value number);
  mlir::Value inputFactor(const Place &place, mlir::Value block, bool ofSum);
  mlir::Value inputNumber(const Place &place, mlir::Value column);

  // Tiles.
  Tile loadTile(const Place &place, mlir::Value panel, mlir::Value tile);
  mlir::Value insideTile(const Place &place, mlir::Value tile);
  Values inputWords(const Place &place, mlir::Value tile, int64_t plane);
  Rows planeDots(const Place &place, const Tile &tile, llvm::ArrayRef<mlir::Value> input);
  llvm::SmallVector<Rows> levelTerms(const Place &place, mlir::Value panel);
  Rows levelDots(const Place &place, const Tile &tile, llvm::ArrayRef<mlir::Value> input,
                 llvm::ArrayRef<Rows> terms);
  Rows scalesOf(const Tile &tile);
  Rows zerosOf(const Place &place, const Tile &tile);
  Rows sumTiles(const Place &place, mlir::Value panel, const Tile &first);
  Values flatten(const Tile &tile);
  Tile tileOf(const Place &place, mlir::ValueRange values);

  // Circuits.
  Counts loadCounts(const Place &place, mlir::Value panel);
  void sumCounts(const Place &place, const Counts &counts);
  mlir::Value lastPrefix(const Place &place);
  mlir::Value slotCount(const Place &place);
  mlir::Value slotWord(const Place &place, mlir::Value byteAt);
  mlir::Value slotsAt(const Place &place, mlir::Value panel, const Counts &counts);
  Values loadChunk(const Place &place, mlir::Value panel, const Counts &counts);
  void storeChunk(const Place &place, mlir::ValueRange words);
  void copyChunk(const Place &place, mlir::Value panel, const Counts &counts, mlir::Value base);
  void storeTiles(const Place &place, mlir::Value base);
  mlir::Value slotTerm(const Place &place, mlir::Value base, mlir::Value slot);
  mlir::Value addChunk(const Place &place, mlir::Value base, mlir::Value sum);
  mlir::Value addSlots(llvm::ArrayRef<Place> places, mlir::Value panel,
                       llvm::ArrayRef<Counts> counts);
  mlir::Value addList(const Place &place, mlir::Value panel);
  static int64_t slotWords(const MixedFormat &format);

  // Panels.
  mlir::Value panelOf(const MixedFormat &format, mlir::Value number);
  struct Begun {
    Values tile;
    llvm::SmallVector<Counts, 2> counts;
    /// Which of the weight's rows the invocation stores the result of, in the end.
    mlir::Value feature;
  };
  Begun beginPanel(llvm::ArrayRef<Place> places, mlir::Value panel);
  void prepareSlots(llvm::ArrayRef<Place> places, mlir::Value panel, const Begun &begun);
  void prepareCircuit(llvm::ArrayRef<Place> places, mlir::Value panel, const Begun &begun);
  void finishPanel(llvm::ArrayRef<Place> places, mlir::Value panel, const Begun &begun);
  void storeSums(const Rows &sums, mlir::Value extra);
  mlir::Value featureOf(const Weight &weight, mlir::Value panel);
  void storeRows(llvm::ArrayRef<Place> places, mlir::Value panel, mlir::Value feature,
                 mlir::Value residual, bool anyExtra);
  void emitPanel(llvm::ArrayRef<Weight> part, mlir::Value panel, mlir::Value row);

  /// Partial sums that one weight has: one of 16 rows for each subgroup, but at least for so many.
  int64_t partials() const { return ownInvocations / std::max<int64_t>(rowQuads, subgroup()); }
  int64_t extras() const { return ownInvocations / std::max<int64_t>(formatTileRows, subgroup()); }
  int64_t slotStride() const { return ownInvocations / formatTileRows; }
  void chooseChunk(int64_t sharing);
  int64_t tileStep() const { return ownInvocations / (rowQuads * parts); }

  LinearOp op;
  /// Columns that an invocation multiplies of a tile, and how many share a tile's rows.
  int64_t partColumns = 0, parts = 0;
  int64_t ownInvocations = 0;
  /// Slots of a weight that are in shared memory at once: few panels have more.
  int64_t chunkSlots = 0;
  /// What each weight has in the memory of sums over counts and of slots.
  int64_t prefixTiles = 0, chunkWords = 0;
  mlir::Value xWords;
  /// The row in shared memory, where it fits: its integers 16 at a time, its blocks' scales.
  mlir::Value rowQuadsMemory, rowScalesMemory, normMemory;
  /// How the kernel may make the row itself.
  QuantizeRowsOp quantize;
  NormOp norm;
  /// What it is made from, in the kernel's region and in memory.
  Values sourceTensors, sources;
  mlir::Value gain;
  llvm::SmallVector<Values> gains;
  mlir::Value sumsMemory, extrasMemory;
  mlir::Value prefixMemory, totalsMemory, slotsMemory, tilesMemory;
  bool anyCircuit = false;
  llvm::SmallVector<Weight, 2> weights;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_PANELLINEAR_H
