"""Where values lie: outputs that are inputs, constants or views, values that branches of an If share
with what is around them, kernels that differ only in a constant, and caches that cannot be used in
place. Against ONNX Runtime."""
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

F, BOOL = TensorProto.FLOAT, TensorProto.BOOL
RANDOM = np.random.default_rng(3)
MATRIX = RANDOM.standard_normal((4, 4)).astype(np.float32)
CONSTANT = np.arange(8, dtype=np.float32).reshape(2, 4)
BIG = RANDOM.standard_normal((100, 4)).astype(np.float32)


def value(name, element=F, dims=("n", 4)):
    return helper.make_tensor_value_info(name, element, dims)


def node(op, inputs, outputs, **attributes):
    """`-` is an operand that is left out."""
    operands = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, operands, outputs.split(), name=outputs.split()[0], **attributes)


def branch(outputs, *nodes):
    return helper.make_graph(nodes, "branch", [],
                             [helper.make_tensor_value_info(o, F, None) for o in outputs.split()])


def choose(outputs, yes, no, condition="b"):
    return node("If", condition, outputs, then_branch=yes, else_branch=no)


X, B = value("x"), value("b", BOOL, [])
CASES = {
    "output_is_input": ([node("Relu", "x", "r")], [X], [X, value("r")], {}),
    "output_is_constant": ([node("Relu", "x", "r")], [X],
                           [value("c", F, [2, 4]), value("w", F, [100, 4]), value("r")],
                           {"c": CONSTANT, "w": BIG}),
    "outputs_are_views": (
        [node("Relu", "x", "r"), node("Flatten", "r", "f", axis=0), node("Identity", "r", "i"),
         node("Identity", "x", "xi"), node("Exp", "r", "e")],
        [X], [value("r"), value("f", F, [1, "m"]), value("i"), value("xi"), value("e")], {}),
    "outputs_are_sizes": (
        [node("Shape", "x", "s"), node("Size", "x", "z")],
        [X], [value("s", TensorProto.INT64, [2]), value("z", TensorProto.INT64, [])], {}),
    "constants_differ_in_the_last_bit": (
        [node("Add", f"x k{i}", f"y{i}") for i in range(3)], [X],
        [value(f"y{i}") for i in range(3)],
        {"k0": np.float32([.1, 2, 3, 4]), "k1": np.float32([.1, 2, 3, np.nan]),
         "k2": np.float32([np.nextafter(np.float32(.1), np.float32(1)), 2, 3, 4])}),
    # The first result has no use, but its value is needed until the end of the branch.
    "if_with_an_unused_result": (
        [node("MatMul", "x m", "p"),
         choose("u y",
                branch("t0 t4", node("MatMul", "x m", "t0"), node("MatMul", "t0 m", "t1"),
                       node("MatMul", "t1 m", "t2"), node("MatMul", "t2 m", "t3"),
                       node("Add", "t3 t0", "t4")),
                branch("e0 e2", node("MatMul", "x m", "e0"), node("MatMul", "e0 m", "e1"),
                       node("Add", "e1 p", "e2"))),
         node("Neg", "y", "z")], [B, X], [value("z")], {"m": MATRIX}),
    "if_gives_what_is_outside": (
        [node("Exp", "x", "p"),
         choose("q r", branch("t0 t1", node("Identity", "x", "t0"), node("Identity", "p", "t1")),
                branch("e0 e1", node("Abs", "x", "e0"), node("Identity", "e0", "e1")))],
        [B, X], [value("q"), value("r")], {}),
    "if_on_a_size": (
        [node("Shape", "x", "s"), node("Gather", "s zero", "n0"), node("Greater", "n0 two", "g"),
         choose("y", branch("t0", node("Relu", "x", "t0")), branch("e0", node("Neg", "x", "e0")),
                "g")], [X], [value("y")], {"zero": np.int64(0), "two": np.int64(2)}),
    "if_on_data": (
        [node("ReduceMax", "x", "g0", keepdims=0), node("Greater", "g0 one", "g"),
         choose("y", branch("t0", node("Relu", "x", "t0")), branch("e0", node("Neg", "x", "e0")),
                "g")], [X], [value("y")], {"one": np.float32(1)}),
    # What a branch requires of the sizes does not count where the other one is taken.
    "if_requires_in_one_branch": (
        [choose("y",
                branch("t1", node("Concat", "x x2", "t0", axis=1),
                       node("Slice", "t0 zeros fours ones", "t1")),
                branch("e0", node("Neg", "x", "e0")))],
        [B, X, value("x2", F, ["k", 4])], [value("y")],
        {"zeros": np.int64([0]), "fours": np.int64([4]), "ones": np.int64([1])}),
    "if_in_if": (
        [choose("y",
                branch("t1", choose("t0", branch("a", node("Relu", "x", "a")),
                                    branch("c", node("Abs", "x", "c")), "d"),
                       node("Neg", "t0", "t1")),
                branch("e0", node("Neg", "x", "e0")))],
        [B, value("d", BOOL, []), X], [value("y")], {}),
}


