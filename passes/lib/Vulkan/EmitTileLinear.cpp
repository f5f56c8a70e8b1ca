//===- EmitTileLinear.cpp - Products of many rows through matrices --------===//
//
// A task is a tile of the result. A step of 32 columns of its weights and of its rows, decoded to
// f16 in the workspace, is read into registers while the subgroups multiply the step before by
// cooperative matrices, and goes to the shared memory then. Sums are f32. In the end they go
// through shared memory, where each invocation knows which feature and which row a number belongs
// to.
//
//===----------------------------------------------------------------------===//

#include "ShaderKernels.h"
#include "TileLinear.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace tacq;

/// Rows, columns and depth of a cooperative matrix.
static constexpr int64_t matrix = 16;
/// With fewer rows, the product of each row with its own weights takes less time.
static constexpr int64_t fewestRows = 24;
/// With fewer tiles of features than that, tiles have half as many rows.
static constexpr int64_t fewTiles = 64;
/// The first page of the workspace is not a kernel's to leave changed.
static constexpr int64_t quadBytes = 16, scaleBytes = 4;

bool TileLinear::hasFeatures() {
  for (const char *feature : {"matrix16", "int8", "int16", "float16", "storage8", "storage16"})
    if (!profile.has(feature))
      return false;
  // Of the largest tiles.
  int64_t sharedQuads = (shape.features + shape.rows) * rowOfQuads;
  return subgroup() > 1 && shape.subgroups() * subgroup() <= mostInvocations() &&
         sharedQuads * quadBytes <= mostSharedBytes();
}

bool TileLinear::collect() {
  if (!hasFeatures() || !op.getXScales())
    return false;
  std::string reason;
  auto operands = collectOperands(*this, op, reason);
  if (failed(operands) || planes > 1 || block % stepColumns != 0 ||
      llvm::any_of(*operands,
                   [](const Operand &operand) { return !TileWeight::supports(operand.format); }))
    return false;
  weights = std::move(*operands);
  tilesOfColumns = weights[0].format.columnsOfTiles;
  xQuads = view(x, quadType());
  chooseTiles();
  return !many.isConstant(0);
}

void TileLinear::chooseTiles() {
  for (Group group : groups())
    tiles += tilesOf(group);
  // Few tiles leave a large device without work: there are more of them if they are smaller.
  if (tiles < fewTiles) {
    shape.rows /= 2;
    shape.ownRows /= 2;
  }
  rowTiles = Sym::ceilDiv(rowCount, shape.rows);
  // None where there are few rows.
  many = Sym::min(1, Sym::floorDiv(rowCount, fewestRows));
}

int64_t TileLinear::tilesOf(Group group) {
  return llvm::divideCeil(group[0].format.rows * sharing(), shape.features);
}

SmallVector<TileLinear::Group> TileLinear::groups() {
  SmallVector<Group> result;
  for (size_t i = 0; i < weights.size(); i += size_t(sharing()))
    result.push_back(ArrayRef(weights).slice(i, size_t(sharing())));
  return result;
}

void TileLinear::ofGroup(Value tile, function_ref<void(Group, Value)> body) {
  SmallVector<Group> all = groups();
  auto counts = llvm::map_to_vector(all, [&](Group group) { return tilesOf(group); });
  ofPart(tile, counts, [&](size_t group, Value own) { body(all[group], own); });
}

void TileLinear::useWorkspace() {
  int64_t weightQuads = tiles * steps() * stepQuads * shape.features;
  Sym rows = rowTiles * shape.rows;
  scalesAt = Sym((workspacePageBytes + weightQuads * quadBytes) / scaleBytes) +
             rows * (steps() * stepQuads * quadBytes / scaleBytes);
  Value bytes = k.workspace(many * (scalesAt + rows) * scaleBytes, b.getI32Type());
  workQuads = view(bytes, quadType());
  workScales = view(bytes, b.getF32Type());
}

Value TileLinear::weightBlock(Value tile, Value step) {
  Value number = k.add(times(tile, steps()), step);
  return plus(times(number, stepQuads * shape.features), workspacePageBytes / quadBytes);
}

Value TileLinear::inputBlock(Value rowTile, Value step) {
  Value number = k.add(times(rowTile, steps()), step);
  return plus(times(number, stepQuads * shape.rows),
              workspacePageBytes / quadBytes + tiles * steps() * stepQuads * shape.features);
}

SmallVector<Value> TileLinear::loadStep(Group group, Value ofAll, Value tile, Value rowTile,
                                        Value step) {
  if (dense)
    return loadDense(group, tile, rowTile, step);
  SmallVector<Value> loaded;
  Value weightAt = k.add(weightBlock(ofAll, step), thread());
  for (int64_t i = 0; i < stepQuads * shape.features; i += workgroup())
    loaded.push_back(element(workQuads, plus(weightAt, i)));
  Value inputAt = k.add(inputBlock(rowTile, step), thread());
  for (int64_t i = 0; i < stepQuads * shape.rows; i += workgroup())
    loaded.push_back(element(workQuads, plus(inputAt, i)));
  return loaded;
}

