"""Runs the graph after recognition and fusion in numpy, straight from its printed form.

The operations' meaning is written down a second time here, from their descriptions in TACQOps.td,
with float64 and without any of the compiler's code; nodes that were left as they are run in ONNX's
reference evaluator.
"""
import re

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

DTYPES = {"f32": np.float32, "f16": np.float16, "f64": np.float64, "i64": np.int64,
          "i32": np.int32, "i1": np.bool_}
TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|array<|dense<|tensor<|#tacq\.[a-z_]+<|#tacq<|@"[^"]*"|'
                   r'@[\w.$-]+|[\w.+-]+|[\[\]{}<>=:,()@-])')


class Attributes:
    """A parser of the attributes that the graph's operations have."""

    def __init__(self, text):
        self.text, self.at = text, 0

    def next(self):
        match = TOKEN.match(self.text, self.at)
        assert match, self.text[self.at:self.at + 80]
        self.at = match.end()
        return match.group(1)

    def peek(self):
        match = TOKEN.match(self.text, self.at)
        return match.group(1) if match else ""

    def until_closed(self, depth=1):
        """The text up to the '>' that closes an opened '<'."""
        start = self.at
        while depth:
            depth += {"<": 1, ">": -1}.get(self.text[self.at], 0)
            self.at += 1
        return self.text[start:self.at - 1]

    def dictionary(self):
        assert self.next() == "{"
        result = {}
        while self.peek() != "}":
            key = self.next()
            result[key] = None
            if self.peek() == "=":
                self.next()
                result[key] = self.value()
            if self.peek() == ",":
                self.next()
        self.next()
        return result

    def type(self):
        token = self.next()
        return self.until_closed() if token == "tensor<" else token

    def value(self):
        token = self.peek()
        if token == "{":
            return self.dictionary()
        token = self.next()
        if token[0] == '"':
            return token[1:-1]
        if token[0] == "@":
            return token[1:].strip('"')
        if token == "unit":
            return None
        if token == "array<":
            _, _, numbers = self.until_closed().partition(":")
            return [float(n) if "." in n else int(n) for n in numbers.split(",") if n.strip()]
        if token == "dense<":
            elements = self.until_closed()
            assert self.next() == ":"
            return dense(elements, self.type())
        if token == "tensor<" or token.startswith("#"):
            return self.until_closed().strip()
        if token == "[":
            result = []
            while self.peek() != "]":
                result.append(self.value())
                if self.peek() == ",":
                    self.next()
            self.next()
            return result
        kind = None
        if self.peek() == ":":
            self.next()
            kind = self.type()
        if kind and kind.startswith("f"):
            return float(token)
        if token in ("true", "false"):
            return token == "true"
        return int(token) if kind else token


def dense(elements, tensor_type):
    *shape, element = tensor_type.split("x")
    dtype, shape = DTYPES[element], [int(n) for n in shape]

    def number(text):
        if text in ("true", "false"):
            return text == "true"
        if text.startswith("0x"):
            return np.frombuffer(int(text, 16).to_bytes(np.dtype(dtype).itemsize, "little"), dtype)[0]
        return dtype(text)

    if elements.startswith('"'):
        return np.frombuffer(bytes.fromhex(elements[3:-1]), dtype).reshape(shape)
    values = [number(t) for t in re.findall(r"[^\s,\[\]]+", elements)]
    return np.broadcast_to(np.array(values, dtype).reshape(-1 if len(values) > 1 else []),
                           [int(np.prod(shape))]).reshape(shape)


def evaluate(expression, sizes):
    """The value of a symbolic expression."""
    functions = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "min": min, "max": max}
    return eval(expression, {"__builtins__": {}}, {**functions, **sizes})


def silu(x):
    return x / (1 + np.exp(-x))


