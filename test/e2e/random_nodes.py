"""The nodes of random graphs.

Each function looks for operands in the graph, computes the result with NumPy and adds a node. It
returns whether it did: not when no operands fit, or when the result would be so close to a jump (of
Floor, Less, ArgMax, …) that a rounding error could cross it.
"""
import math

import numpy as np
from onnx import helper

MARGIN = 1e-3


def away_from_integers(value, scale=1.0):
    scaled = value.astype(np.float64) * scale
    return bool((np.abs(scaled - np.round(scaled)) > MARGIN).all())


def axis_of(g, value):
    """(axis as written, which may be negative; axis as an index)"""
    axis = int(g.random.integers(value.ndim))
    return (axis - value.ndim if g.chance(0.4) else axis), axis


def broadcastable(a, b):
    try:
        return np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return None


# ---- element by element

def _erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.float32)


UNARY = {
    "Abs": np.abs, "Neg": np.negative, "Exp": np.exp, "Tanh": np.tanh, "Sin": np.sin,
    "Cos": np.cos, "Erf": _erf, "Relu": lambda x: np.maximum(x, 0), "Identity": lambda x: x,
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)), "Softplus": lambda x: np.log1p(np.exp(x)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "HardSigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "LeakyRelu": lambda x: np.where(x < 0, 0.01 * x, x),
    "Elu": lambda x: np.where(x < 0, np.expm1(np.minimum(x, 0)), x),
    "Softsign": lambda x: x / (1 + np.abs(x)), "Atan": np.arctan, "Sinh": np.sinh,
    "Selu": lambda x: np.float32(1.0507009873554805) * np.where(
        x < 0, np.float32(1.6732632423543772) * np.expm1(np.minimum(x, 0)), x),
}


def unary(g):
    x = g.operand()
    op = g.pick(UNARY)
    if op == "HardSwish" and g.opset < 14:
        return False
    with np.errstate(all="ignore"):
        return g.add(op, [x], UNARY[op](g.values[x]).astype(np.float32))


def positive_only(g):
    x = g.operand(lambda v: bool((v > 0.05).all()))
    if not x:
        return False
    op = g.pick(["Sqrt", "Log", "Reciprocal"])
    function = {"Sqrt": np.sqrt, "Log": np.log, "Reciprocal": np.reciprocal}[op]
    return g.add(op, [x], function(g.values[x]))


def jumping(g):
    x = g.operand(away_from_integers)
    if not x:
        return False
    op = g.pick(["Floor", "Ceil", "Round", "Sign"])
    if op == "Round" and not away_from_integers(g.values[x], 2):
        return False
    function = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.round, "Sign": np.sign}[op]
    return g.add(op, [x], function(g.values[x]))


def binary(g):
    a = g.operand()
    b = g.operand(lambda v: broadcastable(g.values[a], v) is not None)
    op = g.pick(["Add", "Sub", "Mul", "Div", "Min", "Max"])
    other = g.values[b]
    if g.chance(0.3):
        other = g.floats(*g.values[a].shape[-1:])
        b = g.constant(other)
    if op == "Div" and not (np.abs(other) > 0.1).all():
        return False
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
                "Min": np.minimum, "Max": np.maximum}[op]
    operands = [a, b] if g.chance(0.5) or op == "Div" else [b, a]
    values = {a: g.values[a], b: other}
    return g.add(op, operands, function(values[operands[0]], values[operands[1]]))


def integers(g):
    a = g.operand(kind="i")
    b = g.operand(lambda v: broadcastable(g.values[a], v) is not None
                  and v.dtype == g.values[a].dtype, kind="i") if a else None
    if not b:
        return False
    x, y = g.values[a], g.values[b]
    op = g.pick(["Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"])
    if op in ("Div", "Mod") and (y == 0).any():
        return False
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Mod": np.mod,
                "Max": np.maximum, "Min": np.minimum,
                "Div": lambda p, q: np.trunc(p / q).astype(p.dtype)}[op]
    return g.add(op, [a, b], function(x, y))


