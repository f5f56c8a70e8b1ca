//===- ConvolutionOps.cpp - Conv and ConvTranspose ------------------------===//

#include "ContractionTables.h"
#include "KernelMath.h"
#include "MatMulKernel.h"
#include "VectorTile.h"
#include "Windows.h"

using namespace mlir;
using namespace tacq;

namespace {

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

Dims spatialDims(ArrayRef<Sym> dims) { return Dims(dims.begin() + 2, dims.end()); }

LogicalResult inferConv(InferContext &ctx) {
  Dims x = ctx.dims(0), w = ctx.dims(1);
  if (x.size() < 3 || w.size() != x.size())
    return ctx.fail("its input and weight must have the same rank, at least 3");
  int64_t groups = ctx.attrs.integer("group", 1);
  if (failed(checkWindowAttributes(ctx, x.size() - 2)) ||
      failed(ctx.require(x[1], w[1] * Sym(groups), "channels of input and weight differ")))
    return failure();
  if (ctx.has(2) && failed(ctx.require(ctx.dims(2)[0], w[0],
                                       "the bias must have a value for each "
                                       "output channel")))
    return failure();
  Windows windows = windowsOf(ctx.attrs, spatialDims(x), spatialDims(w));
  Dims result = {x[0], w[0]};
  for (const Sym &out : windows.out) {
    if (out.constant() && *out.constant() < 0)
      return ctx.fail("the kernel is larger than the padded input");
    result.push_back(out);
  }
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

LogicalResult inferConvTranspose(InferContext &ctx) {
  Dims x = ctx.dims(0), w = ctx.dims(1);
  if (x.size() < 3 || w.size() != x.size())
    return ctx.fail("its input and weight must have the same rank, at least 3");
  if (failed(checkWindowAttributes(ctx, x.size() - 2)) ||
      failed(ctx.require(x[1], w[0], "channels of input and weight differ")))
    return failure();
  Windows windows = transposedWindowsOf(ctx.attrs, spatialDims(x), spatialDims(w));
  Dims result = {x[0], w[1] * Sym(ctx.attrs.integer("group", 1))};
  result.append(windows.out.begin(), windows.out.end());
  ctx.setResult(0, ctx.elementType(0), result);
  return success();
}

//===----------------------------------------------------------------------===//
// Conv
//===----------------------------------------------------------------------===//

/// Direct convolution: a task is a block of output channels of one group and a piece of one output
/// row; vectors go along the row, and each loaded piece of input serves all channels of the block.
class ConvEmitter {
public:
  ConvEmitter(KernelBuilder &k, NodeOp node)
      : k(k), x(node.getInputs()[0]), weight(node.getInputs()[1]),
        bias(node.getInputs().size() > 2 ? node.getInputs()[2] : Value()), xDims(k.dims(x)),
        wDims(k.dims(weight)), outDims(k.dims(node.getResult(0))), element(k.elementType(x)),
        groups(NodeAttrs(node).integer("group", 1)),
        windows(windowsOf(NodeAttrs(node), spatialDims(xDims), spatialDims(wDims))) {
    if (bias && isAbsent(bias))
      bias = {};
    groupOut = Sym::floorDiv(outDims[1], groups);
    if (!k.isScalar())
      lanes = VectorBuffer::lanesFor(k, element);
  }

  bool isPointwise() const {
    if (!k.inputOf(weight))
      return false;
    for (size_t i = 0; i < windows.rank(); ++i)
      if (!windows.kernel[i].isConstant(1) || windows.strides[i] != 1 ||
          !windows.padBegin[i].isConstant(0) || !windows.padEnd[i].isConstant(0))
        return false;
    return true;
  }

  /// A product of the weight with the channels of each position.
  void emitPointwise() {
    Sym positions = elementCount(windows.in);
    MatMulProblem p;
    p.batches = outDims[0] * Sym(groups);
    p.m = groupOut, p.n = positions, p.depth = wDims[1];
    p.a = weight, p.b = x;
    p.offsets = [&, positions](Value batch) {
      Value group = k.b.create<arith::RemUIOp>(batch, k.index(groups));
      return std::array<Value, 3>{k.mul(group, k.sym(p.m * p.depth)),
                                  k.mul(batch, k.sym(p.depth * positions)),
                                  k.mul(batch, k.sym(p.m * positions))};
    };
    if (bias)
      p.initial = [&](Value batch, Value row) {
        Value group = k.b.create<arith::RemUIOp>(batch, k.index(groups));
        return k.load(bias, k.add(k.mul(group, k.sym(groupOut)), row));
      };
    emitMatMul(k, p);
  }

  void emit() {
    size_t rank = windows.rank();
    std::optional<int64_t> width = windows.out[rank - 1].constant(), channels = groupOut.constant();
    // Accumulators fill most of the registers.
    bool wide = k.vectorBits >= 512;
    vectors = width && *width <= lanes ? 1 : 2;
    block = vectors == 1 || wide ? 8 : 4;
    if (wide && vectors == 1)
      block = 16;
    if (channels)
      block = std::clamp<int64_t>(*channels, 1, block);
    Dims tasks = {outDims[0], groups, Sym::ceilDiv(groupOut, taskChannels)};
    tasks.append(windows.out.begin(), windows.out.end() - 1);
    tasks.push_back(Sym::ceilDiv(windows.out.back(), chunk));
    k.parallel(elementCount(tasks), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      Value first = k.mul(at.back(), k.index(chunk));
      Value end = k.min(k.add(first, k.index(chunk)), k.sym(windows.out.back()));
      // Blocks that do not divide a task's channels are all of the channels that there are.
      Value firstBlock = k.mul(at[2], k.index(taskChannels / block));
      Value endBlock = k.min(k.add(firstBlock, k.index(llvm::divideCeil(taskChannels, block))),
                             k.sym(Sym::ceilDiv(groupOut, block)));
      auto blocks = k.b.create<scf::ForOp>(firstBlock, endBlock, k.index(1));
      OpBuilder::InsertionGuard guard(k.b);
      k.b.setInsertionPointToStart(blocks.getBody());
      at[2] = blocks.getInductionVar();
      auto tiles = k.b.create<scf::ForOp>(first, end, k.index(vectors * lanes));
      k.b.setInsertionPointToStart(tiles.getBody());
      emitTile(at, tiles.getInductionVar());
    });
  }

  /// A task is an element of the result: the input is a constant within the kernel, or the target
  /// has no vectors.
  void emitScalar() {
    size_t rank = windows.rank();
    k.parallel(elementCount(outDims), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, outDims);
      Value groupIn = k.sym(wDims[1]);
      Value group = k.b.create<arith::DivUIOp>(at[1], k.sym(groupOut));
      Dims extents(wDims.begin() + 1, wDims.end());
      Value init = bias ? k.load(bias, at[1]) : k.constant(computeType(element), 0);
      Value sum = k.reduce(extents, init, [&](ValueRange i, ValueRange carried) {
        KernelBuilder::Index from = {at[0], k.add(k.mul(group, groupIn), i[0])}, ofWeight = {at[1]};
        ofWeight.append(i.begin(), i.end());
        Value inside = k.integer(k.b.getI1Type(), 1);
        for (size_t axis = 0; axis < rank; ++axis) {
          Value position = inputPosition(axis, at[2 + axis], i[1 + axis]);
          inside = k.logicalAnd(inside, inBounds(k, position, k.sym(windows.in[axis])));
          from.push_back(position);
        }
        return k.branch(
            inside,
            [&] {
              Value product = mulFast(k, k.load(x, from), k.load(weight, ofWeight));
              return SmallVector<Value>{addAnyOrder(k, carried[0], product)};
            },
            [&] { return SmallVector<Value>{carried[0]}; });
      })[0];
      k.store(0, at, sum);
    });
  }