class Graph:
    """The function `main` of a module in generic form."""

    LINE = re.compile(r'^\s*(?:(%[^=]*?) = )?"([\w.]+)"\(([^)]*)\)(?: <(\{.*?\})>)?'
                      r'(?: (\{.*\}))? : \((.*)\) -> (.*)$')

    def __init__(self, text, weights):
        self.weights = weights
        self.parameters, self.operations = {}, []
        for line in text.splitlines():
            if '"tacq.param"' in line:
                attributes = Attributes(line[line.index("<{") + 1:]).dictionary()
                self.parameters[attributes["sym_name"]] = attributes
            elif line.strip().startswith("^bb0("):
                self.arguments = re.findall(r'(%\w+): tensor<[^#>]*?(?:, #tacq.shape<\[(.*?)\]>)?>',
                                            line)
            elif match := self.LINE.match(line):
                names, operation, operands, properties, _, _, results = match.groups()
                properties = Attributes(properties).dictionary() if properties else {}
                self.operations.append((names, operation, [o for o in operands.split(", ") if o],
                                        properties, results))
        header = text[text.index('"func.func"'):]
        self.inputs = re.findall(r'tacq.name = "([^"]+)"', self.attribute(header, "arg_attrs"))
        self.outputs = re.findall(r'tacq.name = "([^"]+)"', self.attribute(text, "res_attrs"))

    @staticmethod
    def attribute(text, name):
        start = text.find(name + " = [")
        return text[start:text.index("]", start)] if start >= 0 else ""

    def count(self, operation):
        return sum(1 for op in self.operations if op[1] == operation)

    def nodes(self):
        return sorted(op[3]["op_type"] for op in self.operations if op[1] == "tacq.node")

    def run(self, feed):
        values, sizes = {}, {}
        for (argument, dims), name in zip(self.arguments, self.inputs):
            values[argument] = feed[name]
            for dim, size in zip(re.findall(r'"([^"]*)"', dims), feed[name].shape):
                if re.fullmatch(r"[A-Za-z_]\w*", dim):
                    assert sizes.setdefault(dim, size) == size, f"{dim} is {sizes[dim]} and {size}"
        for names, operation, operands, properties, result_types in self.operations:
            if operation in ("func.return",):
                return [values[o] for o in operands]
            inputs = [values[o] for o in operands]
            results = getattr(self, operation.split(".")[1])(inputs, properties, sizes,
                                                             result_types)
            if names is None:
                continue
            for name, result in zip(self.result_names(names), results):
                values[name] = result
        raise AssertionError("the function has no return")

    @staticmethod
    def result_names(names):
        name, _, count = names.partition(":")
        return [f"{name}#{i}" for i in range(int(count))] if count else names.split(", ")

    # The operations: inputs, properties, values of the dimensions, result types as text.

    def get_param(self, _, properties, sizes, types):
        return [self.weights(self.parameters[properties["param"]])]

    def constant(self, _, properties, sizes, types):
        return [properties["value"]]

    def symbolic(self, _, properties, sizes, types):
        shape, element = re.match(r"tensor<((?:\d+x)*)(\w+)", types).groups()
        numbers = [evaluate(v, sizes) for v in properties["values"]]
        return [np.array(numbers, DTYPES[element]).reshape([int(n) for n in shape.split("x")[:-1]])]

    def none(self, *_):
        return [None]

    def require(self, _, properties, sizes, types):
        lhs, rhs = (evaluate(properties[side], sizes) for side in ("lhs", "rhs"))
        assert lhs <= rhs if "at_most" in properties else lhs == rhs, properties["message"]
        return []

    def node(self, inputs, properties, sizes, types):
        names = ["" if x is None else f"i{k}" for k, x in enumerate(inputs)]
        node = helper.make_node(properties["op_type"], names, ["o"], **properties["attrs"])
        given = [n for n in names if n]
        graph = helper.make_graph(
            [node], "one",
            [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
             for n, x in zip(names, inputs) if n], [helper.make_empty_tensor_value_info("o")])
        model = helper.make_model(graph,
                                  opset_imports=[helper.make_opsetid("", properties["opset"])])
        feed = {n: x for n, x in zip(names, inputs) if n in given}
        return [ReferenceEvaluator(model).run(None, feed)[0]]

    @staticmethod
    def segments(inputs, properties):
        parts, at = [], 0
        for size in properties["operandSegmentSizes"]:
            parts.append(inputs[at:at + size])
            at += size
        return parts

    def linear(self, inputs, properties, sizes, types):
        (x,), scales, weights, biases, residual = self.segments(inputs, properties)
        assert not scales, "nothing is quantized in these graphs"
        activation = {0: lambda y: y, 1: silu, 4: lambda y: np.maximum(y, 0)}[
            properties.get("activation", 0)]
        results = []
        for i, (weight, order) in enumerate(zip(weights, properties["weight_order"])):
            weight = weight.astype(np.float64)
            y = x.astype(np.float64) @ (weight.T if order == 0 else weight)
            results.append(y + biases[i] if biases else y)
        if "gated" in properties:
            results = [activation(results[0]) * results[1]]
        else:
            results = [activation(y) for y in results]
        if residual:
            results[0] = results[0] + residual[0]
        return [y.astype(x.dtype) for y in results]

    def norm(self, inputs, properties, sizes, types):
        (x,), gain, bias = self.segments(inputs, properties)
        y = x.astype(np.float64)
        if properties["kind"] == 1:
            y = y - y.mean(-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(-1, keepdims=True) + properties["epsilon"])
        y = y * gain[0] if gain else y
        return [(y + bias[0] if bias else y).astype(x.dtype)]

    def rope(self, inputs, properties, sizes, types):
        x, cos, sin = inputs
        half = cos.shape[-1]
        cos, sin = cos[:, :, None].astype(np.float64), sin[:, :, None].astype(np.float64)
        y = x.astype(np.float64).copy()
        first, second = ((slice(0, 2 * half, 2), slice(1, 2 * half, 2))
                         if "interleaved" in properties
                         else (slice(0, half), slice(half, 2 * half)))
        a, b = y[..., first].copy(), y[..., second].copy()
        y[..., first], y[..., second] = a * cos - b * sin, b * cos + a * sin
        return [y.astype(x.dtype)]

    def attention(self, inputs, properties, sizes, types):
        (q,), (k,), (v,), past_key, past_value, key_mask, bias = self.segments(inputs, properties)
        k, v = (np.swapaxes(t, 1, 2) for t in (k, v))
        if past_key:
            k, v = np.concatenate([past_key[0], k], 2), np.concatenate([past_value[0], v], 2)
        repeat = q.shape[2] // k.shape[1]
        keys, values = (np.repeat(t.astype(np.float64), repeat, 1) for t in (k, v))
        queries = np.swapaxes(q, 1, 2).astype(np.float64)
        scores = queries @ np.swapaxes(keys, 2, 3) * properties["scale"]
        length, total = scores.shape[2:]
        past = total - length if past_key else 0
        if bias:
            scores = scores + bias[0]
        visible = np.ones((1, 1, length, total), bool)
        if "causal" in properties:
            visible = np.arange(total) <= np.arange(length)[:, None] + past
        if key_mask:
            assert key_mask[0].shape == (q.shape[0], total)
            visible = visible & (key_mask[0] != 0)[:, None, None]
        scores = np.where(visible, scores, -np.inf)
        top = scores.max(-1, keepdims=True)
        weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
        weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-300)
        out = np.swapaxes(weights @ values, 1, 2).astype(q.dtype)
        return [out, k, v] if past_key else [out]


