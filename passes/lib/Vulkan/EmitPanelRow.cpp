//===- EmitPanelRow.cpp - The row that panels multiply --------------------===//
//
// A workgroup has the row in shared memory, where it fits. A single row is not read from the buffer
// of a dispatch that has quantized it: each workgroup quantizes it again, and normalizes it before,
// which takes less time than another dispatch.
//
//===----------------------------------------------------------------------===//

#include "PanelLinear.h"
#include "ShaderKernels.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"

using namespace mlir;
using namespace tacq;

static bool isLoadable(Value tensor) {
  Type type = tensor ? cast<ShapedType>(tensor.getType()).getElementType() : Type();
  return type && (type.isF16() || type.isF32());
}

bool tacq::hasPanelFeatures(VulkanProfileAttr profile) {
  return llvm::all_of(ArrayRef{"dot8", "int8", "int16", "float16", "storage8", "storage16"},
                      [&](const char *feature) { return profile.has(feature); });
}

/// What a row is made from by functions of single elements: one tensor or two of its own shape.
/// Empty if there is more to it.
static SmallVector<Value> sourcesOf(Value x) {
  SmallVector<Value> sources;
  SmallVector<Value> open = {x};
  llvm::SmallDenseSet<Value> seen;
  while (!open.empty()) {
    Value value = open.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    auto node = value.getDefiningOp<NodeOp>();
    if (!node) {
      if (!isLoadable(value) || *dimsOf(value) != *dimsOf(x))
        return {};
      sources.push_back(value);
      continue;
    }
    if (!llvm::is_contained({"Mul", "Add", "Sigmoid", "Relu", "Tanh", "Gelu"}, node.getOpType()))
      return {};
    llvm::append_range(open, node.getInputs());
  }
  return sources.size() <= 2 ? sources : SmallVector<Value>();
}

bool tacq::isRepeatedRow(QuantizeRowsOp op, VulkanProfileAttr profile) {
  int64_t columns = dimsOf(op.getX())->back().constant().value_or(1), block = op.getBlock();
  auto norm = op.getX().getDefiningOp<NormOp>();
  if (norm && (norm.getKind() != NormKind::RMS || norm.getBias() || !isLoadable(norm.getGain()) ||
               !isLoadable(norm.getX())))
    return false;
  return op->hasAttr(repeatedRowsAttribute) && hasPanelFeatures(profile) &&
         (norm || !sourcesOf(op.getX()).empty()) && columns % quantizedColumns == 0 &&
         block % quadBytes == 0 && profile.getSubgroup() >= block / quadBytes;
}

/// Looks for what the kernel holds behind the product. False if the row has to be made, and cannot.
bool PanelLinear::findRepeatedRow() {
  for (auto each : k.region().front().getOps<QuantizeRowsOp>())
    if (isRepeatedRow(each, profile))
      quantize = each;
  if (!quantize)
    return true;
  norm = quantize.getX().getDefiningOp<NormOp>();
  sourceTensors = norm ? Values{norm.getX()} : sourcesOf(quantize.getX());
  for (Value tensor : sourceTensors)
    sources.push_back(inputBuffer(tensor));
  gain = norm ? inputBuffer(norm.getGain()) : Value();
  return !llvm::is_contained(sources, Value()) && bool(gain) == bool(norm) && rowQuadsMemory;
}

/// So many numbers that stand side by side, of 16 bytes or more, in f32.
PanelLinear::Values PanelLinear::loadRun(Value buffer, Value at, int64_t count) {
  bool isHalf = cast<MemRefType>(buffer.getType()).getElementType().isF16();
  int64_t perQuad = isHalf ? quadBytes / halfBytes : quadBytes / wordBytes;
  Value quads = view(buffer, quadType()), first = quotient(at, k.index(perQuad));
  Values result;
  for (int64_t i = 0; i < count / perQuad; ++i) {
    Value quad = element(quads, plus(first, i));
    for (int64_t j = 0; j < 4; ++j) {
      Value word = component(quad, j);
      if (!isHalf) {
        result.push_back(b.create<arith::BitcastOp>(b.getF32Type(), word));
        continue;
      }
      result.push_back(halfOf(word, false));
      result.push_back(halfOf(word, true));
    }
  }
  return result;
}

void PanelLinear::loadGain() {
  gains.clear();
  if (!norm)
    return;
  for (int64_t first = 0; first < planeColumns(); first += workgroup() * quadBytes) {
    Value last = k.index(planeColumns() / quadBytes - 1);
    Value column = times(k.min(plus(thread(), first / quadBytes), last), quadBytes);
    gains.push_back(loadRun(gain, column, quadBytes));
  }
}

/// Of each source, a run from each of these columns on.
SmallVector<PanelLinear::Values> PanelLinear::loadSources(ArrayRef<Value> columns) {
  SmallVector<Values> runs;
  for (Value source : sources)
    for (Value column : columns)
      runs.push_back(loadRun(source, column, quadBytes));
  return runs;
}

/// The elements of a row, before it is normalized: runs from these columns on.
SmallVector<PanelLinear::Values> PanelLinear::computeElements(ArrayRef<Value> columns) {
  SmallVector<Values> loaded = loadSources(columns);
  if (norm || quantize.getX() == sourceTensors[0])
    return loaded;
  SmallVector<Values> elements(columns.size());
  KernelBuilder::Index at(dimsOf(quantize.getX())->size(), k.index(0));
  for (auto [run, column] : llvm::enumerate(columns))
    for (int64_t i = 0; i < quadBytes; ++i) {
      at.back() = plus(column, i);
      for (auto [number, tensor] : llvm::enumerate(sourceTensors))
        k.define(tensor, at, loaded[number * columns.size() + run][i]);
      elements[run].push_back(k.load(quantize.getX(), at));
    }
  return elements;
}