private:
  static constexpr int64_t chunk = 128;
  /// Channels of a task, on every target: a module has one count of tasks for all of them.
  static constexpr int64_t taskChannels = 16;

  /// `at` is {batch, group, block of channels, outer output positions…}.
  void emitTile(ArrayRef<Value> at, Value column) {
    size_t rank = windows.rank();
    VectorBuffer input(k, k.inputBuffer(*k.inputOf(x)), element, lanes);
    VectorBuffer output(k, k.outputBuffer(0), element, lanes);
    Value groupSize = k.sym(groupOut), firstOut = k.mul(at[1], groupSize);
    SmallVector<Value> channels, valid, init;
    for (int64_t c = 0; c < block; ++c) {
      Value channel = k.add(k.mul(at[2], k.index(block)), k.index(c));
      bool exact = groupOut.constant() && *groupOut.constant() % block == 0;
      valid.push_back(exact ? Value() : k.less(channel, groupSize));
      // Channels behind the last are computed as the last, and not stored.
      if (!exact)
        channel = k.min(channel, k.sub(groupSize, k.index(1)));
      channels.push_back(k.add(firstOut, channel));
      Value first = bias ? k.load(bias, channels.back()) : k.constant(computeType(element), 0);
      init.append(vectors, splat(k, input.type(), first));
    }
    // Channels are walked through inside of the window, so that all that depends on the position
    // alone stays out of the innermost loop.
    SmallVector<Value> sums = k.reduce(windows.kernel, init, [&](ValueRange i, ValueRange outer) {
      Value rowInside;
      SmallVector<Value> rows;
      for (size_t axis = 0; axis + 1 < rank; ++axis) {
        rows.push_back(inputPosition(axis, at[3 + axis], i[axis]));
        if (windows.padBegin[axis].isConstant(0) && windows.padEnd[axis].isConstant(0))
          continue;
        Value inside = inBounds(k, rows.back(), k.sym(windows.in[axis]));
        rowInside = rowInside ? k.logicalAnd(rowInside, inside) : inside;
      }
      SmallVector<Piece> pieces;
      for (int64_t v = 0; v < vectors; ++v)
        pieces.push_back(pieceAt(k.add(column, k.index(v * lanes)), i[rank - 1], rowInside));
      return k.reduce(wDims[1], outer, [&](ValueRange c, ValueRange carried) {
        KernelBuilder::Index from = {at[0], k.add(k.mul(at[1], k.sym(wDims[1])), c[0])};
        from.append(rows.begin(), rows.end());
        SmallVector<Value> loaded, next;
        for (const Piece &piece : pieces) {
          from.push_back(piece.first);
          loaded.push_back(loadPiece(input, k.linearize(from, xDims), piece));
          from.pop_back();
        }
        for (int64_t channel = 0; channel < block; ++channel) {
          KernelBuilder::Index ofWeight = {channels[channel], c[0]};
          ofWeight.append(i.begin(), i.end());
          Value factor = splat(k, input.type(), k.load(weight, ofWeight));
          for (int64_t v = 0; v < vectors; ++v)
            next.push_back(multiplyAdd(k, factor, loaded[v], carried[channel * vectors + v]));
        }
        return next;
      });
    });
    auto maskType = VectorType::get({lanes}, k.b.getI1Type());
    for (int64_t c = 0; c < block; ++c)
      for (int64_t v = 0; v < vectors; ++v) {
        Value first = k.add(column, k.index(v * lanes));
        Value left = k.sub(k.sym(windows.out.back()), first);
        if (valid[c])
          left = k.select(valid[c], left, k.index(0));
        Value mask = k.b.create<vector::CreateMaskOp>(maskType, left);
        KernelBuilder::Index to = {at[0], channels[c]};
        to.append(at.begin() + 3, at.begin() + 3 + rank - 1);
        to.push_back(first);
        output.store(sums[c * vectors + v], k.linearize(to, outDims), mask);
      }
  }

  Value inputPosition(size_t axis, Value out, Value within) {
    Value position = k.add(k.mul(out, k.index(windows.strides[axis])),
                           k.mul(within, k.index(windows.dilations[axis])));
    return k.sub(position, k.sym(windows.padBegin[axis]));
  }

  /// The inputs of one vector of outputs: `first` is the column of its first lane.
  struct Piece {
    Value first, mask, highMask, offsets;
  };

  Piece pieceAt(Value column, Value within, Value rowInside) {
    int64_t stride = windows.strides.back();
    Piece piece;
    piece.first = inputPosition(windows.rank() - 1, column, within);
    // With stride 2 two vectors are loaded, of which every second element is taken.
    Value step = k.index(stride == 2 ? 1 : stride);
    piece.offsets = laneOffsets(k, lanes, step);
    piece.mask = columnMask(piece.first, piece.offsets, rowInside);
    if (stride == 2)
      piece.highMask = columnMask(k.add(piece.first, k.index(lanes)), piece.offsets, rowInside);
    return piece;
  }

  Value loadPiece(VectorBuffer &input, Value position, const Piece &piece) {
    int64_t stride = windows.strides.back();
    if (stride == 1)
      return input.load(position, piece.mask);
    if (stride == 2)
      return input.loadSecond(position, piece.mask, piece.highMask);
    return input.gather(position, piece.offsets, piece.mask);
  }

  /// Lanes whose column first + offset is inside of the input.
  Value columnMask(Value first, Value offsets, Value rowInside) {
    auto type = cast<VectorType>(offsets.getType());
    Value columns = k.b.create<arith::AddIOp>(splat(k, type, first), offsets);
    Value width = splat(k, type, k.sym(windows.in.back()));
    Value mask = k.b.create<arith::CmpIOp>(arith::CmpIPredicate::ult, columns, width);
    if (!rowInside)
      return mask;
    auto maskType = cast<VectorType>(mask.getType());
    return k.b.create<arith::AndIOp>(mask, splat(k, maskType, rowInside));
  }

  KernelBuilder &k;
  Value x, weight, bias;
  Dims xDims, wDims, outDims;
  Type element;
  int64_t groups, lanes = 0, vectors = 2, block = 4;
  Windows windows;
  Sym groupOut;
};