def weights_of(folder):
    """Reads parameters from their sources."""
    def read(parameter):
        file, offset, length = re.match(r'"([^"]+)", (\d+), (\d+)', parameter["source"]).groups()
        *shape, element = parameter["type"].split("x")
        with open(folder / file, "rb") as stream:
            stream.seek(int(offset))
            data = stream.read(int(length))
        return np.frombuffer(data, DTYPES[element]).reshape([int(n) for n in shape])
    return read


def random_inputs(path, random, batch, past, sequence):
    """Inputs of an export with padding on the left, and the rows that are not padding."""
    model = onnx.load(path, load_external_data=False)
    feed = {"input_ids": random.integers(0, 257, (batch, sequence))}
    valid = np.ones((batch, sequence), bool)
    for value in model.graph.input:
        tensor = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        if value.name.startswith("past_key_values"):
            heads, features = tensor.shape.dim[1].dim_value, tensor.shape.dim[3].dim_value
            feed[value.name] = random.standard_normal((batch, heads, past, features)).astype(dtype)
        elif value.name == "attention_mask":
            mask = np.ones((batch, past + sequence), np.int64)
            for row in range(batch):
                mask[row, :random.integers(0, past + sequence)] = 0
            feed["attention_mask"] = mask
            valid = mask[:, past:] != 0
        elif value.name == "position_ids":
            feed["position_ids"] = np.broadcast_to(np.arange(past, past + sequence),
                                                   (batch, sequence)).copy()
    return feed, valid