void TileLinear::storeStep(ValueRange loaded) {
  if (dense)
    return storeDense(loaded);
  size_t number = 0;
  for (auto [first, rows] : {std::pair(int64_t(0), shape.features), {shape.features, shape.rows}})
    for (int64_t i = 0; i < stepQuads * rows; i += workgroup()) {
      Value own = plus(thread(), i);
      Value row = plus(remainder(own, k.index(rows)), first);
      storeShared(loaded[number++], memory,
                  k.add(times(row, rowOfQuads), quotient(own, k.index(rows))));
    }
}

/// Adds the products of what is in the memory to the sums of the subgroup.
void TileLinear::multiply(Sums &sums) {
  Value number = quotient(thread(), k.index(subgroup()));
  int64_t across = shape.features / shape.ownFeatures;
  Value feature = times(remainder(number, k.index(across)), shape.ownFeatures);
  Value row = times(quotient(number, k.index(across)), shape.ownRows);
  Type f16 = b.getF16Type();
  auto load = [&](Value at, const char *use, int64_t stride, bool transpose) -> Value {
    auto type = gpu::MMAMatrixType::get({matrix, matrix}, f16, use);
    return b.create<gpu::SubgroupMmaLoadMatrixOp>(type, memory, ValueRange{at},
                                                  b.getIndexAttr(stride),
                                                  transpose ? b.getUnitAttr() : UnitAttr());
  };
  for (int64_t part = 0; part < stepColumns / matrix; ++part) {
    SmallVector<Value> factors, inputs;
    for (int64_t i = 0; i < shape.ownFeatures; i += matrix) {
      Value own = plus(feature, i);
      if (dense)
        own =
            plus(quotient(own, k.index(quadHalves)), part * matrix * columnOfQuads(shape.features));
      else
        own = plus(times(own, rowOfQuads), part * 2);
      factors.push_back(
          load(own, "AOp", dense ? columnOfQuads(shape.features) : rowOfQuads, dense));
    }
    for (int64_t j = 0; j < shape.ownRows; j += matrix)
      inputs.push_back(load(plus(times(plus(row, shape.features + j), rowOfQuads), part * 2), "BOp",
                            rowOfQuads, true));
    size_t at = 0;
    for (Value factor : factors)
      for (Value input : inputs) {
        sums[at] = b.create<gpu::SubgroupMmaComputeOp>(sums[at].getType(), factor, input, sums[at],
                                                       UnitAttr(), UnitAttr());
        ++at;
      }
  }
}

/// Stores four neighbouring features of a row, the first of which is `ofTile`. Their sums are at
/// `firstQuad`, and those of a gated operation's second weight `apart` behind it.
void TileLinear::storeFeatures(Group group, Value firstQuad, int64_t apart, Value ofTile, Value row,
                               Value scale, Value tile) {
  auto numbers = [&](Value at) {
    Value quad = loadShared(memory, at);
    SmallVector<Value> result;
    for (int64_t i = 0; i < 4; ++i) {
      Value number = b.create<arith::BitcastOp>(b.getF32Type(), component(quad, i));
      result.push_back(k.mul(number, scale));
    }
    return result;
  };
  const Operand &weight = group[0];
  const MixedFormat &format = weight.format;
  int64_t tileFeatures = op.getGated() ? shape.features / 2 : shape.features;
  SmallVector<Value> sums = numbers(firstQuad), others;
  if (op.getGated())
    others = numbers(plus(firstQuad, apart));
  for (int64_t i = 0; i < 4; ++i) {
    Value stored = k.add(times(tile, tileFeatures), plus(ofTile, i));
    when(k.less(stored, k.index(format.rows)), [&] {
      Value feature = stored;
      if (format.sorted) {
        Value byte = element(weight.buffer, plus(stored, format.permutationAt));
        Value inBlock = toIndex(b.create<arith::ExtUIOp>(b.getI32Type(), byte));
        feature =
            k.add(times(quotient(stored, k.index(permutationBlock)), permutationBlock), inBlock);
      }
      auto withBias = [&](const Operand &weight, Value sum) {
        return weight.bias ? k.add(sum, ShaderCode::load(weight.bias, feature)) : sum;
      };
      Value y = activate(op.getActivation(), withBias(weight, sums[i]));
      if (op.getGated())
        y = k.mul(y, withBias(group[1], others[i]));
      Value at = k.add(times(row, format.rows), feature);
      if (residual)
        y = k.add(y, ShaderCode::load(residual, at));
      ShaderCode::store(y, weight.output, at);
    });
  }
}