LogicalResult emitConv(KernelBuilder &k, NodeOp node) {
  ConvEmitter emitter(k, node);
  if (k.isScalar() || !k.inputOf(node.getInputs()[0]))
    emitter.emitScalar();
  else if (emitter.isPointwise())
    emitter.emitPointwise();
  else
    emitter.emit();
  return success();
}

//===----------------------------------------------------------------------===//
// ConvTranspose
//===----------------------------------------------------------------------===//

/// The windows that reach position o of an axis, o + padBegin = window * stride + offset: where
/// there is no dilation, step t has the window last - t and the offset first + t * stride, and
/// steps [lower, upper) are those of windows that there are. Else step t is offset t, to be tried.
struct ReachingWindows {
  Value lower, upper, target, first, last;

  ReachingWindows(KernelBuilder &k, const Windows &w, size_t axis, Value position) {
    Value zero = k.index(0), one = k.index(1), stride = k.index(w.strides[axis]);
    Value kernel = k.sym(w.kernel[axis]);
    target = k.add(position, k.sym(w.padBegin[axis]));
    lower = zero;
    upper = kernel;
    if (w.dilations[axis] != 1)
      return;
    last = k.b.create<arith::DivUIOp>(target, stride);
    first = k.b.create<arith::RemUIOp>(target, stride);
    Value room = k.max(k.sub(k.add(kernel, k.sub(stride, one)), first), zero);
    lower = k.max(k.sub(k.add(last, one), k.sym(w.in[axis])), zero);
    upper = k.min(k.b.create<arith::DivUIOp>(room, stride), k.add(last, one));
  }

