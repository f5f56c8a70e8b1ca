"""Random valid ONNX graphs, grown node by node by the functions of random_nodes.py. Values that are too
large for a comparison of f32 results are not kept.
"""
import numpy as np
import onnx
from onnx import helper

from random_nodes import MAKERS, shape_arithmetic

LARGEST = 100.0
MAX_ELEMENTS = 4096
# The extents of dynamic dimensions by their names.
SYMBOLS = {"b": 2, "n": 5}


class Graph:
    def __init__(self, random, opset):
        self.random = random
        self.opset = opset
        self.values = {}       # name -> array
        self.nodes = []
        self.initializers = []
        self.inputs = []
        self.used = set()

    # ---- choosing

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        items = list(items)
        return items[self.random.integers(len(items))] if items else None

    def operand(self, condition=lambda value: True, kind="f"):
        """The name of a value, the newest ones more often, or None."""
        names = [n for n, v in self.values.items() if v.dtype.kind in kind and condition(v)]
        if not names:
            return None
        index = len(names) - 1 - min(int(self.random.exponential(3.0)), len(names) - 1)
        return names[index]

    # ---- adding

    def add_input(self, dims, array):
        name = f"x{len(self.inputs)}"
        dtype = helper.np_dtype_to_tensor_dtype(array.dtype)
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        self.values[name] = array
        return name

    def constant(self, array):
        array = np.asarray(array)
        name = f"c{len(self.initializers)}"
        self.initializers.append(onnx.numpy_helper.from_array(array, name))
        return name

    def floats(self, *shape):
        return self.random.standard_normal(shape).astype(np.float32)

    def add(self, op, operands, results, **attributes):
        """Adds a node unless a result is not usable; returns whether it did."""
        results = results if isinstance(results, list) else [results]
        results = [np.asarray(r) for r in results]
        for result in results:
            if result.size > MAX_ELEMENTS or result.size == 0:
                return False
            if result.dtype.kind == "f" and not (np.abs(result) <= LARGEST).all():
                return False
            if result.dtype.kind == "i" and not (np.abs(result.astype(float)) < 1e6).all():
                return False
        names = [f"v{len(self.nodes)}_{i}" for i in range(len(results))]
        self.nodes.append(helper.make_node(op, operands, names, name=f"node{len(self.nodes)}",
                                           **attributes))
        self.used.update(operands)
        self.values.update(zip(names, results))
        return True

    def model(self):
        made = [n for node in self.nodes for n in node.output]
        outputs = [n for n in made if n not in self.used]
        extra = self.pick(made)
        if extra not in outputs and self.chance(0.3):
            outputs.append(extra)
        infos = [helper.make_tensor_value_info(
            n, helper.np_dtype_to_tensor_dtype(self.values[n].dtype),
            [None] * self.values[n].ndim) for n in outputs]
        graph = helper.make_graph(self.nodes, "random", self.inputs, infos, self.initializers)
        return helper.make_model(graph, ir_version=8,
                                 opset_imports=[helper.make_opsetid("", self.opset)])


def make_graph(seed):
    """A graph of 3 to 15 nodes; the same one for the same seed."""
    random = np.random.default_rng(seed)
    g = Graph(random, int(random.choice([13, 14, 17, 18, 21])))
    for _ in range(int(random.integers(1, 4))):
        rank = int(random.integers(1, 5))
        dims = [g.pick(["b", "n", 1, 3, 4, 8]) for _ in range(rank)]
        shape = [SYMBOLS.get(d, d) for d in dims]
        if g.chance(0.15):
            g.add_input(dims, random.integers(0, 6, shape))
        else:
            g.add_input(dims, g.floats(*shape))
    if not any(v.dtype.kind == "f" for v in g.values.values()):
        g.add_input(["b", 4], g.floats(SYMBOLS["b"], 4))
    wanted = int(random.integers(3, 16))
    while len(g.nodes) < wanted:
        before = len(g.nodes)
        maker = g.pick(MAKERS)
        if maker is shape_arithmetic and wanted - before < 4:
            continue
        maker(g)
    return g