void TileLinear::storeSums(Group group, const Sums &sums, Value tile, Value rowTile) {
  // Each subgroup has a part of the memory, and stores its sums there in several turns.
  int64_t quads = (shape.features + shape.rows) * rowOfQuads / shape.subgroups();
  int64_t sharing = this->sharing(), pairs = shape.ownFeatures / sharing;
  int64_t rowsAtOnce = shape.ownRows, pairsAtOnce = pairs, stride = 0;
  auto fits = [&] {
    stride = pairsAtOnce * sharing / 4 + 1;
    return rowsAtOnce * stride <= quads;
  };
  while (!fits())
    (rowsAtOnce > matrix ? rowsAtOnce : pairsAtOnce) /= 2;
  Value own = thread(), number = quotient(own, k.index(subgroup()));
  Value lane = remainder(own, k.index(subgroup())), first = times(number, quads);
  int64_t across = shape.features / shape.ownFeatures;
  Value ownFeature = times(remainder(number, k.index(across)), pairs);
  Value ownRow = times(quotient(number, k.index(across)), shape.ownRows);
  int64_t quadsOfRow = pairsAtOnce / 4, columns = shape.ownRows / matrix;
  for (int64_t fromRow = 0; fromRow < shape.ownRows; fromRow += rowsAtOnce)
    for (int64_t fromPair = 0; fromPair < pairs; fromPair += pairsAtOnce) {
      for (int64_t which = 0; which < sharing; ++which)
        for (int64_t i = 0; i < pairsAtOnce; i += matrix)
          for (int64_t j = 0; j < rowsAtOnce; j += matrix) {
            int64_t sum =
                (which * pairs + fromPair + i) / matrix * columns + (fromRow + j) / matrix;
            Value at = plus(first, j * stride + (which * pairsAtOnce + i) / 4);
            b.create<gpu::SubgroupMmaStoreMatrixOp>(sums[sum], memory, ValueRange{at},
                                                    b.getIndexAttr(stride), b.getUnitAttr());
          }
      barrier();
      loop(lane, k.index(rowsAtOnce * quadsOfRow), subgroup(), [&](Value i) {
        Value rowHere = quotient(i, k.index(quadsOfRow)), quad = remainder(i, k.index(quadsOfRow));
        Value rowInTile = k.add(plus(ownRow, fromRow), rowHere);
        Value row = k.add(times(rowTile, shape.rows), rowInTile);
        when(k.less(row, k.sym(rowCount)), [&] {
          Value at = k.add(first, k.add(times(rowHere, stride), quad));
          Value feature = k.add(plus(ownFeature, fromPair), times(quad, 4));
          Value scale = dense ? f(1.0) : element(workScales, scaleAt(row));
          storeFeatures(group, at, quadsOfRow, feature, row, scale, tile);
        });
      });
      barrier();
    }
}

void TileLinear::emitTile(Group group, Value ofAll, Value tile, Value rowTile) {
  Value first = k.index(0), last = k.index(steps() - 1);
  storeStep(loadStep(group, ofAll, tile, rowTile, first));
  barrier();
  auto sum = gpu::MMAMatrixType::get({matrix, matrix}, b.getF32Type(), "COp");
  int64_t matrices = shape.ownFeatures * shape.ownRows / (matrix * matrix);
  Value zero = b.create<gpu::SubgroupMmaConstantMatrixOp>(sum, f(0.0));
  SmallVector<Value> carried(size_t(matrices), zero);
  carried = loop(first, k.index(steps()), 1, carried, [&](Value step, ValueRange now) {
    Sums sums(now);
    SmallVector<Value> next = loadStep(group, ofAll, tile, rowTile, k.min(plus(step, 1), last));
    multiply(sums);
    barrier();
    storeStep(next);
    barrier();
    return sums;
  });
  storeSums(group, carried, tile, rowTile);
}

void TileLinear::emitProduct() {
  setWorkgroup(shape.subgroups() * subgroup());
  if (!dense)
    useWorkspace();
  memory = shared((shape.features + shape.rows) * rowOfQuads, quadType());
  k.parallel(many * rowTiles * tiles, [&](Value task) {
    Value count = k.sym(rowTiles), tile = quotient(task, count), rowTile = remainder(task, count);
    ofGroup(tile, [&](Group group, Value own) { emitTile(group, tile, own, rowTile); });
  });
}

bool tacq::emitDenseMatrixShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  TileLinear shader(kernel, op, profile);
  if (!shader.collectDense())
    return false;
  shader.emitProduct();
  return true;
}

bool tacq::emitTileLinearShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  TileLinear shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emitProduct();
  return true;
}
