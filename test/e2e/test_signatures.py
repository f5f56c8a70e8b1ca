"""Nodes that contradict ONNX's schema of their operator: refused, never a crash."""
import subprocess
import sys

import onnx
import pytest
from onnx import TensorProto, defs, helper

import exports

OPSET = 23
SCHEMAS = {s.name: s for s in sorted(defs.get_all_schemas_with_history(),
                                     key=lambda s: s.since_version)
           if s.domain == "" and not s.deprecated and s.since_version <= OPSET}
# Their operands are graphs' business.
CONTROL_FLOW = ("If", "Loop", "Scan", "SequenceMap")


def test_table_is_that_of_the_schemas():
    script = exports.ROOT / "tools" / "dev" / "generate-signatures.py"
    subprocess.run([sys.executable, script, "--check"], check=True)


def element_type(schema, parameter):
    """A type of tensor that the operand may have, or None."""
    types = next((c.allowed_type_strs for c in schema.type_constraints
                  if c.type_param_str == parameter.type_str), [parameter.type_str])
    for text in ("float", "int64", "bool", "uint8", "int32", "int8"):
        if f"tensor({text})" in types:
            return TensorProto.DataType.Value(text.upper())
    return None


def attributes_of(schema):
    """Some value for each attribute that must be given."""
    values = {"INT": 1, "FLOAT": 1.0, "STRING": "x", "INTS": [0], "FLOATS": [1.0], "STRINGS": ["x"]}
    return {name: values[a.type.name] for name, a in schema.attributes.items()
            if a.required and a.type.name in values}


def compile_node(tools, folder, schema, types, outputs=1, attributes=None):
    """Compiles a model of one node with operands of the types, 2 x 2 x 2 x 2."""
    names = [f"x{i}" for i in range(len(types))]
    node = helper.make_node(schema.name, names, [f"y{i}" for i in range(outputs)], name="node",
                            **(attributes_of(schema) if attributes is None else attributes))
    value = helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value(n, t, [2] * 4) for n, t in zip(names, types)],
                              [value(f"y{i}", 0, None) for i in range(outputs)])
    onnx.save(helper.make_model(graph, ir_version=10,
                                opset_imports=[helper.make_opsetid("", OPSET)]), folder / "m.onnx")
    return subprocess.run([tools.path("tacq-compile"), folder / "m.onnx", "-o", folder / "m.tacq",
                           "--quiet"], capture_output=True, text=True)


def is_refused(result):
    return result.returncode in (2, 3) and "m.onnx" in result.stderr and "'node'" in result.stderr


@pytest.mark.parametrize("letters", ["ABC", "DEFGH", "IJKLM", "NOPQR", "STUVWXYZ"])
def test_every_operator(tools, tmp_path, letters):
    failures = []
    for schema in SCHEMAS.values():
        if schema.name[0] not in letters or schema.name in CONTROL_FLOW or not schema.inputs:
            continue
        formals = schema.inputs
        types = [element_type(schema, p) for p in formals]
        if None in types[:max(schema.min_input, 1)]:
            continue
        few = types[:schema.min_input]
        wrong = {}
        if few:
            wrong["without its last operand"] = few[:-1], None
        variadic = formals[-1].option == defs.OpSchema.FormalParameterOption.Variadic
        if not variadic and None not in types:
            wrong["with an operand too many"] = types + types[-1:], None
        wrong["with a made-up attribute"] = few, {**attributes_of(schema), "frobnicate": 1}
        for what, (operands, attributes) in wrong.items():
            result = compile_node(tools, tmp_path, schema, operands, attributes=attributes)
            if not is_refused(result):
                failures.append((schema.name, what, result.returncode, result.stderr))
        # Operands of one shape suit few operators; they may be refused, but nothing may break.
        for kind in {types[0], TensorProto.FLOAT, TensorProto.INT64}:
            result = compile_node(tools, tmp_path, schema, [kind] * max(len(few), 1))
            if result.returncode not in (0, 2, 3):
                failures.append((schema.name, kind, result.returncode, result.stderr))
    assert not failures, failures


@pytest.mark.parametrize("op,types,attributes,says", [
    ("Where", [TensorProto.FLOAT] * 3, {}, ["operand 0", "f32", "i1"]),
    ("Add", [TensorProto.FLOAT, TensorProto.INT64], {}, "Cast is missing"),
    ("Gather", [TensorProto.FLOAT, TensorProto.FLOAT], {}, ["operand 1", "f32", "i32, i64"]),
    ("Softmax", [TensorProto.FLOAT], {"axis": "one"}, ["'axis'", "integer"]),
    ("Softmax", [TensorProto.FLOAT], {"axis": 1.0}, ["'axis'", "integer"]),
    ("Transpose", [TensorProto.FLOAT], {"perm": [0.0]}, ["'perm'", "list of integers"]),
    ("Concat", [TensorProto.FLOAT], {}, ["'axis'", "missing"]),
    ("Relu", [TensorProto.FLOAT] * 3, {}, ["3 operands", "at most 1"]),
    ("MatMul", [TensorProto.BOOL] * 2, {}, ["operand 0", "i1"])])
def test_what_is_said(tools, tmp_path, op, types, attributes, says):
    result = compile_node(tools, tmp_path, SCHEMAS[op], types, attributes=attributes)
    assert result.returncode == 3
    for text in [says] if isinstance(says, str) else says:
        assert text in result.stderr, result.stderr
    assert is_refused(result)


def test_more_results_than_there_are(tools, tmp_path):
    result = compile_node(tools, tmp_path, SCHEMAS["Relu"], [TensorProto.FLOAT], outputs=2)
    assert result.returncode == 3 and "2 results" in result.stderr


def test_declared_type_that_is_not_the_result(tools, tmp_path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], name="node")], "g",
                              [value("x", TensorProto.FLOAT, [2])],
                              [value("y", TensorProto.INT64, [2])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                                ir_version=10), tmp_path / "m.onnx")
    tools.fails("tacq-compile", tmp_path / "m.onnx", "-o", tmp_path / "m.tacq", status=3,
                says=["m.onnx", "'node'", "declares 'i64'"])