def power(g):
    x = g.operand(lambda v: bool((v > 0.05).all()))
    if x and g.chance(0.5):
        exponent = np.float32(g.random.uniform(-2, 2))
        return g.add("Pow", [x, g.constant(exponent)], g.values[x] ** exponent)
    x = g.operand()
    return g.add("Pow", [x, g.constant(np.float32(2))], g.values[x] ** np.float32(2))


def clip(g):
    x = g.operand()
    low, high = np.float32(-0.7), np.float32(1.2)
    return g.add("Clip", [x, g.constant(low), g.constant(high)],
                 np.clip(g.values[x], low, high))


def compare(g):
    a = g.operand()
    b = g.operand(lambda v: broadcastable(g.values[a], v) is not None)
    x, y = g.values[a], g.values[b]
    if not (np.abs(x - y) > MARGIN).all():
        return False
    op = g.pick(["Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
    function = {"Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal,
                "GreaterOrEqual": np.greater_equal}[op]
    return g.add(op, [a, b], function(x, y))


def logic(g):
    a = g.operand(kind="b")
    if not a:
        return False
    if g.chance(0.3):
        return g.add("Not", [a], ~g.values[a])
    b = g.operand(lambda v: broadcastable(g.values[a], v) is not None, kind="b")
    op = g.pick(["And", "Or", "Xor"])
    function = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}[op]
    return g.add(op, [a, b], function(g.values[a], g.values[b]))


def where(g):
    c = g.operand(kind="b")
    if not c:
        return False
    a = g.operand(lambda v: broadcastable(g.values[c], v) is not None)
    if not a:
        return False
    shape = np.broadcast_shapes(g.values[c].shape, g.values[a].shape)
    b = g.operand(lambda v: broadcastable(np.empty(shape), v) is not None)
    if not b:
        return False
    return g.add("Where", [c, a, b], np.where(g.values[c], g.values[a], g.values[b]))


def cast(g):
    x = g.operand(kind="fib")
    value = g.values[x]
    target = g.pick([np.float32, np.int64, np.int32, np.bool_])
    if value.dtype.kind == "f" and target in (np.int64, np.int32) and not away_from_integers(value):
        return False
    if value.dtype.kind == "f" and target is np.bool_ and not (np.abs(value) > MARGIN).all():
        return False
    return g.add("Cast", [x], value.astype(target),
                 to=helper.np_dtype_to_tensor_dtype(np.dtype(target)))


# ---- shapes

def transpose(g):
    x = g.operand(lambda v: v.ndim > 1, kind="fib")
    if not x:
        return False
    order = [int(i) for i in g.random.permutation(g.values[x].ndim)]
    return g.add("Transpose", [x], g.values[x].transpose(order), perm=order)


def reshape(g):
    x = g.operand(kind="fi")
    value = g.values[x]
    choice = g.random.integers(4)
    if choice == 0:
        shape = [-1]
    elif choice == 1 and value.ndim > 1:
        shape = [0, -1]
    elif choice == 2 and value.ndim and value.shape[-1] % 2 == 0:
        shape = [0] * (value.ndim - 1) + [2, value.shape[-1] // 2]
    elif value.ndim > 1:
        shape = [-1, value.shape[-1]]
    else:
        return False
    actual = [value.shape[i] if extent == 0 else extent for i, extent in enumerate(shape)]
    return g.add("Reshape", [x, g.constant(np.array(shape, np.int64))], value.reshape(actual))


def flatten(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    axis = int(g.random.integers(g.values[x].ndim + 1))
    lead = int(np.prod(g.values[x].shape[:axis], dtype=int))
    return g.add("Flatten", [x], g.values[x].reshape(lead, -1), axis=axis)


def unsqueeze(g):
    x = g.operand(lambda v: v.ndim < 5, kind="fib")
    if not x:
        return False
    axis = int(g.random.integers(g.values[x].ndim + 1))
    return g.add("Unsqueeze", [x, g.constant(np.array([axis], np.int64))],
                 np.expand_dims(g.values[x], axis))


def squeeze(g):
    x = g.operand(lambda v: 1 in v.shape, kind="fib")
    if not x:
        return False
    axis = g.values[x].shape.index(1)
    return g.add("Squeeze", [x, g.constant(np.array([axis], np.int64))],
                 np.squeeze(g.values[x], axis))


def concat(g):
    a = g.operand(lambda v: v.ndim > 0, kind="fi")
    if not a:
        return False
    x = g.values[a]
    written, axis = axis_of(g, x)

    def fits(v):
        return v.dtype == x.dtype and v.ndim == x.ndim and all(
            p == q for i, (p, q) in enumerate(zip(v.shape, x.shape)) if i != axis)

    names = [a] + [g.operand(fits, kind=x.dtype.kind) for _ in range(g.random.integers(1, 3))]
    return g.add("Concat", names, np.concatenate([g.values[n] for n in names], axis), axis=written)


def split(g):
    x = g.operand(lambda v: v.ndim > 0 and max(v.shape) > 1)
    if not x:
        return False
    value = g.values[x]
    axis = int(np.argmax(value.shape))
    first = int(g.random.integers(1, value.shape[axis]))
    sizes = np.array([first, value.shape[axis] - first], np.int64)
    return g.add("Split", [x, g.constant(sizes)], np.split(value, [first], axis), axis=axis)


def slices(g):
    x = g.operand(lambda v: v.ndim > 0 and max(v.shape) > 1, kind="fi")
    if not x:
        return False
    value = g.values[x]
    axis = int(np.argmax(value.shape))
    step = int(g.pick([1, 1, 2, -1]))
    extent = value.shape[axis]
    if step > 0:
        start, end = int(g.random.integers(0, extent)), int(g.pick([extent, 2**31, -1]))
        index = slice(start, end, step)
    else:
        start, end = -1, -(extent + 1)
        index = slice(None, None, -1)
    result = value[tuple(index if i == axis else slice(None) for i in range(value.ndim))]
    arrays = [np.array([v], np.int64) for v in (start, end, axis, step)]
    return g.add("Slice", [x, *map(g.constant, arrays)], result)


def pad(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    value = g.values[x]
    mode = g.pick(["constant", "constant", "edge", "reflect"])
    pads = g.random.integers(0, 2, (2, value.ndim))
    if mode == "reflect":
        pads[:, np.array(value.shape) < 2] = 0
    filler = np.float32(0.5)
    options = {"constant_values": filler} if mode == "constant" else {}
    result = np.pad(value, list(zip(pads[0], pads[1])), mode=mode, **options)
    operands = [x, g.constant(pads.reshape(-1).astype(np.int64))]
    if mode == "constant":
        operands.append(g.constant(filler))
    return g.add("Pad", operands, result, mode=mode)


def expand(g):
    x = g.operand(lambda v: 1 in v.shape or v.ndim < 3)
    if not x:
        return False
    value = g.values[x]
    shape = [3 if extent == 1 and g.chance(0.7) else extent for extent in value.shape]
    if g.chance(0.4):
        shape = [2] + shape
    return g.add("Expand", [x, g.constant(np.array(shape, np.int64))],
                 np.broadcast_to(value, np.broadcast_shapes(value.shape, tuple(shape))))


def tile(g):
    x = g.operand(lambda v: v.ndim > 0, kind="fi")
    if not x:
        return False
    repeats = g.random.integers(1, 3, g.values[x].ndim)
    return g.add("Tile", [x, g.constant(repeats.astype(np.int64))], np.tile(g.values[x], repeats))


def gather(g):
    x = g.operand(lambda v: v.ndim > 0, kind="fi")
    if not x:
        return False
    value = g.values[x]
    written, axis = axis_of(g, value)
    extent = value.shape[axis]
    index = g.random.integers(-extent, extent, g.pick([(), (2,), (2, 3)]))
    return g.add("Gather", [x, g.constant(np.asarray(index, np.int64))],
                 np.take(value, index, axis), axis=written)


def gather_elements(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    value = g.values[x]
    written, axis = axis_of(g, value)
    index = g.random.integers(0, value.shape[axis], value.shape).astype(np.int64)
    return g.add("GatherElements", [x, g.constant(index)],
                 np.take_along_axis(value, index, axis), axis=written)


def shape_arithmetic(g):
    """Reshape by extents that the graph reads from its own values."""
    x = g.operand(lambda v: v.ndim > 1)
    if not x:
        return False
    value = g.values[x]
    g.add("Shape", [x], np.array(value.shape, np.int64))
    shape = g.nodes[-1].output[0]
    g.add("Gather", [shape, g.constant(np.array([0], np.int64))],
          np.array(value.shape[:1], np.int64), axis=0)
    first = g.nodes[-1].output[0]
    g.add("Concat", [first, g.constant(np.array([-1], np.int64))],
          np.array([value.shape[0], -1], np.int64), axis=0)
    target = g.nodes[-1].output[0]
    return g.add("Reshape", [x, target], value.reshape(value.shape[0], -1))


# ---- along axes

def reduce(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    value = g.values[x]
    written, axis = axis_of(g, value)
    keep = g.chance(0.5)
    op = g.pick(["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2", "ReduceL1",
                 "ReduceSumSquare"])
    function = {"ReduceMean": np.mean, "ReduceMax": np.max, "ReduceMin": np.min,
                "ReduceSum": np.sum,
                "ReduceL2": lambda v, axis, keepdims: np.sqrt((v * v).sum(axis, keepdims=keepdims)),
                "ReduceL1": lambda v, axis, keepdims: np.abs(v).sum(axis, keepdims=keepdims),
                "ReduceSumSquare": lambda v, axis, keepdims: (v * v).sum(axis, keepdims=keepdims)}
    result = function[op](value, axis=axis, keepdims=keep)
    if g.opset >= 18 or op == "ReduceSum" and g.opset >= 13:
        return g.add(op, [x, g.constant(np.array([written], np.int64))], result, keepdims=int(keep))
    return g.add(op, [x], result, axes=[written], keepdims=int(keep))


def softmax(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    value = g.values[x].astype(np.float64)
    written, axis = axis_of(g, value)
    shifted = value - value.max(axis, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    op = g.pick(["Softmax", "LogSoftmax"])
    return g.add(op, [x], (np.exp(logs) if op == "Softmax" else logs).astype(np.float32),
                 axis=written)


def cumsum(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    written, axis = axis_of(g, g.values[x])
    return g.add("CumSum", [x, g.constant(np.int64(written))], np.cumsum(g.values[x], axis))


def arg(g):
    def separated(v):
        return v.ndim > 0 and np.unique(np.round(v, 2)).size == v.size
    x = g.operand(separated)
    if not x:
        return False
    value = g.values[x]
    written, axis = axis_of(g, value)
    if g.chance(0.5):
        op = g.pick(["ArgMax", "ArgMin"])
        function = np.argmax if op == "ArgMax" else np.argmin
        return g.add(op, [x], np.expand_dims(function(value, axis), axis), axis=written)
    count = int(g.random.integers(1, value.shape[axis] + 1))
    order = np.argsort(-value, axis, kind="stable")
    order = np.take(order, range(count), axis)
    return g.add("TopK", [x, g.constant(np.array([count], np.int64))],
                 [np.take_along_axis(value, order, axis), order], axis=written)


def layer_norm(g):
    x = g.operand(lambda v: v.ndim > 0 and v.shape[-1] > 1 and bool((v.std(-1) > 0.05).all()))
    if not x or g.opset < 17:
        return False
    value = g.values[x]
    scale, shift = g.floats(value.shape[-1]), g.floats(value.shape[-1])
    normal = (value - value.mean(-1, keepdims=True)) / np.sqrt(
        value.var(-1, keepdims=True) + 1e-5)
    return g.add("LayerNormalization", [x, g.constant(scale), g.constant(shift)],
                 (normal * scale + shift).astype(np.float32), axis=-1, epsilon=1e-5)


def one_hot(g):
    x = g.operand(lambda v: v.dtype == np.int64 and bool(((v >= 0) & (v < 6)).all())
                  and 0 < v.ndim < 4, kind="i")
    if not x:
        return False
    values = np.array([-0.5, 2.0], np.float32)
    result = np.where(g.values[x][..., None] == np.arange(6), values[1], values[0])
    return g.add("OneHot", [x, g.constant(np.int64(6)), g.constant(values)],
                 result.astype(np.float32))


# ---- contractions

def matmul(g):
    x = g.operand(lambda v: v.ndim > 0)
    if not x:
        return False
    value = g.values[x]
    weight = g.floats(value.shape[-1], int(g.pick([1, 3, 8]))) / np.float32(
        np.sqrt(value.shape[-1]))
    return g.add("MatMul", [x, g.constant(weight)], value @ weight)


def matmul_of_values(g):
    a = g.operand(lambda v: v.ndim > 1)
    if not a:
        return False
    x = g.values[a]

    def fits(v):
        return v.ndim > 1 and v.shape[-2] == x.shape[-1] and broadcastable(
            np.empty(x.shape[:-2]), np.empty(v.shape[:-2])) is not None

    b = g.operand(fits)
    return bool(b) and g.add("MatMul", [a, b], x @ g.values[b])


def gemm(g):
    x = g.operand(lambda v: v.ndim == 2)
    if not x:
        return False
    value = g.values[x]
    weight = g.floats(4, value.shape[1]) / np.float32(np.sqrt(value.shape[1]))
    bias = g.floats(4)
    return g.add("Gemm", [x, g.constant(weight), g.constant(bias)],
                 np.float32(0.5) * (value @ weight.T) + bias, alpha=0.5, transB=1)


def einsum(g):
    x = g.operand(lambda v: v.ndim == 3)
    if not x:
        return False
    weight = g.floats(g.values[x].shape[2], 3)
    return g.add("Einsum", [x, g.constant(weight)],
                 np.einsum("abc,cd->adb", g.values[x], weight), equation="abc,cd->adb")


def convolution(g):
    x = g.operand(lambda v: v.ndim == 3 and v.shape[2] >= 3)
    if not x:
        return False
    value = g.values[x]
    channels = value.shape[1]
    weight = g.floats(4, channels, 3) / np.float32(np.sqrt(3 * channels))
    padded = np.pad(value, [(0, 0), (0, 0), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=2)
    result = np.einsum("bclk,ock->bol", windows, weight).astype(np.float32)
    return g.add("Conv", [x, g.constant(weight)], result, pads=[1, 1], kernel_shape=[3])


def pooling(g):
    x = g.operand(lambda v: v.ndim == 3 and v.shape[2] >= 2)
    if not x:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(g.values[x], 2, axis=2)
    op = g.pick(["MaxPool", "AveragePool"])
    return g.add(op, [x], windows.max(-1) if op == "MaxPool" else windows.mean(-1),
                 kernel_shape=[2])


MAKERS = (unary, unary, unary, binary, binary, binary, positive_only, jumping, integers, power, clip,
          compare, logic, where, cast, transpose, reshape, flatten, unsqueeze, squeeze, concat,
          split, slices, pad, expand, tile, gather, gather_elements, shape_arithmetic, reduce,
          reduce, softmax, cumsum, arg, layer_norm, one_hot, matmul, matmul, matmul_of_values, gemm,
          einsum, convolution, pooling)