def attention(results="y nk nv", past="pk pv", opset23=True, sequence_major=False):
    """Causal attention as a node, or spelled out without a mask."""
    if opset23:
        return [node("Attention", f"q k v - {past}", results, is_causal=1)]
    axis, swap = (1, [0, 2, 1, 3]) if sequence_major else (2, [0, 1, 2, 3])
    return [node("Concat", "pk k", "nk", axis=axis), node("Concat", "pv v", "nv", axis=axis),
            node("Transpose", "q", "q1", perm=swap), node("Transpose", "nv", "v1", perm=swap),
            node("Transpose", "nk", "k1", perm=[0, 2, 3, 1] if sequence_major else [0, 1, 3, 2]),
            node("MatMul", "q1 k1", "s0"), node("Mul", "s0 third", "s1"),
            node("Softmax", "s1", "p", axis=-1), node("MatMul", "p v1", "o"),
            node("Transpose", "o", "y", perm=swap)]


def heads(name, length, sequence_major=False):
    return value(name, F, ["b", length, 4, 8] if sequence_major else ["b", 4, length, 8])


def attention_case(nodes, outputs, sequence_major=False, **more):
    inputs = [heads(n, length, sequence_major)
              for n, length in (("q", "s"), ("k", "s"), ("v", "s"), ("pk", "p"), ("pv", "p"))]
    lengths = {"y": "s", "nk": "t", "nv": "t", "z": "p", "zt": "t"}
    return (nodes, inputs, [heads(n, lengths[n], sequence_major) for n in outputs.split()],
            {"third": np.float32(1 / 3)} if nodes[0].op_type == "Concat" else {})


# A cache is used in place only where it is an input and an output of the model, and nothing else.
CASES |= {
    "cache_in_place": attention_case(attention(), "y nk nv"),
    "cache_without_output": attention_case(attention(), "y"),
    "cache_with_one_output": attention_case(attention(), "y nk"),
    "cache_computed": attention_case(
        [node("Neg", "pk", "c"), *attention(past="c pv")], "y nk nv"),
    "cache_whose_past_is_used": attention_case([*attention(), node("Neg", "pk", "z")],
                                               "y nk nv z"),
    "cache_whose_past_is_an_output": attention_case([*attention(), node("Identity", "pv", "z")],
                                                    "y nk nv z"),
    "cache_whose_present_is_used": attention_case([*attention(), node("Neg", "nk", "zt")],
                                                  "y nk nv zt"),
    "spelled_cache_without_output": attention_case(attention(opset23=False), "y"),
    "spelled_cache_in_place": attention_case(attention(opset23=False), "y nk nv"),
    "sequence_major_cache": attention_case(
        attention(opset23=False, sequence_major=True), "y nk nv", True),
    "sequence_major_cache_without_output": attention_case(
        attention(opset23=False, sequence_major=True), "y", True),
}


def save(name, folder):
    nodes, inputs, outputs, constants = CASES[name]
    graph = helper.make_graph(nodes, name, inputs, outputs,
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    opset = 23 if any(n.op_type == "Attention" for n in nodes) else 17
    path = folder / "m.onnx"
    onnx.save(helper.make_model(graph, ir_version=10 if opset == 23 else 8,
                                opset_imports=[helper.make_opsetid("", opset)]), path)
    return path


@pytest.mark.parametrize("name", CASES)
def test_values(tools, tmp_path, name):
    path = save(name, tmp_path)
    tools.run("tacq-compile", path, "-o", tmp_path / "m.tacq")
    session = onnxruntime.InferenceSession(path)
    for trial, n in enumerate([1, 2, 5, 3, 0, 17]):
        feed = {}
        for given in session.get_inputs():
            # The second input of two agrees with the first only where it has to.
            sizes = {"n": n, "k": n if trial % 2 else n + 1, "b": 1 + trial % 3,
                     "s": 1 + (trial * 3) % 5, "p": (0, 3, 1, 17, 2, 4)[trial]}
            dims = [sizes.get(d, d) for d in given.shape]
            feed[given.name] = (np.array(trial % 2 == 1) if "bool" in given.type else
                                RANDOM.standard_normal(dims).astype(np.float32))
        np.savez(tmp_path / "in.npz", **feed)
        expected = session.run(None, feed)
        names = [o.name for o in session.get_outputs()]
        tools.run("tacq-run", tmp_path / "m.tacq", "--input", f"@{tmp_path / 'in.npz'}",
                  *[word for i, o in enumerate(names)
                    for word in ("--output", f"{o}=@{tmp_path / f'{i}.npy'}")])
        for i, reference in enumerate(expected):
            result = np.load(tmp_path / f"{i}.npy")
            assert result.shape == reference.shape, names[i]
            np.testing.assert_allclose(result, reference, rtol=1e-4, atol=1e-4,
                                       err_msg=f"{names[i]}, trial {trial}")


def test_requirement_of_the_branch_that_is_taken(tools, tmp_path):
    path = save("if_requires_in_one_branch", tmp_path)
    tools.run("tacq-compile", path, "-o", tmp_path / "m.tacq")
    np.savez(tmp_path / "in.npz", b=np.array(True), x=np.zeros((2, 4), np.float32),
             x2=np.zeros((3, 4), np.float32))
    tools.fails("tacq-run", tmp_path / "m.tacq", "--input", f"@{tmp_path / 'in.npz'}", status=3,
                says="t0")
