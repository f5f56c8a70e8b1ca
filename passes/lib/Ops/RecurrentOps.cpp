//===- RecurrentOps.cpp - LSTM, GRU and RNN -------------------------------===//
//
// A task runs one sequence of the batch in one direction through all its steps; the state is on the
// task's stack.
//
//===----------------------------------------------------------------------===//

#include "KernelMath.h"
#include "tacq/Ops/OpSpec.h"

using namespace mlir;
using namespace tacq;

namespace {

enum class Cell { RNN, GRU, LSTM };

int64_t gateCount(Cell cell) { return cell == Cell::LSTM ? 4 : cell == Cell::GRU ? 3 : 1; }

//===----------------------------------------------------------------------===//
// Activations
//===----------------------------------------------------------------------===//

struct CellActivation {
  std::string name;
  double alpha = 0, beta = 0;

  bool operator==(const CellActivation &other) const {
    return name == other.name && alpha == other.alpha && beta == other.beta;
  }
};

/// An activation's name in lower case and ONNX's defaults of its parameters; nullopt if it is none.
struct ActivationDefaults {
  StringLiteral name;
  bool takesAlpha, takesBeta;
  double alpha, beta;
};
constexpr ActivationDefaults knownActivations[] = {
    {"relu", false, false, 0, 0},        {"tanh", false, false, 0, 0},
    {"sigmoid", false, false, 0, 0},     {"softsign", false, false, 0, 0},
    {"softplus", false, false, 0, 0},    {"affine", true, true, 1, 0},
    {"leakyrelu", true, false, 0.01, 0}, {"thresholdedrelu", true, false, 1, 0},
    {"scaledtanh", true, true, 1, 1},    {"hardsigmoid", true, true, 0.2, 0.5},
    {"elu", true, false, 1, 0},
};

const ActivationDefaults *findActivation(StringRef name) {
  for (const ActivationDefaults &known : knownActivations)
    if (known.name.equals_insensitive(name))
      return &known;
  return nullptr;
}

SmallVector<std::string> activationNames(NodeOp node, Cell cell, int64_t directions) {
  SmallVector<std::string> names;
  if (auto list = node.getAttrs().getAs<ArrayAttr>("activations"))
    for (StringRef name : list.getAsValueRange<StringAttr>())
      names.push_back(name.str());
  if (!names.empty())
    return names;
  for (int64_t d = 0; d < directions; ++d) {
    if (cell != Cell::RNN)
      names.push_back("sigmoid");
    names.push_back("tanh");
    if (cell == Cell::LSTM)
      names.push_back("tanh");
  }
  return names;
}

SmallVector<CellActivation> activationsOf(NodeOp node, Cell cell, int64_t directions) {
  NodeAttrs attrs(node);
  SmallVector<double> alphas = attrs.reals("activation_alpha"),
                      betas = attrs.reals("activation_beta");
  SmallVector<CellActivation> result;
  size_t nextAlpha = 0, nextBeta = 0;
  for (const std::string &name : activationNames(node, cell, directions)) {
    const ActivationDefaults *known = findActivation(name);
    CellActivation activation{known->name.str(), known->alpha, known->beta};
    // The lists hold values for those activations only that take one.
    if (known->takesAlpha && nextAlpha < alphas.size())
      activation.alpha = alphas[nextAlpha++];
    if (known->takesBeta && nextBeta < betas.size())
      activation.beta = betas[nextBeta++];
    result.push_back(activation);
  }
  return result;
}

Value activate(KernelBuilder &k, const CellActivation &activation, Value x) {
  Type type = x.getType();
  Value zero = k.constant(type, 0), one = k.constant(type, 1);
  Value alpha = k.constant(type, activation.alpha), beta = k.constant(type, activation.beta);
  auto exp = [&](Value v) -> Value { return k.b.create<math::ExpOp>(v); };
  StringRef name = activation.name;
  if (name == "relu")
    return k.max(x, zero);
  if (name == "tanh")
    return k.b.create<math::TanhOp>(x);
  if (name == "sigmoid")
    return k.div(one, k.add(one, exp(k.sub(zero, x))));
  if (name == "softsign")
    return k.div(x, k.add(one, k.b.create<math::AbsFOp>(x)));
  if (name == "softplus") {
    // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
    Value e = exp(k.sub(zero, k.b.create<math::AbsFOp>(x)));
    return k.add(k.max(x, zero), k.b.create<math::Log1pOp>(e));
  }
  if (name == "affine")
    return k.add(k.mul(alpha, x), beta);
  if (name == "leakyrelu")
    return k.select(k.less(x, zero), k.mul(alpha, x), x);
  if (name == "thresholdedrelu")
    return k.select(k.less(x, alpha), zero, x);
  if (name == "scaledtanh")
    return k.mul(alpha, k.b.create<math::TanhOp>(k.mul(beta, x)));
  if (name == "hardsigmoid")
    return k.max(k.min(k.add(k.mul(alpha, x), beta), one), zero);
  Value negative = k.mul(alpha, k.sub(exp(x), one));
  return k.select(k.less(x, zero), negative, x);
}

//===----------------------------------------------------------------------===//
// Inference
//===----------------------------------------------------------------------===//

int64_t directionCount(NodeOp node) {
  return NodeAttrs(node).string("direction", "forward") == "bidirectional" ? 2 : 1;
}

template <Cell cell> LogicalResult inferRecurrent(InferContext &ctx) {
  if (ctx.rank(0) != 3 || ctx.rank(1) != 3 || ctx.rank(2) != 3)
    return ctx.fail("X, W and R must have 3 dimensions");
  bool batchFirst = ctx.attrs.integer("layout", 0) != 0;
  int64_t directions = directionCount(ctx.node);
  Dims x = ctx.dims(0), w = ctx.dims(1), r = ctx.dims(2);
  Sym batch = x[!batchFirst], steps = x[batchFirst], hidden = r[2];
  if (failed(ctx.require(w[2], x[2], "W does not fit the input size of X")) ||
      failed(ctx.require(w[0], directions, "W has another number of directions")) ||
      failed(ctx.require(w[1], Sym(gateCount(cell)) * hidden, "W does not fit the hidden size")) ||
      failed(ctx.require(r[1], Sym(gateCount(cell)) * hidden, "R does not fit the hidden size")))
    return failure();
  Type element = ctx.elementType(0);
  auto set = [&](unsigned i, ArrayRef<Sym> dims) {
    if (i < ctx.resultCount() && !ctx.types[i])
      ctx.setResult(i, element, dims);
  };
  Sym count = directions;
  set(0, batchFirst ? Dims{batch, steps, count, hidden} : Dims{steps, count, batch, hidden});
  Dims last = batchFirst ? Dims{batch, count, hidden} : Dims{count, batch, hidden};
  set(1, last);
  set(2, last);
  return success();
}

template <Cell cell> std::string unsupportedRecurrent(NodeOp node) {
  if (!(*dimsOf(node.getInputs()[2]))[2].constant())
    return "its hidden size is not known at compile time";
  SmallVector<std::string> names = activationNames(node, cell, directionCount(node));
  size_t expected = directionCount(node) * (cell == Cell::LSTM ? 3 : cell == Cell::GRU ? 2 : 1);
  if (names.size() != expected)
    return "its number of activations must be " + std::to_string(expected);
  for (const std::string &name : names)
    if (!findActivation(name))
      return "activation '" + name + "' is not known";
  return unsupportedUnlessFloat(node);
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

class RecurrentEmitter {
public:
  RecurrentEmitter(KernelBuilder &k, NodeOp node, Cell cell)
      : k(k), node(node), attrs(node), cell(cell), directions(directionCount(node)),
        batchFirst(attrs.integer("layout", 0) != 0), dims(k.dims(operand(0))),
        type(computeType(k.elementType(operand(0)))), hidden(*k.dims(operand(2))[2].constant()),
        activations(activationsOf(node, cell, directions)) {
    clip = attrs.real("clip", 0.0);
  }

  void emit() {
    Sym batches = dims[!batchFirst], steps = dims[batchFirst];
    state = stackBuffer(k, hidden, type);
    gates = stackBuffer(k, gateCount(cell) * hidden, type);
    if (cell == Cell::LSTM)
      memory = stackBuffer(k, hidden, type);
    if (cell == Cell::GRU)
      scratch = stackBuffer(k, hidden, type);
    Dims tasks = {batches, directions};
    k.parallel(elementCount(tasks), [&](Value task) {
      KernelBuilder::Index at = k.delinearize(task, tasks);
      batch = at[0], direction = at[1];
      Value count = k.sym(steps), length = count, zero = k.index(0);
      if (given(4)) {
        Value given = k.toIndex(k.load(operand(4), batch), k.elementType(operand(4)));
        length = k.max(k.min(given, count), zero);
      }
      overHidden([&](Value j) {
        put(state, j, given(5) ? k.load(operand(5), stateIndex(j)) : k.constant(type, 0));
        if (memory)
          put(memory, j, given(6) ? k.load(operand(6), stateIndex(j)) : k.constant(type, 0));
      });
      std::string order = attrs.string("direction", "forward");
      k.loop(length, [&](Value step) {
        Value backwards = k.sub(k.sub(length, k.index(1)), step);
        Value t = step;
        if (order == "reverse")
          t = backwards;
        else if (order == "bidirectional")
          t = k.select(k.equal(direction, zero), step, backwards);
        emitStep(t);
        if (std::optional<unsigned> y = outputOf(k, node, 0))
          overHidden([&](Value j) { k.store(*y, outputIndex(t, j), get(state, j)); });
      });
      if (std::optional<unsigned> y = outputOf(k, node, 0); y && given(4))
        k.loop(k.sub(count, length), [&](Value i) {
          Value t = k.add(length, i);
          overHidden([&](Value j) { k.store(*y, outputIndex(t, j), k.constant(type, 0)); });
        });
      if (std::optional<unsigned> yh = outputOf(k, node, 1))
        overHidden([&](Value j) { k.store(*yh, stateIndex(j), get(state, j)); });
      if (std::optional<unsigned> yc = outputOf(k, node, 2); yc && memory)
        overHidden([&](Value j) { k.store(*yc, stateIndex(j), get(memory, j)); });
    });
  }

private:
  Value operand(size_t i) { return node.getInputs()[i]; }
  bool given(size_t i) { return i < node.getInputs().size() && !isAbsent(operand(i)); }
  Value get(Value buffer, Value i) { return k.b.create<memref::LoadOp>(buffer, i); }
  void put(Value buffer, Value i, Value x) { k.b.create<memref::StoreOp>(x, buffer, i); }
  void overHidden(function_ref<void(Value)> body) { k.loop(k.index(hidden), body); }

  KernelBuilder::Index stateIndex(Value j) {
    if (batchFirst)
      return {batch, direction, j};
    return {direction, batch, j};
  }
  KernelBuilder::Index outputIndex(Value t, Value j) {
    if (batchFirst)
      return {batch, t, direction, j};
    return {t, direction, batch, j};
  }

  Value clipped(Value x) {
    if (clip <= 0)
      return x;
    return k.max(k.min(x, k.constant(type, clip)), k.constant(type, -clip));
  }

  /// Activation `which` of this direction, after clipping.
  Value activation(size_t which, Value x) {
    x = clipped(x);
    size_t perDirection = activations.size() / directions;
    const CellActivation &forward = activations[which],
                         &backward = activations[(directions - 1) * perDirection + which];
    Value result = activate(k, forward, x);
    if (forward == backward)
      return result;
    return k.select(k.equal(direction, k.index(0)), result, activate(k, backward, x));
  }

  Value bias(int64_t part, Value row) {
    if (!given(3))
      return k.constant(type, 0);
    Value at = k.add(row, k.index(part * gateCount(cell) * hidden));
    return k.load(operand(3), {direction, at});
  }

  Value dotX(Value t, Value row, Value init) {
    return k.reduce(dims[2], init, [&](ValueRange i, ValueRange sum) {
      KernelBuilder::Index at = {batchFirst ? batch : t, batchFirst ? t : batch, i[0]};
      Value product =
          mulFast(k, k.load(operand(0), at), k.load(operand(1), {direction, row, i[0]}));
      return SmallVector<Value>{addAnyOrder(k, sum[0], product)};
    })[0];
  }

  Value dotState(Value buffer, Value row, Value init) {
    return k.reduce(Sym(hidden), init, [&](ValueRange i, ValueRange sum) {
      Value product = mulFast(k, get(buffer, i[0]), k.load(operand(2), {direction, row, i[0]}));
      return SmallVector<Value>{addAnyOrder(k, sum[0], product)};
    })[0];
  }

  /// gates[row] = bias + W x + R state for the first `count` rows.
  void emitGates(Value t, int64_t count) {
    k.loop(k.index(count), [&](Value row) {
      Value sum = dotState(state, row, dotX(t, row, k.add(bias(0, row), bias(1, row))));
      put(gates, row, sum);
    });
  }
  Value gate(int64_t which, Value j) { return get(gates, k.add(k.index(which * hidden), j)); }

  void emitStep(Value t) {
    if (cell == Cell::LSTM)
      return emitLSTM(t);
    if (cell == Cell::GRU)
      return emitGRU(t);
    emitGates(t, hidden);
    overHidden([&](Value j) { put(state, j, activation(0, get(gates, j))); });
  }

  void emitLSTM(Value t) {
    emitGates(t, 4 * hidden);
    bool coupled = attrs.integer("input_forget", 0) != 0;
    auto peephole = [&](int64_t which, Value j, Value x, Value memory) {
      if (!given(7))
        return x;
      Value weight = k.load(operand(7), {direction, k.add(k.index(which * hidden), j)});
      return k.add(x, k.mul(weight, memory));
    };
    overHidden([&](Value j) {
      Value old = get(memory, j);
      Value in = activation(0, peephole(0, j, gate(0, j), old));
      Value forget =
          coupled ? k.sub(k.constant(type, 1), in) : activation(0, peephole(2, j, gate(2, j), old));
      Value next = k.add(k.mul(forget, old), k.mul(in, activation(1, gate(3, j))));
      Value out = activation(0, peephole(1, j, gate(1, j), next));
      put(memory, j, next);
      // The memory itself is not clipped.
      double kept = std::exchange(clip, 0.0);
      put(state, j, k.mul(out, activation(2, next)));
      clip = kept;
    });
  }

  void emitGRU(Value t) {
    emitGates(t, 2 * hidden);
    bool resetLast = attrs.integer("linear_before_reset", 0) != 0;
    overHidden([&](Value j) {
      put(gates, j, activation(0, get(gates, j)));
      Value at = k.add(k.index(hidden), j);
      Value reset = activation(0, get(gates, at));
      put(gates, at, reset);
      if (!resetLast)
        put(scratch, j, k.mul(reset, get(state, j)));
    });
    overHidden([&](Value j) {
      Value row = k.add(k.index(2 * hidden), j);
      Value sum = dotX(t, row, bias(0, row));
      if (resetLast)
        sum = k.add(sum, k.mul(gate(1, j), dotState(state, row, bias(1, row))));
      else
        sum = k.add(sum, dotState(scratch, row, bias(1, row)));
      put(gates, row, sum);
    });
    overHidden([&](Value j) {
      Value update = gate(0, j), candidate = activation(1, gate(2, j));
      Value fresh = k.mul(k.sub(k.constant(type, 1), update), candidate);
      put(state, j, k.add(fresh, k.mul(update, get(state, j))));
    });
  }

  KernelBuilder &k;
  NodeOp node;
  NodeAttrs attrs;
  Cell cell;
  int64_t directions;
  bool batchFirst;
  Dims dims;
  Type type;
  int64_t hidden;
  SmallVector<CellActivation> activations;
  /// 0 for none.
  double clip;
  // On the stack: the hidden state, sums of the gates, LSTM's memory, GRU's reset state.
  Value state, gates, memory, scratch;
  Value batch, direction;
};

template <Cell cell> LogicalResult emitRecurrent(KernelBuilder &k, NodeOp node) {
  RecurrentEmitter(k, node, cell).emit();
  return success();
}

template <Cell cell> OpSpec recurrent(StringRef name) {
  OpSpec spec;
  spec.name = name;
  spec.infer = inferRecurrent<cell>;
  spec.loops = emitRecurrent<cell>;
  spec.unsupported = unsupportedRecurrent<cell>;
  return spec;
}

} // namespace

ArrayRef<OpSpec> tacq::recurrentOps() {
  static const OpSpec table[] = {recurrent<Cell::RNN>("RNN"), recurrent<Cell::GRU>("GRU"),
                                 recurrent<Cell::LSTM>("LSTM")};
  return table;
}
