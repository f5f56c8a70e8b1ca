#!/usr/bin/env python3
"""Writes a Llama with random weights as an ONNX model, to measure speed and memory of a shape without its checkpoint.

    make-llama.py --preset small|1.1b|7.2b MODEL.onnx [--type f16|f32] [--seed 0] [--layers N ...]

The graph is what torch.export makes of such a model: a cache goes in and out, a causal mask is made
of attention_mask, batch, sequence and past are dynamic. The weights go to MODEL.onnx.data piece by
piece, so that memory does not depend on the size of the model. A context length is no part of the
graph: the cache has what capacity the runtime is asked for. The same arguments give the same bytes.
Needs numpy and onnx.
"""
import argparse
import itertools
import json
import pathlib
import statistics
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper

FIELDS = ("layers", "hidden", "intermediate", "heads", "kv_heads", "vocabulary", "tied")
PRESETS = {
    "small": (12, 512, 1536, 8, 4, 320, True),
    "1.1b": (22, 2048, 5632, 32, 4, 32000, False),
    "7.2b": (32, 4096, 14336, 32, 8, 32000, False),
}
EPSILON, ROPE_BASE = 1e-5, 10000.0
PIECE = 1 << 22  # numbers that are drawn at once
LAST = np.iinfo(np.int64).max