  /// The window and offset of a step; `exact` (null for always) is true if they reach the position.
  void step(KernelBuilder &k, const Windows &w, size_t axis, Value t, Value &window, Value &offset,
            Value &exact) const {
    Value stride = k.index(w.strides[axis]);
    if (w.dilations[axis] == 1) {
      window = k.sub(last, t);
      offset = k.add(first, k.mul(t, stride));
      return;
    }
    Value position = k.sub(target, k.mul(t, k.index(w.dilations[axis])));
    window = floorDivIndex(k, position, stride);
    offset = t;
    Value own = k.logicalAnd(k.equal(k.mul(window, stride), position),
                             inBounds(k, window, k.sym(w.in[axis])));
    exact = exact ? k.logicalAnd(exact, own) : own;
  }
};

/// An element gathers what windows put onto it: along each axis, element o is reached by offset j
/// of window i where i * stride + j * dilation = o + padBegin.
Value convTransposeElement(KernelBuilder &k, NodeOp node, unsigned, ValueRange index) {
  NodeAttrs attrs(node);
  Value x = node.getInputs()[0], weight = node.getInputs()[1];
  Dims xDims = k.dims(x), wDims = k.dims(weight);
  Windows w = transposedWindowsOf(attrs, spatialDims(xDims), spatialDims(wDims));
  int64_t groups = attrs.integer("group", 1);
  Sym groupIn = Sym::floorDiv(xDims[1], groups);
  Type type = computeType(k.elementType(x));
  Value groupOut = k.sym(wDims[1]);
  Value group = k.b.create<arith::DivUIOp>(index[1], groupOut);
  Value channelOut = k.sub(index[1], k.mul(group, groupOut));
  Value channel0 = k.mul(group, k.sym(groupIn));

  KernelBuilder::Index lower, upper;
  SmallVector<ReachingWindows> reaching;
  for (size_t i = 0; i < w.rank(); ++i) {
    reaching.emplace_back(k, w, i, index[2 + i]);
    lower.push_back(reaching.back().lower);
    upper.push_back(reaching.back().upper);
  }
  Value init = k.constant(type, 0);
  if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2]))
    init = k.load(node.getInputs()[2], index[1]);
  return reduceRange(k, lower, upper, init, [&](ValueRange at, ValueRange carried) {
    KernelBuilder::Index window(w.rank()), offset(w.rank());
    Value reaches;
    for (size_t i = 0; i < w.rank(); ++i)
      reaching[i].step(k, w, i, at[i], window[i], offset[i], reaches);
    auto overChannels = [&] {
      return k.reduce(groupIn, carried[0], [&](ValueRange c, ValueRange sum) {
        Value channel = k.add(channel0, c[0]);
        KernelBuilder::Index ofX = {index[0], channel}, ofWeight = {channel, channelOut};
        ofX.append(window);
        ofWeight.append(offset);
        Value product = mulFast(k, k.load(x, ofX), k.load(weight, ofWeight));
        return SmallVector<Value>{addAnyOrder(k, sum[0], product)};
      });
    };
    if (!reaches)
      return overChannels();
    return k.branch(reaches, overChannels, [&] { return SmallVector<Value>{carried[0]}; });
  })[0];
}