/// Makes the row: an invocation has 16 columns, or as many several times.
void PanelLinear::makeRow() {
  QuantizeRow quantizer(k, quantize, profile);
  if (failed(quantizer.chooseParts(block / quadBytes)))
    llvm_unreachable("its block was looked at");
  int64_t units = planeColumns() / quadBytes;
  Values unitNumbers, insides, firsts;
  for (int64_t first = 0; first < units; first += workgroup()) {
    Value unit = plus(thread(), first);
    insides.push_back(first + workgroup() > units ? k.less(unit, k.index(units)) : Value());
    unitNumbers.push_back(insides.back() ? k.min(unit, k.index(units - 1)) : unit);
    firsts.push_back(times(unitNumbers.back(), quadBytes));
  }
  SmallVector<Values> elements = computeElements(firsts);
  if (norm) {
    Value squares = f(0.0);
    for (auto [own, inside] : llvm::zip(elements, insides)) {
      Value sum = f(0.0);
      for (Value x : own)
        sum = k.add(sum, k.mul(x, x));
      squares = k.add(squares, inside ? k.select(inside, sum, f(0.0)) : sum);
    }
    squares = reduce(squares, normMemory, [&](Value x, Value y) { return k.add(x, y); });
    Value mean = k.div(squares, f(double(planeColumns())));
    Value epsilon = f(norm.getEpsilon().convertToDouble());
    Value scale = k.div(f(1.0), b.create<math::SqrtOp>(k.add(mean, epsilon)));
    // In the precision of the result that is not in memory.
    Type element = k.elementType(norm.getResult());
    for (auto [own, gain] : llvm::zip(elements, gains))
      for (auto [x, factor] : llvm::zip(own, gain))
        x = k.roundTo(element, k.mul(k.mul(x, scale), factor));
  }
  for (auto [own, number, inside] : llvm::zip(elements, unitNumbers, insides)) {
    auto quantizeUnit = [&, &own = own, &number = number] {
      Value part = remainder(number, k.index(quantizer.parts));
      SmallVector<Values, 2> words;
      words.resize(size_t(planes));
      quantizer.emitKept(
          own, part,
          [&](Value word, int64_t, int64_t plane) { words[size_t(plane)].push_back(word); },
          rowScalesMemory, times(quotient(number, k.index(quantizer.parts)), 2));
      for (auto [plane, ofPlane] : llvm::enumerate(words)) {
        Value quad = b.create<spirv::CompositeConstructOp>(quadType(), ofPlane);
        storeShared(quad, rowQuadsMemory, plus(number, int64_t(plane) * units));
      }
    };
    if (inside)
      when(inside, quantizeUnit);
    else
      quantizeUnit();
  }
}

void PanelLinear::copyRow(Value row) {
  int64_t quads = inputColumns / quadBytes;
  loop(thread(), k.index(quads), workgroup(), [&](Value at) {
    storeShared(element(xWords, k.add(times(row, quads), at)), rowQuadsMemory, at);
  });
  loop(thread(), k.index(2 * blocks), workgroup(), [&](Value at) {
    storeShared(load(xScales, k.add(times(row, 2 * blocks), at)), rowScalesMemory, at);
  });
}

/// Puts the row into shared memory. All invocations come here.
void PanelLinear::stageRow(Value row) {
  if (!rowQuadsMemory)
    return;
  if (quantize) {
    Value isSingle = k.lessEqual(k.sym(rowCount), k.index(1));
    auto branch = b.create<scf::IfOp>(isSingle, /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    makeRow();
    b.setInsertionPointToStart(branch.elseBlock());
    copyRow(row);
  } else {
    copyRow(row);
  }
  barrier();
}

Value PanelLinear::inputQuad(const Place &place, Value number) {
  if (rowQuadsMemory)
    return loadShared(rowQuadsMemory, number);
  return element(xWords, k.add(times(place.row, inputColumns / quadBytes), number));
}

/// What the integers of a block stand for, or their sum.
Value PanelLinear::inputFactor(const Place &place, Value block, bool ofSum) {
  if (rowScalesMemory)
    return loadShared(rowScalesMemory, plus(times(block, 2), ofSum));
  return load(xScales, plus(times(k.add(times(place.row, blocks), block), 2), ofSum));
}

Value PanelLinear::inputNumber(const Place &place, Value column) {
  Value inQuad = remainder(quotient(column, k.index(wordBytes)), k.index(4));
  Value component = b.create<arith::IndexCastOp>(b.getI32Type(), inQuad);
  Value place8 = times(remainder(column, k.index(wordBytes)), 8);
  Value left = b.create<arith::IndexCastOp>(b.getI32Type(), k.sub(k.index(24), place8));
  Value firstQuad = quotient(column, k.index(quadBytes)), sum;
  Value firstBlock = quotient(column, k.index(block));
  for (int64_t plane = 0; plane < planes; ++plane) {
    Value quad = inputQuad(place, plus(firstQuad, plane * planeColumns() / quadBytes));
    Value word = b.create<spirv::VectorExtractDynamicOp>(b.getI32Type(), quad, component);
    Value integer = b.create<arith::ShRSIOp>(b.create<arith::ShLIOp>(word, left), this->word(24));
    Value number = k.mul(b.create<arith::SIToFPOp>(b.getF32Type(), integer),
                         inputFactor(place, plus(firstBlock, plane * planeBlocks()), false));
    sum = sum ? k.add(sum, number) : number;
  }
  return sum;
}