class Weights:
    """Random numbers, appended to the data file; tensors that say where they are."""

    def __init__(self, path, kind, seed):
        self.path, self.stream = path, open(path, "wb")
        self.kind, self.dtype = kind, helper.tensor_dtype_to_np_dtype(kind)
        self.bits = np.random.PCG64(seed)
        # A normal variate is looked up by 16 random bits: raw bits are the same in all versions of
        # numpy, its own normal variates are not.
        normal = statistics.NormalDist()
        self.normal = np.array([normal.inv_cdf((i + 0.5) / 65536) for i in range(65536)])

    def draw(self, name, shape, mean, deviation):
        self.stream.write(bytes(-self.stream.tell() % 64))
        begin, count = self.stream.tell(), int(np.prod(shape))
        table = (mean + deviation * self.normal).astype(self.dtype)
        for first in range(0, count, PIECE):
            size = min(PIECE, count - first)
            raw = self.bits.random_raw((size + 3) // 4).astype("<u8").view("<u2")[:size]
            self.stream.write(table[raw].tobytes())
        tensor = TensorProto(name=name, data_type=self.kind, dims=shape,
                             data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self.path.name), ("offset", begin),
                           ("length", self.stream.tell() - begin)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor


class Graph:
    """Nodes, named by what they compute."""

    def __init__(self, weights):
        self.weights, self.nodes, self.initializers, self.constants = weights, [], [], {}

    def node(self, op, *inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"node_{name}", **attributes))
        return name

    def constant(self, values, dtype=np.int64):
        array = np.array(values, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = f"const_{len(self.constants)}"
            self.initializers.append(onnx.numpy_helper.from_array(array, self.constants[key]))
        return self.constants[key]

    def weight(self, name, shape, mean=0.0, deviation=1.0):
        self.initializers.append(self.weights.draw(name, shape, mean, deviation))
        return name


class Llama:
    def __init__(self, shape, weights):
        self.__dict__.update(shape)
        self.head = self.hidden // self.heads
        self.g, self.kind = Graph(weights), weights.kind
        self.half = self.kind == TensorProto.FLOAT16

    def cast(self, value, kind, name):
        return self.g.node("Cast", value, name=name, to=kind) if self.half else value

    def norm(self, x, name):
        g = self.g
        wide = self.cast(x, TensorProto.FLOAT, f"{name}.wide")
        square = g.node("Pow", wide, g.constant(2.0, np.float32), name=f"{name}.square")
        mean = g.node("ReduceMean", square, g.constant([-1]), name=f"{name}.mean", keepdims=1)
        shifted = g.node("Add", mean, g.constant(EPSILON, np.float32), name=f"{name}.shifted")
        root = g.node("Sqrt", shifted, name=f"{name}.root")
        inverse = g.node("Reciprocal", root, name=f"{name}.inverse")
        scaled = g.node("Mul", wide, inverse, name=f"{name}.scaled")
        narrow = self.cast(scaled, self.kind, f"{name}.narrow")
        return g.node("Mul", g.weight(f"{name}.weight", [self.hidden], 1.0, 0.1), narrow,
                      name=f"{name}.out")

    def linear(self, x, name, outputs, inputs):
        # [in, out], as exporters leave a transposed weight.
        weight = self.g.weight(f"{name}.weight", [inputs, outputs], 0.0, inputs**-0.5)
        return self.g.node("MatMul", x, weight, name=f"{name}.out")

    def dimension(self, value, axis, name):
        return self.g.node("Shape", value, name=name, start=axis, end=axis + 1)

    def positions(self):
        """Sizes, the mask and the rotary tables, which all layers share."""
        g, key = self.g, "past_key_values.0.key"
        self.batch = self.dimension("input_ids", 0, "batch_size")
        self.sequence = self.dimension("input_ids", 1, "sequence_size")
        past = self.dimension(key, 2, "past_size")
        self.total = g.node("Add", past, self.sequence, name="total_size")
        zero, one = g.constant(0), g.constant(1)

        def scalar(size):
            return g.node("Squeeze", size, name=f"{size}_scalar")

        queries = g.node("Range", zero, scalar(self.sequence), one, name="queries")
        queries = g.node("Add", queries, past, name="query_positions")
        keys = g.node("Range", zero, scalar(self.total), one, name="keys")
        queries = g.node("Unsqueeze", queries, g.constant([0, 1, 3]), name="query_axis")
        keys = g.node("Unsqueeze", keys, g.constant([0, 1, 2]), name="key_axis")
        causal = g.node("LessOrEqual", keys, queries, name="causal")
        attended = g.node("Cast", "attention_mask", name="attended", to=TensorProto.BOOL)
        attended = g.node("Unsqueeze", attended, g.constant([1, 2]), name="attended_axis")
        allowed = g.node("And", causal, attended, name="allowed")
        dtype = np.float16 if self.half else np.float32
        self.mask = g.node("Where", allowed, g.constant(0.0, dtype),
                           g.constant(np.finfo(dtype).min, dtype), name="mask")

        frequencies = ROPE_BASE ** (-np.arange(0, self.head, 2) / self.head)
        positions = g.node("Unsqueeze", "position_ids", g.constant([2]), name="position_axis")
        positions = g.node("Cast", positions, name="positions", to=TensorProto.FLOAT)
        angles = g.node("Mul", positions, g.constant(frequencies, np.float32), name="angles")
        angles = g.node("Concat", angles, angles, name="all_angles", axis=-1)
        self.tables = []
        for function in ("Cos", "Sin"):
            table = g.node(function, angles, name=function.lower())
            table = self.cast(table, self.kind, f"{function.lower()}.narrow")
            self.tables.append(g.node("Unsqueeze", table, g.constant([1]),
                                      name=f"{function.lower()}.heads"))

    def rotated(self, x, name):
        g, half = self.g, self.head // 2
        first, last = g.constant([0]), g.constant([LAST])
        axis, middle, step = g.constant([3]), g.constant([half]), g.constant([1])
        low = g.node("Slice", x, first, middle, axis, step, name=f"{name}.low")
        high = g.node("Slice", x, middle, last, axis, step, name=f"{name}.high")
        turned = g.node("Concat", g.node("Neg", high, name=f"{name}.negative"), low,
                        name=f"{name}.turned", axis=-1)
        along = g.node("Mul", x, self.tables[0], name=f"{name}.along")
        across = g.node("Mul", turned, self.tables[1], name=f"{name}.across")
        return g.node("Add", along, across, name=f"{name}.rotated")

    def heads_of(self, x, count, name):
        g = self.g
        shape = g.node("Concat", self.batch, self.sequence, g.constant([count, self.head]),
                       name=f"{name}.shape", axis=0)
        split = g.node("Reshape", x, shape, name=f"{name}.split", allowzero=1)
        return g.node("Transpose", split, name=f"{name}.heads", perm=[0, 2, 1, 3])

    def repeated(self, x, name):
        """A key/value head for each head of the queries."""
        g = self.g
        x = g.node("Unsqueeze", x, g.constant([2]), name=f"{name}.group")
        wide = g.node("Concat", self.batch, g.constant([self.kv_heads]),
                      g.constant([self.heads // self.kv_heads]), self.total,
                      g.constant([self.head]), name=f"{name}.wide", axis=0)
        x = g.node("Expand", x, wide, name=f"{name}.expanded")
        flat = g.node("Concat", self.batch, g.constant([self.heads]), self.total,
                      g.constant([self.head]), name=f"{name}.flat", axis=0)
        return g.node("Reshape", x, flat, name=f"{name}.repeated", allowzero=1)

    def attention(self, x, layer, name):
        g, dtype = self.g, np.float16 if self.half else np.float32
        width = self.kv_heads * self.head
        query = self.linear(x, f"{name}.q_proj", self.hidden, self.hidden)
        key = self.linear(x, f"{name}.k_proj", width, self.hidden)
        value = self.linear(x, f"{name}.v_proj", width, self.hidden)
        query = self.rotated(self.heads_of(query, self.heads, f"{name}.q"), f"{name}.q")
        key = self.rotated(self.heads_of(key, self.kv_heads, f"{name}.k"), f"{name}.k")
        value = self.heads_of(value, self.kv_heads, f"{name}.v")
        key = g.node("Concat", f"past_key_values.{layer}.key", key, name=f"present.{layer}.key",
                     axis=-2)
        value = g.node("Concat", f"past_key_values.{layer}.value", value,
                       name=f"present.{layer}.value", axis=-2)
        keys = g.node("Transpose", self.repeated(key, f"{name}.key"), name=f"{name}.keys",
                      perm=[0, 1, 3, 2])
        values = self.repeated(value, f"{name}.value")
        # Half of the scale on each side, so that f16 does not overflow.
        scale = g.constant(self.head**-0.25, dtype)
        query = g.node("Mul", query, scale, name=f"{name}.query")
        keys = g.node("Mul", keys, scale, name=f"{name}.scaled_keys")
        scores = g.node("MatMul", query, keys, name=f"{name}.scores")
        scores = g.node("Add", scores, self.mask, name=f"{name}.masked")
        weights = g.node("Softmax", scores, name=f"{name}.weights", axis=-1)
        mixed = g.node("MatMul", weights, values, name=f"{name}.mixed")
        mixed = g.node("Transpose", mixed, name=f"{name}.rows", perm=[0, 2, 1, 3])
        shape = g.node("Concat", self.batch, self.sequence, g.constant([self.hidden]),
                       name=f"{name}.out_shape", axis=0)
        mixed = g.node("Reshape", mixed, shape, name=f"{name}.joined", allowzero=1)
        return self.linear(mixed, f"{name}.o_proj", self.hidden, self.hidden)

    def mlp(self, x, name):
        g = self.g
        gate = self.linear(x, f"{name}.gate_proj", self.intermediate, self.hidden)
        up = self.linear(x, f"{name}.up_proj", self.intermediate, self.hidden)
        silu = g.node("Mul", gate, g.node("Sigmoid", gate, name=f"{name}.sigmoid"),
                      name=f"{name}.silu")
        product = g.node("Mul", silu, up, name=f"{name}.product")
        return self.linear(product, f"{name}.down_proj", self.hidden, self.intermediate)

    def model(self, name):
        g = self.g
        self.positions()
        embedding = g.weight("model.embed_tokens.weight", [self.vocabulary, self.hidden])
        x = g.node("Gather", embedding, "input_ids", name="embedding", axis=0)
        for layer in range(self.layers):
            prefix = f"model.layers.{layer}"
            attended = self.attention(self.norm(x, f"{prefix}.input_layernorm"), layer,
                                      f"{prefix}.self_attn")
            x = g.node("Add", x, attended, name=f"{prefix}.attended")
            fed = self.mlp(self.norm(x, f"{prefix}.post_attention_layernorm"), f"{prefix}.mlp")
            x = g.node("Add", x, fed, name=f"{prefix}.fed")
            print(f"layer {layer + 1}/{self.layers}", file=sys.stderr)
        x = self.norm(x, "model.norm")
        head = embedding
        if not self.tied:
            head = g.weight("lm_head.weight", [self.vocabulary, self.hidden], 0.0,
                            self.hidden**-0.5)
        transposed = g.node("Transpose", head, name="lm_head.transposed", perm=[1, 0])
        g.node("MatMul", x, transposed, name="logits")

        def value(label, kind, *dims):
            return helper.make_tensor_value_info(label, kind, dims)

        inputs = [value("input_ids", TensorProto.INT64, "batch", "sequence"),
                  value("attention_mask", TensorProto.INT64, "batch", "total"),
                  value("position_ids", TensorProto.INT64, "batch", "sequence")]
        outputs = [value("logits", self.kind, "batch", "sequence", self.vocabulary)]
        for layer, part in itertools.product(range(self.layers), ("key", "value")):
            dims = ["batch", self.kv_heads, "past", self.head]
            inputs.append(value(f"past_key_values.{layer}.{part}", self.kind, *dims))
            dims[2] = "past + sequence"
            outputs.append(value(f"present.{layer}.{part}", self.kind, *dims))
        graph = helper.make_graph(g.nodes, name, inputs, outputs, g.initializers)
        # Nothing that varies with the installed version: the same arguments give the same bytes.
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10,
                                 producer_name="make-llama")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("output", type=pathlib.Path, metavar="MODEL.onnx", nargs="?")
    parser.add_argument("--print-presets", action="store_true",
                        help="print their shapes as JSON, and make no model")
    parser.add_argument("--preset", choices=PRESETS, default="small", help="(default: small)")
    for name in FIELDS[:-1]:
        parser.add_argument("--" + name.replace("_", "-"), type=int, help="instead of the preset's")
    parser.add_argument("--tied", action=argparse.BooleanOptionalAction,
                        help="one matrix for the embedding and the head, or two")
    parser.add_argument("--type", choices=("f16", "f32"), default="f16",
                        help="of weights and activations (default: f16)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    options = parser.parse_args()
    if options.print_presets:
        print(json.dumps({name: dict(zip(FIELDS, shape)) for name, shape in PRESETS.items()}))
        return
    if options.output is None:
        parser.error("MODEL.onnx is missing")
    shape = dict(zip(FIELDS, PRESETS[options.preset]))
    shape.update({name: getattr(options, name) for name in FIELDS
                  if getattr(options, name) is not None})
    if min(shape[name] for name in FIELDS[:-1]) < 1:
        parser.error("all extents must be positive")
    if shape["hidden"] % (2 * shape["heads"]) or shape["heads"] % shape["kv_heads"]:
        parser.error("heads must divide hidden into even parts, and kv heads must divide heads")
    kind = TensorProto.FLOAT16 if options.type == "f16" else TensorProto.FLOAT
    data = options.output.parent / (options.output.name + ".data")
    weights = Weights(data, kind, options.seed)
    name = f"llama-{options.preset}-random"
    model = Llama(shape, weights).model(name)
    weights.stream.close()
    options.output.write_bytes(model.SerializeToString(deterministic=True))


main()