/// Columns of each phase that are computed together.
constexpr int64_t columnsPerPhase = 64;

/// A piece of a row at a time: column j * stride + phase for all phases and a range of j. An offset
/// of the window reaches the columns of one phase, from consecutive columns of the input.
LogicalResult convTransposeLoops(KernelBuilder &k, NodeOp node) {
  NodeAttrs attrs(node);
  Value x = node.getInputs()[0], weight = node.getInputs()[1];
  Dims xDims = k.dims(x), wDims = k.dims(weight), outDims = k.dims(node.getResult(0));
  Windows w = transposedWindowsOf(attrs, spatialDims(xDims), spatialDims(wDims));
  size_t last = w.rank() - 1;
  int64_t groups = attrs.integer("group", 1), strideValue = w.strides[last];
  if (strideValue > 16)
    return failure();
  Sym groupIn = Sym::floorDiv(xDims[1], groups);
  Type type = computeType(k.elementType(x));
  Value sums = stackBuffer(k, strideValue * columnsPerPhase, type);
  Dims tasks(outDims.begin(), outDims.end() - 1);
  tasks.push_back(Sym::ceilDiv(outDims.back(), strideValue * columnsPerPhase));
  k.parallel(elementCount(tasks), [&](Value task) {
    KernelBuilder::Index index = k.delinearize(task, tasks);
    Value zero = k.index(0), stride = k.index(strideValue), groupOut = k.sym(wDims[1]);
    Value group = k.b.create<arith::DivUIOp>(index[1], groupOut);
    Value channelOut = k.sub(index[1], k.mul(group, groupOut));
    Value channel0 = k.mul(group, k.sym(groupIn));
    Value firstColumn = k.mul(index.back(), k.index(columnsPerPhase));
    Value init = k.constant(type, 0);
    if (node.getInputs().size() > 2 && !isAbsent(node.getInputs()[2]))
      init = k.load(node.getInputs()[2], index[1]);
    k.loop(k.index(strideValue * columnsPerPhase),
           [&](Value i) { k.b.create<memref::StoreOp>(init, sums, i); });

    KernelBuilder::Index lower, upper;
    SmallVector<ReachingWindows> reaching;
    for (size_t i = 0; i < last; ++i) {
      reaching.emplace_back(k, w, i, index[2 + i]);
      lower.push_back(reaching.back().lower);
      upper.push_back(reaching.back().upper);
    }
    lower.append({zero, zero});
    upper.append({k.sym(groupIn), k.sym(w.kernel[last])});
    reduceRange(k, lower, upper, {}, [&](ValueRange at, ValueRange) {
      Value channel = k.add(channel0, at[last]), exact;
      KernelBuilder::Index ofX = {index[0], channel}, ofWeight = {channel, channelOut};
      for (size_t i = 0; i < last; ++i) {
        Value window, offset;
        reaching[i].step(k, w, i, at[i], window, offset, exact);
        ofX.push_back(window);
        ofWeight.push_back(offset);
      }
      ofX.push_back(zero);
      ofWeight.push_back(at[last + 1]);
      auto addRow = [&] {
        Value factor = k.load(weight, ofWeight);
        // Input column i goes to column (i + shift) * stride + phase.
        Value to = k.sub(k.mul(at[last + 1], k.index(w.dilations[last])), k.sym(w.padBegin[last]));
        Value shift = floorDivIndex(k, to, stride);
        Value phase = k.sub(to, k.mul(shift, stride));
        Value base = k.sub(k.mul(phase, k.index(columnsPerPhase)), firstColumn);
        Value begin = k.max(k.sub(firstColumn, shift), zero);
        Value end = k.sub(k.add(firstColumn, k.index(columnsPerPhase)), shift);
        end = k.min(end, k.sym(w.in[last]));
        reduceRange(k, begin, end, {}, [&](ValueRange i, ValueRange) {
          ofX.back() = i[0];
          Value position = k.add(base, k.add(i[0], shift));
          Value old = k.b.create<memref::LoadOp>(sums, position);
          Value product = mulFast(k, factor, k.load(x, ofX));
          k.b.create<memref::StoreOp>(addAnyOrder(k, old, product), sums, position);
          return SmallVector<Value>();
        });
        return SmallVector<Value>();
      };
      if (exact)
        k.branch(exact, addRow, [] { return SmallVector<Value>(); });
      else
        addRow();
      return SmallVector<Value>();
    });

    Value start = k.mul(firstColumn, stride);
    Value count =
        k.min(k.sub(k.sym(outDims.back()), start), k.index(strideValue * columnsPerPhase));
    k.loop(count, [&](Value i) {
      Value j = k.b.create<arith::DivUIOp>(i, stride);
      Value phase = k.b.create<arith::RemUIOp>(i, stride);
      Value position = k.add(k.mul(phase, k.index(columnsPerPhase)), j);
      KernelBuilder::Index to = index;
      to.back() = k.add(start, i);
      k.store(0, to, k.b.create<memref::LoadOp>(sums, position));
    });
  });
  return success();
}

} // namespace

ArrayRef<OpSpec> tacq::convolutionOps() {
  static const std::vector<OpSpec> table = [] {
    OpSpec conv, transposed;
    conv.name = "Conv";
    conv.infer = inferConv;
    conv.loops = emitConv;
    transposed.name = "ConvTranspose";
    transposed.infer = inferConvTranspose;
    transposed.element = convTransposeElement;
    transposed.loops = convTransposeLoops;
    transposed.heavy = true;
    return std::vector<OpSpec>{conv, transposed};
  }();
  return table;
}
