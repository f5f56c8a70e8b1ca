"""Writes the small ONNX models of the import tests: models.py NAME FOLDER."""

import os
import sys

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper as nh

F, I = T.FLOAT, T.INT64


def value(name, shape=None, element=F):
    return h.make_tensor_value_info(name, element, shape)


def model(nodes, inputs, outputs, initializers=(), opset=17, **kwargs):
    functions = kwargs.pop("functions", ())
    domains = kwargs.pop("domains", {})
    graph = h.make_graph(nodes, "g", inputs, outputs, initializers, **kwargs)
    imports = [h.make_opsetid("", opset)] + [h.make_opsetid(d, v) for d, v in domains.items()]
    return h.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=10)


def weights(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def basic():
    """Parameters and constants in every form, absent operands and results, attributes."""
    raw = nh.from_array(weights(1, 16, 8), "layer.0.weight")
    typed = h.make_tensor("typed/float", F, [16, 8], weights(2, 16, 8).ravel().tolist())
    half = h.make_tensor("half", T.FLOAT16, [16, 8], weights(3, 16, 8).astype(np.float16).ravel())
    longs = h.make_tensor("longs", I, [1100], np.arange(-550, 550) * 2**40)
    wide = nh.from_array(weights(4, 70), "main")
    small = nh.from_array(np.array([2.5, -1], np.float32), "small")
    flags = h.make_tensor("flags", T.BOOL, [3], [True, False, True])
    nodes = [
        h.make_node("Constant", [], ["axes"], value_ints=[-1, 2]),
        h.make_node("Constant", [], ["half_pi"], value_float=1.5),
        h.make_node("Constant", [], ["table"], value=nh.from_array(weights(5, 100), "unused")),
        h.make_node("Identity", ["layer.0.weight"], ["shared"]),
        h.make_node("MatMul", ["x", "layer.0.weight"], ["a"], name="first"),
        h.make_node("MatMul", ["x", "shared"], ["b"]),
        h.make_node("Clip", ["a", "", "half_pi"], ["c"], name="clip"),
        h.make_node("Dropout", ["c"], ["d", ""], name="two results"),
        h.make_node("Strange", ["d", "typed/float", "half", "longs", "main", "small", "flags",
                                "table", "axes", "b"], ["y"], name="all", domain="vendor.ops",
                    i=3, f=0.5, s="text", ints=[1, 2], floats=[1.0], strings=["p", "q"],
                    t=nh.from_array(np.array([7], np.int64)),
                    big=nh.from_array(weights(6, 80))),
    ]
    return model(nodes, [value("x", ["batch", 16])], [value("y", [1, 2])],
                 [raw, typed, half, longs, wide, small, flags], domains={"vendor.ops": 3},
                 value_info=[value("a", ["batch", 8])])


def dims():
    """Names of dimensions: shared, an expression, not an expression, none at all, negative."""
    return model([h.make_node("Strange", ["a", "b", "c"], ["y"], domain="v")],
                 [value("a", ["batch", "seq len", "past"]),
                  value("b", ["seq len", "past + batch", "x-y", None]),
                  value("c", [-1, 0, "3"])],
                 [value("y")], domains={"v": 1})


def functions():
    """Nested functions with references to attributes, defaults and an absent input."""
    inner = h.make_function(
        "local", "Scale", ["v"], ["r"],
        [h.make_node("Constant", [], ["s"]), h.make_node("Mul", ["v", "s"], ["r"], name="mul")],
        [h.make_opsetid("", 16)], ["alpha"])
    reference = inner.node[0].attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "alpha"
    reference.type = onnx.AttributeProto.FLOAT
    outer = h.make_function(
        "local", "Twice", ["v", "w"], ["r"],
        [h.make_node("Scale", ["v"], ["t"], domain="local", name="one"),
         h.make_node("Scale", ["t"], ["u"], domain="local", name="two", alpha=4.0),
         h.make_node("Strange", ["u", "w"], ["r"], domain="vendor")],
        [h.make_opsetid("", 16), h.make_opsetid("local", 1), h.make_opsetid("vendor", 5)],
        [], [h.make_attribute("beta", 2.0)])
    passed = outer.node[0].attribute.add()
    passed.name, passed.ref_attr_name = "alpha", "beta"
    passed.type = onnx.AttributeProto.FLOAT
    nodes = [h.make_node("Twice", ["x"], ["m"], domain="local", name="call"),
             h.make_node("Twice", ["m"], ["y"], domain="local", beta=3.0)]
    return model(nodes, [value("x", ["n"])], [value("y", ["n"])], functions=[inner, outer],
                 domains={"local": 1})


def subgraphs():
    """If with else_branch first in the file, and a Loop; both see the values around them."""
    def branch(name, op):
        return h.make_graph([h.make_node(op, ["x", "k"], [name])], name, [], [value(name, ["n"])])
    conditional = h.make_node("If", ["c"], ["i"], name="choose")
    conditional.attribute.append(h.make_attribute("else_branch", branch("e", "Sub")))
    conditional.attribute.append(h.make_attribute("then_branch", branch("t", "Add")))
    body = h.make_graph(
        [h.make_node("Identity", ["go"], ["go_on"]), h.make_node("Mul", ["v", "x"], ["v_out"])],
        "body", [value("it", [], I), value("go", [], T.BOOL), value("v", ["n"])],
        [value("go_on", [], T.BOOL), value("v_out", ["n"])],
        [nh.from_array(np.float32(1), "unused")])
    loop = h.make_node("Loop", ["trips", "", "i"], ["y"], name="repeat", body=body)
    return model([conditional, loop],
                 [value("x", ["n"]), value("c", [], T.BOOL), value("trips", [], I)],
                 [value("y", ["n"])], [nh.from_array(weights(7, 90), "k")])


def external():
    made = model([h.make_node("MatMul", ["x", "w"], ["y"], name="mm")], [value("x", ["n", 16])],
                 [value("y")], [nh.from_array(weights(8, 16, 8), "w")])
    return made


def write_external(folder, file, location="weights.bin", offset=64, length=512, data=None,
                   **tensor):
    made = external()
    entry = made.graph.initializer[0]
    content = entry.raw_data
    entry.ClearField("raw_data")
    entry.data_location = T.EXTERNAL
    pairs = {"location": location, "offset": offset, "length": length}
    for key, text in pairs.items():
        if text is not None:
            entry.external_data.add(key=key, value=str(text))
    for key, field in tensor.items():
        setattr(entry, key, field)
    onnx.save(made, os.path.join(folder, file))
    with open(os.path.join(folder, "weights.bin"), "wb") as out:
        out.write(b"\xff" * 64 + (content if data is None else data))


def writes_external(folder):
    outside = os.path.join(folder, "..", os.path.basename(folder) + ".outside")
    with open(outside, "wb") as out:
        out.write(bytes(1024))
    for name in ("link.bin", "gone.bin"):
        if os.path.lexists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    os.symlink(outside, os.path.join(folder, "link.bin"))
    write_external(folder, "good.onnx")
    write_external(folder, "no_length.onnx", length=None)
    write_external(folder, "missing.onnx", location="gone.bin")
    write_external(folder, "parent.onnx", location="sub/../../x.outside")
    write_external(folder, "absolute.onnx", location="/etc/passwd")
    write_external(folder, "link.onnx", location="link.bin")
    write_external(folder, "folder.onnx", location=".")
    write_external(folder, "short.onnx", offset=128)
    write_external(folder, "huge.onnx", offset=2**64 - 1)
    write_external(folder, "odd.onnx", length=511)
    write_external(folder, "text.onnx", offset="many")
    write_external(folder, "nowhere.onnx", location=None)


def bad(name):
    """Models that contradict themselves."""
    x, y = [value("x", ["n"])], [value("y", ["n"])]
    relu = h.make_node("Relu", ["x"], ["y"], name="relu")
    if name == "unknown":
        return model([h.make_node("Add", ["x", "nobody"], ["y"], name="sum")], x, y)
    if name == "order":
        return model([h.make_node("Add", ["x", "late"], ["y"], name="sum"),
                      h.make_node("Relu", ["x"], ["late"])], x, y)
    if name == "twice":
        return model([relu, h.make_node("Abs", ["x"], ["y"], name="abs")], x, y)
    if name == "initializer_twice":
        w = nh.from_array(weights(1, 3), "w")
        return model([relu], x, y, [w, w])
    if name == "output":
        return model([relu], x, [value("z", ["n"])])
    if name == "no_outputs":
        return model([relu], x, [])
    if name == "no_opset":
        made = model([relu], x, y)
        del made.opset_import[:]
        return made
    if name == "zero_opset":
        return model([relu], x, y, opset=0)
    if name == "domain":
        return model([h.make_node("Op", ["x"], ["y"], name="op", domain="who")], x, y)
    if name == "no_graph":
        made = model([relu], x, y)
        made.ClearField("graph")
        return made
    if name == "untyped_input":
        return model([relu], [onnx.ValueInfoProto(name="x")], y)
    if name == "negative":
        w = h.make_tensor("w", F, [3], [1, 2, 3])
        w.dims[0] = -3
        return model([h.make_node("Add", ["x", "w"], ["y"])], x, y, [w])
    if name == "overflow":
        w = h.make_tensor("w", F, [3], [1, 2, 3])
        w.dims[:] = [2**40, 2**40]
        return model([h.make_node("Add", ["x", "w"], ["y"])], x, y, [w])
    if name == "count":
        w = h.make_tensor("w", I, [3], [1, 2, 3])
        w.dims[0] = 4
        return model([h.make_node("Add", ["x", "w"], ["y"])], x, y, [w])
    if name == "size":
        w = nh.from_array(weights(1, 3), "w")
        w.raw_data = w.raw_data[:-1]
        return model([h.make_node("Add", ["x", "w"], ["y"])], x, y, [w])
    if name == "field":
        w = h.make_tensor("w", F, [3], [1, 2, 3])
        w.data_type = T.DOUBLE
        return model([h.make_node("Add", ["x", "w"], ["y"])], x, y, [w])
    if name == "reference":
        made = model([relu], x, y)
        made.graph.node[0].attribute.add(name="a", ref_attr_name="b", type=1)
        return made
    if name == "recursive":
        imports = [h.make_opsetid("f", 1)]
        one = h.make_function("f", "One", ["v"], ["r"],
                              [h.make_node("Two", ["v"], ["r"], domain="f")], imports)
        two = h.make_function("f", "Two", ["v"], ["r"],
                              [h.make_node("One", ["v"], ["r"], domain="f", name="back")], imports)
        return model([h.make_node("One", ["x"], ["y"], domain="f")], x, y, functions=[one, two],
                     domains={"f": 1})
    if name == "exploding":
        imports = [h.make_opsetid("f", 1), h.make_opsetid("", 17)]
        made = [h.make_function("f", "F0", ["v"], ["r"], [h.make_node("Abs", ["v"], ["r"])],
                                imports)]
        for i in range(1, 40):
            body = [h.make_node(f"F{i - 1}", ["v"], ["m"], domain="f"),
                    h.make_node(f"F{i - 1}", ["m"], ["r"], domain="f")]
            made.append(h.make_function("f", f"F{i}", ["v"], ["r"], body, imports))
        return model([h.make_node("F39", ["x"], ["y"], domain="f")], x, y, functions=made,
                     domains={"f": 1})
    raise SystemExit(f"no bad model '{name}'")


def unsupported():
    sequence = h.make_tensor_sequence_value_info("s", F, None)
    text = h.make_tensor("words", T.STRING, [2], [b"a", b"b"])
    eight = h.make_tensor("eight", T.FLOAT8E4M3FN, [2], [1.0, 2.0])
    dense = h.make_tensor("sparse", F, [1], [1.0])
    made = model([h.make_node("SequenceAt", ["s", "x"], ["a"], name="at"),
                  h.make_node("SequenceConstruct", ["a", "a"], ["q"], name="make"),
                  h.make_node("Add", ["a", "words"], ["b"]),
                  h.make_node("Add", ["b", "eight"], ["c"]),
                  h.make_node("Constant", [], ["d"], value_string="text", name="word"),
                  h.make_node("Optional", [], ["o"], name="opt",
                              type=h.make_optional_type_proto(h.make_tensor_type_proto(F, None))),
                  h.make_node("Add", ["c", "d"], ["y"])],
                 [sequence, value("x", [], I), value("z", ["n"], T.COMPLEX64)], [value("y", ["n"])],
                 [text, eight],
                 value_info=[h.make_tensor_sequence_value_info("q", F, None)])
    made.graph.sparse_initializer.append(h.make_sparse_tensor(
        dense, h.make_tensor("indices", I, [1], [0]), [4]))
    return made


def main():
    name, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    if name == "external":
        writes_external(folder)
        return
    path = os.path.join(folder, name + ".onnx")
    makers = {f.__name__: f for f in (basic, dims, functions, subgraphs, unsupported)}
    onnx.save(makers[name]() if name in makers else bad(name), path)


if __name__ == "__main__":
    main()
