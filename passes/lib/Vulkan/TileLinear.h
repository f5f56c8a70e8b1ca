//===- TileLinear.h - Tiles of products of many rows ------------*- C++ -*-===//
//
// A product of many rows is done by two shaders: one decodes weights and rows to f16 in the
// workspace (TileDecode.cpp), the other multiplies (EmitTileLinear.cpp). How weights are decoded is
// in TileWeights.cpp. Dense factors of f16 are multiplied from where they are (TileDense.cpp).
//
//===----------------------------------------------------------------------===//

#ifndef TACQ_LIB_VULKAN_TILELINEAR_H
#define TACQ_LIB_VULKAN_TILELINEAR_H

#include "WorkgroupCode.h"
#include "tacq/Codegen/MixedOperands.h"

namespace tacq {

/// What a workgroup makes: so many features of so many rows of the input, and each of its
/// subgroups.
struct TileShape {
  int64_t features = 128, rows = 128;
  int64_t ownFeatures = 64, ownRows = 64;
  int64_t subgroups() const { return features / ownFeatures * (rows / ownRows); }
};

/// Columns that are in shared memory at once, and the steps of a tile of the weights.
constexpr int64_t stepColumns = 32, stepsOfTile = formatTileColumns / stepColumns;
/// Words of 16 bytes: of f16 numbers, of the columns of a step, and of a row in shared memory,
/// padded so that neighbouring rows do not meet in its banks.
constexpr int64_t quadHalves = 8, stepQuads = stepColumns / quadHalves, rowOfQuads = stepQuads + 1;
/// The same of a column of dense weights.
constexpr int64_t columnOfQuads(int64_t features) { return features / quadHalves + 2; }
/// A row of the input is so large in its block of the largest scale: 128 times that is still a
/// number of f16, and what is far smaller not yet a subnormal one.
constexpr double tileInputFactor = 256;
/// Rows that a workgroup decodes at once, and tiles of columns that it does.
constexpr int64_t decodedRows = 32, decodedTiles = 4;

/// A weight of mixed precision, and what an invocation decodes of it: one row of a step.
class TileWeight {
public:
  TileWeight(WorkgroupCode &code, const MixedFormat &format, mlir::Value bytes);
  /// Whether there is code for the format.
  static bool supports(const MixedFormat &format);

  /// Sets the row of the matrix as stored, and the step of each tile.
  void setPlace(mlir::Value row, mlir::Value step);
  /// What reads numbers of 8 and 16 bits needs them; codeBytes does not.
  void viewNarrow();
  /// The codes of a tile, or the levels that they stand for: words of four columns each.
  llvm::SmallVector<mlir::Value> codeBytes(mlir::Value tile);
  /// The words of f16 numbers of a tile, two columns each.
  llvm::SmallVector<mlir::Value> decode(mlir::Value tile);
  /// The circuit up to a tile: the number of the first slot, or of the first entry, that may be
  /// its.
  mlir::Value circuitBefore(mlir::Value tile);
  /// Adds what the circuit has in the tile to the invocation's numbers in shared memory, of which
  /// `first` is the first quad; gives what circuitBefore would give for the tile behind.
  mlir::Value addCircuit(mlir::Value before, mlir::Value tile, mlir::Value memory,
                         mlir::Value first);

  const MixedFormat format;

private:
  mlir::Value levelOf(mlir::Value code);
  mlir::Value levelPair(mlir::Value codes);
  llvm::SmallVector<mlir::Value> planeWords(mlir::Value tile, size_t plane);
  mlir::Value slotCount(mlir::Value tile);
  mlir::Value entryStart(mlir::Value row);
  void add(mlir::Value column, mlir::Value value, mlir::Value memory, mlir::Value first);

  WorkgroupCode &code;
  KernelBuilder &k;
  mlir::ImplicitLocOpBuilder &b;
  mlir::Value bytes, words, halves, shorts;
  mlir::Value stored, panel, lane, step;
  llvm::SmallVector<mlir::Value> levels;
};

class TileLinear : public WorkgroupCode, MixedOperands {
public:
  TileLinear(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile)
      : WorkgroupCode(k, profile), op(op) {}
  /// Whether there are shaders for the operation.
  bool collect();
  bool collectDense();
  void emitDecode();
  void emitProduct();

private:
  bool hasFeatures();
  using Group = llvm::ArrayRef<Operand>;
  using Sums = llvm::SmallVector<mlir::Value>;

  void chooseTiles();
  int64_t sharing() { return op.getGated() ? 2 : 1; }
  int64_t steps() const {
    return dense ? inputColumns / stepColumns : tilesOfColumns * stepsOfTile;
  }
  int64_t tilesOf(Group group);
  llvm::SmallVector<Group> groups();
  /// Calls `body` for the group that has tile `tile` of all groups' tiles, with the tile's number
  /// among the group's.
  void ofGroup(mlir::Value tile, llvm::function_ref<void(Group, mlir::Value)> body);
  /// Where a step of a tile of weights, or of rows, begins in the workspace: first all numbers of a
  /// quad of columns.
  mlir::Value weightBlock(mlir::Value tile, mlir::Value step);
  mlir::Value inputBlock(mlir::Value rowTile, mlir::Value step);
  /// Where the number is that sums of a row are multiplied by.
  mlir::Value scaleAt(mlir::Value row) { return k.add(k.sym(scalesAt), row); }
  void useWorkspace();

  void decodeWeights(mlir::Value task);
  void decodeRows(mlir::Value task);
  mlir::Value rowScale(mlir::Value row);

  /// A step of the group's weights and of the rows, in registers; `ofAll` is the tile's number
  /// among all groups' tiles.
  llvm::SmallVector<mlir::Value> loadStep(Group group, mlir::Value ofAll, mlir::Value tile,
                                          mlir::Value rowTile, mlir::Value step);
  llvm::SmallVector<mlir::Value> loadDense(Group group, mlir::Value tile, mlir::Value rowTile,
                                           mlir::Value step);
  void storeStep(mlir::ValueRange loaded);
  void storeDense(mlir::ValueRange loaded);
  void multiply(Sums &sums);
  void storeSums(Group group, const Sums &sums, mlir::Value tile, mlir::Value rowTile);
  void storeFeatures(Group group, mlir::Value firstQuad, int64_t apart, mlir::Value ofTile,
                     mlir::Value row, mlir::Value scale, mlir::Value tile);
  void emitTile(Group group, mlir::Value ofAll, mlir::Value tile, mlir::Value rowTile);

  LinearOp op;
  TileShape shape;
  /// Factors of f16, which are not decoded: weights in panels, of which 16 features of a column
  /// stand side by side.
  bool dense = false;
  int64_t tilesOfColumns = 0, tiles = 0;
  Sym rowTiles, many, scalesAt;
  mlir::Value xQuads, memory;
  mlir::Value workQuads, workScales;
  llvm::SmallVector<Operand, 3> weights;
};

} // namespace tacq

#endif // TACQ_LIB_VULKAN_TILELINEAR_H
