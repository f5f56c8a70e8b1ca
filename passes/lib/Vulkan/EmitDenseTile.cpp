//===- EmitDenseTile.cpp - Products of many rows with dense weights -------===//
//
// A step of columns of the weights and of the rows is put into shared memory in f32, and summed in
// f32: numbers are those of the kernel for a row.
//
//===----------------------------------------------------------------------===//

#include "RowTile.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace tacq;

namespace {

/// Columns that are in memory at once, and a row of the input there, padded so that rows do not
/// meet in the same banks.
constexpr int64_t stepColumns = 32, inputStride = stepColumns + 1;

class DenseTile : public RowTile {
public:
  DenseTile(KernelBuilder &k, LinearOp op, VulkanProfileAttr profile) : RowTile(k, op, profile) {}
  bool collect();

private:
  struct Weight {
    Value buffer;
    int64_t features;
    PanelAttr panel; // null: row-major
    bool rowsFirst;
  };

  Values emitSums(size_t first, Value tile, Value rowTile) override;
  Value weightAt(const Weight &weight, Value feature, Value column);
  void stage(size_t first, Value tile, Value rowTile, Value column);
  void multiply(Values &sums, Value column);

  Sym depth;
  Value x, weightMemory, inputMemory;
  SmallVector<Weight, 3> weights;
};

bool DenseTile::collect() {
  x = inputBuffer(op.getX());
  depth = k.dims(op.getX()).back();
  if (!x || !collectRows())
    return false;
  for (auto [i, operand] : llvm::enumerate(op.getWeights())) {
    Weight weight;
    if (op.getWeightLayouts())
      weight.panel = dyn_cast<PanelAttr>((*op.getWeightLayouts())[i]);
    weight.rowsFirst =
        WeightOrder(cast<IntegerAttr>(op.getWeightOrder()[i]).getInt()) == WeightOrder::NK;
    std::optional<int64_t> features = k.dims(operand)[weight.rowsFirst ? 0 : 1].constant();
    weight.buffer = inputBuffer(operand);
    if (!features || !weight.buffer || (op.getWeightLayouts() && !weight.panel) ||
        !addOutput(i, *features))
      return false;
    weight.features = *features;
    weights.push_back(weight);
  }
  weightMemory = shared(stepColumns * tileFeatures, b.getF32Type());
  inputMemory = shared(tileRows() * inputStride, b.getF32Type());
  return true;
}

Value DenseTile::weightAt(const Weight &weight, Value feature, Value column) {
  Value count = k.sym(depth);
  if (weight.panel) {
    int64_t width = weight.panel.getWidth();
    Value start = times(k.mul(quotient(feature, k.index(width)), count), width);
    return k.add(k.add(start, times(column, width)), remainder(feature, k.index(width)));
  }
  return weight.rowsFirst ? k.add(k.mul(feature, count), column)
                          : k.add(times(column, weight.features), feature);
}

/// Puts the columns from `column` on into memory, zeros for those behind the last one.
void DenseTile::stage(size_t first, Value tile, Value rowTile, Value column) {
  Value last = k.sub(k.sym(depth), k.index(1));
  auto put = [&](Value number, Value own, Value memory, Value at) {
    storeShared(k.select(k.lessEqual(own, last), number, f(0.0)), memory, at);
  };
  Value inStep = remainder(thread(), k.index(stepColumns)), own = k.add(column, inStep);
  loop(quotient(thread(), k.index(stepColumns)), k.index(tileRows()), workgroup() / stepColumns,
       [&](Value row) {
         Value at = k.add(k.mul(inputRow(rowTile, row), k.sym(depth)), k.min(own, last));
         put(ShaderCode::load(x, at), own, inputMemory, k.add(times(row, inputStride), inStep));
       });
  // Neighbouring invocations read what stands side by side.
  for (int64_t i = 0; i < sharing(); ++i) {
    const Weight &weight = weights[first + size_t(i)];
    int64_t features = tileFeatures / sharing();
    bool columnsFirst = !weight.panel && weight.rowsFirst;
    int64_t inner = columnsFirst ? stepColumns : features;
    loop(thread(), k.index(stepColumns * features), workgroup(), [&](Value number) {
      Value inRun = remainder(number, k.index(inner)), run = quotient(number, k.index(inner));
      Value inStep = columnsFirst ? inRun : run, inTile = columnsFirst ? run : inRun;
      Value feature = k.min(k.add(times(tile, features), inTile), k.index(weight.features - 1));
      Value own = k.add(column, inStep);
      Value value = ShaderCode::load(weight.buffer, weightAt(weight, feature, k.min(own, last)));
      put(value, own, weightMemory, k.add(times(inStep, tileFeatures), plus(inTile, i * features)));
    });
  }
}

void DenseTile::multiply(Values &sums, Value column) {
  Values factors, numbers;
  for (int64_t i = 0; i < ownPanels; ++i)
    factors.push_back(
        loadShared(weightMemory, k.add(times(column, tileFeatures), plus(lane(), i * panelRows))));
  for (int64_t j = 0; j < ownRows; ++j)
    numbers.push_back(
        loadShared(inputMemory, k.add(times(plus(firstRow(), j), inputStride), column)));
  for (int64_t i = 0; i < ownPanels; ++i)
    for (int64_t j = 0; j < ownRows; ++j) {
      Value &sum = sums[size_t(i * ownRows + j)];
      sum = k.add(sum, k.mul(numbers[size_t(j)], factors[size_t(i)]));
    }
}

RowTile::Values DenseTile::emitSums(size_t first, Value tile, Value rowTile) {
  Values sums(size_t(ownPanels * ownRows), f(0.0));
  return loop(k.index(0), k.sym(depth), stepColumns, sums, [&](Value column, ValueRange now) {
    stage(first, tile, rowTile, column);
    barrier();
    Values next = loop(k.index(0), k.index(stepColumns), 1, now, [&](Value own, ValueRange sums) {
      Values result(sums);
      multiply(result, own);
      return result;
    });
    barrier();
    return next;
  });
}

} // namespace

bool tacq::emitDenseTileShader(KernelBuilder &kernel, LinearOp op, VulkanProfileAttr profile) {
  DenseTile shader(kernel, op, profile);
  if (!shader.collect())
    return false;
  shader.emit();
  return true;
}
