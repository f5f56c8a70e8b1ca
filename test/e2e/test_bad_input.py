"""What users get wrong: one clear sentence, the right exit status, nothing left behind."""
import json
import os
import pathlib
import random
import shutil
import stat
import struct
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import exports

CACHED = "dynamo_past_opset18"
PLAIN = "dynamo_plain_opset23"


def small_model(path, nodes=None, inputs=None, outputs=None, initializers=(), opset=17):
    """y = Relu(x) unless told otherwise."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes or [helper.make_node("Relu", ["x"], ["y"], name="relu")], "g",
        inputs or [value("x", TensorProto.FLOAT, ["n", 4])],
        outputs or [value("y", TensorProto.FLOAT, ["n", 4])], list(initializers))
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    onnx.save(model, path)
    return path


@pytest.fixture
def compile_fails(tools, tmp_path):
    def fails(model, status, says, *more):
        out = tmp_path / "out" / "m.tacq"
        out.parent.mkdir(exist_ok=True)
        result = tools.fails("tacq-compile", model, "-o", out, *more, status=status, says=says)
        assert not list(out.parent.iterdir()), "something was left behind"
        return result
    return fails


# ---- models

def test_missing_model(compile_fails, tmp_path):
    compile_fails(tmp_path / "nosuch.onnx", 3, "nosuch.onnx")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_truncated_model(compile_fails, tmp_path, share):
    data = (exports.TINY / "dynamo_past_opset18.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[:int(share * len(data))])
    compile_fails(tmp_path / "cut.onnx", 3, "cut.onnx")


def test_text_instead_of_a_model(compile_fails, tmp_path):
    (tmp_path / "text.onnx").write_text("this is no model\n" * 100)
    compile_fails(tmp_path / "text.onnx", 3, "text.onnx")


def test_missing_external_data(compile_fails, tmp_path):
    shutil.copy(exports.TINY / "dynamo_past_opset18.onnx", tmp_path)
    compile_fails(tmp_path / "dynamo_past_opset18.onnx", 3, "dynamo.onnx.data")


def test_short_external_data(compile_fails, tmp_path):
    shutil.copy(exports.TINY / "dynamo_past_opset18.onnx", tmp_path)
    (tmp_path / "dynamo.onnx.data").write_bytes(b"\0" * 1000)
    compile_fails(tmp_path / "dynamo_past_opset18.onnx", 3, "dynamo.onnx.data")


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "a/../../secret.data"])
def test_external_data_outside_of_the_folder(compile_fails, tmp_path, location):
    (tmp_path / "secret.data").write_bytes(b"\0" * 64)
    folder = tmp_path / "model"
    (folder / "a").mkdir(parents=True)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4],
                         data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    path = small_model(folder / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])],
                       initializers=[tensor])
    compile_fails(path, 3, ["m.onnx", location])


def test_all_unsupported_nodes_at_once(compile_fails, tmp_path):
    path = small_model(tmp_path / "m.onnx", [
        helper.make_node("Frobnicate", ["x"], ["a"], name="first", domain="com.example"),
        helper.make_node("Relu", ["a"], ["b"], name="fine"),
        helper.make_node("Twiddle", ["b"], ["y"], name="second", domain="com.example")])
    model = onnx.load(path)
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    onnx.save(model, path)
    result = compile_fails(path, 2, ["first", "Frobnicate", "second", "Twiddle", "m.onnx"])
    assert "fine" not in result.stderr


def test_wrong_type_of_operand(compile_fails, tmp_path):
    path = small_model(tmp_path / "m.onnx",
                       [helper.make_node("Add", ["x", "i"], ["y"], name="mixed")],
                       initializers=[helper.make_tensor("i", TensorProto.INT64, [4], [1, 2, 3, 4])])
    compile_fails(path, 3, ["mixed", "m.onnx"])


def test_contradicting_shapes(compile_fails, tmp_path):
    path = small_model(tmp_path / "m.onnx",
                       [helper.make_node("Add", ["x", "w"], ["y"], name="sum")],
                       initializers=[helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3])])
    compile_fails(path, 3, ["sum", "m.onnx"])


def test_value_that_nobody_makes(compile_fails, tmp_path):
    path = small_model(tmp_path / "m.onnx", [helper.make_node("Relu", ["ghost"], ["y"])])
    compile_fails(path, 3, ["ghost", "m.onnx"])


def test_unknown_target(compile_fails, tmp_path):
    compile_fails(small_model(tmp_path / "m.onnx"), 1, "abacus", "--target", "cpu=abacus")
    compile_fails(small_model(tmp_path / "m.onnx"), 1, "toaster", "--target", "toaster=x")


def test_output_that_cannot_be_written(tools, tmp_path):
    tools.fails("tacq-compile", small_model(tmp_path / "m.onnx"), "-o",
                tmp_path / "no" / "such" / "m.tacq", status=3, says="m.tacq")


def test_output_that_is_a_file_of_the_model(tools, tmp_path):
    for name in ("dynamo_past_opset18.onnx", "dynamo.onnx.data"):
        shutil.copy(exports.TINY / name, tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    model = tmp_path / "dynamo_past_opset18.onnx"
    (tmp_path / "folder").mkdir()
    for out in (model, tmp_path / "dynamo.onnx.data", tmp_path / "folder" / ".." / model.name):
        for more in ((), ("--emit", "import")):
            tools.fails("tacq-compile", model, "-o", out, *more, status=1, says=out.name)
    (tmp_path / "folder").rmdir()
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_outputs_that_are_no_files(tools, tmp_path):
    """A device is not replaced by a file; an error of the device is told."""
    model = small_model(tmp_path / "m.onnx")
    tools.fails("tacq-compile", model, "-o", "/dev/full", status=3, says="regular file")
    tools.fails("tacq-compile", model, "-o", tmp_path, status=3, says="regular file")
    tools.fails("tacq-compile", model, "-o", "-", status=1, says="standard output")
    tools.fails("tacq-compile", model, "--emit", "import", "-o", "/dev/full", status=3,
                says="No space")
    with open("/dev/full", "w") as full:
        result = subprocess.run([tools.path("tacq-compile"), model, "--emit", "import"],
                                stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 3 and "standard output" in result.stderr
    tools.run("tacq-compile", model, "-o", tmp_path / "m.tacq")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), np.float32))
    tools.fails("tacq-run", tmp_path / "m.tacq", "--input", f"x=@{tmp_path / 'x.npy'}",
                "--output", "y=@/dev/full", status=3, says="regular file")
    assert not stat.S_ISREG(os.stat("/dev/full").st_mode)
    assert not list(pathlib.Path("/dev").glob("full.*"))


def test_outputs_are_looked_at_before_the_work(tools, module, tmp_path):
    """The model and the prompts are not even read."""
    nowhere = tmp_path / "no" / "such" / "file"
    for tool, more in (("tacq-compile", ["nosuch.onnx"]),
                       ("tacq-compile", ["nosuch.onnx", "--emit", "import"])):
        tools.fails(tool, *more, "-o", nowhere, status=3, says=["no/such/file", "cannot be written"])
    tools.fails("tacq-translate", "--import-onnx", "nosuch.onnx", "-o", nowhere, status=3,
                says=["no/such/file", "cannot be written"])
    generate = ("tacq-run", "nosuch.tacq", "--generate", "--prompts", "nosuch.jsonl", "--output")
    tools.fails(*generate, nowhere, status=3, says=["no/such/file", "cannot be written"])
    tools.fails(*generate, tmp_path, status=3, says="regular file")
    np.save(tmp_path / "ids.npy", np.full((1, 3), 100000, np.int64))
    tools.fails("tacq-run", module(PLAIN), "--input", f"input_ids=@{tmp_path / 'ids.npy'}",
                "--output", f"logits=@{nowhere}", status=3,
                says=["no/such/file", "cannot be written"])


def test_outputs_that_are_inputs(tools, module, tmp_path):
    path = tmp_path / "m.tacq"
    shutil.copy(module(PLAIN), path)
    np.save(tmp_path / "ids.npy", np.zeros((1, 3), np.int64))
    ids = f"input_ids=@{tmp_path / 'ids.npy'}"
    prompts = tmp_path / "p.jsonl"
    prompts.write_text("{\"tokens\": [1, 2]}\n")
    before = path.read_bytes()
    for out in (path, prompts):
        tools.fails("tacq-run", path, "--generate", "--prompts", prompts, "--output", out, status=1,
                    says=out.name)
    tools.fails("tacq-run", path, "--input", ids, "--output", f"logits=@{path}", status=1,
                says="m.tacq")
    out = tmp_path / "y.npy"
    tools.fails("tacq-run", path, "--input", ids, "--output", f"logits=@{out}", "--output",
                f"logits=@{tmp_path / 'z.npy'}", status=1, says=["y.npy", "z.npy"])
    assert path.read_bytes() == before and prompts.exists() and not out.exists()


def test_all_outputs_or_none(tools, tmp_path):
    value = helper.make_tensor_value_info
    model = small_model(tmp_path / "m.onnx",
                        [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
                        outputs=[value(n, TensorProto.FLOAT, ["n", 4]) for n in "yz"])
    tools.run("tacq-compile", model, "-o", tmp_path / "m.tacq")
    np.save(tmp_path / "x.npy", np.zeros((2, 4), np.float32))
    tools.fails("tacq-run", tmp_path / "m.tacq", "--input", f"x=@{tmp_path / 'x.npy'}", "--output",
                f"y=@{tmp_path / 'y.npy'}", "--output", f"z=@{tmp_path / 'no' / 'z.npy'}",
                status=3, says="z.npy")
    assert not (tmp_path / "y.npy").exists()


def test_targets(tools, tmp_path):
    model = small_model(tmp_path / "m.onnx")
    tools.fails("tacq-compile", model, "-o", tmp_path / "m.tacq", "--target", "", status=1,
                says="cpu=host")
    assert not (tmp_path / "m.tacq").exists()
    tools.run("tacq-compile", model, "-o", tmp_path / "m.tacq", "--target",
              "cpu=x86-64-v3,cpu=x86-64-v3")
    dump = json.loads(tools.run("tacq-dump", tmp_path / "m.tacq", "--json").stdout)
    assert json.dumps(dump).count('"x86-64-v3"') == 1


def test_same_bytes_every_time(tools, onnx_file, tmp_path):
    for name in ("a", "b"):
        tools.run("tacq-compile", onnx_file(CACHED), "-o", tmp_path / f"{name}.tacq")
        np.savez(tmp_path / "in.npz", input_ids=np.arange(22, dtype=np.int64).reshape(2, 11))
        tools.run("tacq-run", tmp_path / f"{name}.tacq", "--input", f"@{tmp_path / 'in.npz'}",
                  "--device", "cpu:threads=1" if name == "a" else "cpu:threads=2",
                  "--output", f"logits=@{tmp_path / name}.npy")
    assert (tmp_path / "a.tacq").read_bytes() == (tmp_path / "b.tacq").read_bytes()
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


@pytest.mark.parametrize("stage", ["import", "shapes", "fused", "dispatches", "schedule"])
def test_stages_can_be_read_again(tools, onnx_file, tmp_path, stage):
    tools.run("tacq-compile", onnx_file(CACHED), "--emit", stage, "-o", tmp_path / "m.mlir")
    text = tools.run("tacq-opt", tmp_path / "m.mlir").stdout
    (tmp_path / "again.mlir").write_text(text)
    assert tools.run("tacq-opt", tmp_path / "again.mlir").stdout == text


def test_corrupted_models_never_crash(tools, tmp_path):
    """Flipped bytes: compiled, or refused with 2 or 3."""
    data = bytearray(small_model(tmp_path / "m.onnx").read_bytes())
    chance = random.Random(7)
    for number in range(40):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        (tmp_path / "c.onnx").write_bytes(changed)
        result = subprocess.run([tools.path("tacq-compile"), tmp_path / "c.onnx", "-o",
                                 tmp_path / "c.tacq"], capture_output=True, text=True,
                                errors="replace")
        assert result.returncode in (0, 2, 3), (number, result.returncode, result.stderr)
        if result.returncode:
            assert "tacq-compile: error: " in result.stderr


def test_long_chains(tools, tmp_path):
    """Nothing that recurs over a model's nodes may run out of stack."""
    count = 20000
    constant = helper.make_tensor("c", TensorProto.FLOAT, [4], [1, 2, 3, 4])
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [0, -1])
    for op, more in (("Abs", []), ("Add", ["c"]), ("Reshape", ["s"])):
        nodes = [helper.make_node(op, [f"t{i}" if i else "x", *more], [f"t{i + 1}"])
                 for i in range(count)]
        nodes.append(helper.make_node("Neg", [f"t{count}"], ["y"]))
        path = small_model(tmp_path / "m.onnx", nodes, initializers=[constant, shape])
        tools.run("tacq-compile", path, "-o", tmp_path / "m.tacq")
        x = np.array([[1, -2, 3, -4], [-0.5, 0, 0.5, 1]], np.float32)
        np.save(tmp_path / "x.npy", x)
        tools.run("tacq-run", tmp_path / "m.tacq", "--input", f"x=@{tmp_path / 'x.npy'}",
                  "--output", f"y=@{tmp_path / 'y.npy'}")
        expected = {"Abs": -np.abs(x), "Reshape": -x, "Add": -(x + count * np.arange(1, 5))}[op]
        np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-3)


def test_extreme_bounds_of_a_slice(tools, tmp_path):
    lowest, highest = -2**63, 2**63 - 1
    for start, end, step in ((lowest, highest, 1), (highest, lowest, lowest), (-1, lowest, -2)):
        bounds = [helper.make_tensor(n, TensorProto.INT64, [1], [b])
                  for n, b in (("a", start), ("b", end), ("axes", 1), ("step", step))]
        path = small_model(tmp_path / "m.onnx",
                           [helper.make_node("Slice", ["x", "a", "b", "axes", "step"], ["y"])],
                           outputs=[helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                           initializers=bounds)
        tools.run("tacq-compile", path, "-o", tmp_path / "m.tacq")
        x = np.arange(8, dtype=np.float32).reshape(2, 4)
        np.save(tmp_path / "x.npy", x)
        tools.run("tacq-run", tmp_path / "m.tacq", "--input", f"x=@{tmp_path / 'x.npy'}",
                  "--output", f"y=@{tmp_path / 'y.npy'}")
        np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), x[:, start:end:step])


# ---- modules

def test_cut_and_flipped_modules(tools, module, tmp_path):
    """The loader's own tests go through every byte; here each tool meets some of them."""
    data = module(PLAIN).read_bytes()
    chance = random.Random(11)
    metadata = struct.unpack_from("<Q", data, 24)[0]
    cuts = [0, 1, 50, 95, 96, metadata, metadata + 100, len(data) - 1]
    flips = [8, 20, 90] + [chance.randrange(len(data)) for _ in range(5)]
    path = tmp_path / "broken.tacq"
    for tool, more in (("tacq-run", []), ("tacq-dump", []),
                       ("tacq-eval", ["--data", exports.TINY / "math_dev.jsonl"]),
                       ("tacq-bench", [])):
        for cut in cuts:
            path.write_bytes(data[:cut])
            tools.fails(tool, path, *more, status=3, says="broken.tacq")
        for flip in flips:
            changed = bytearray(data)
            changed[flip] ^= 0x40
            path.write_bytes(changed)
            tools.fails(tool, path, *more, status=3, says="broken.tacq")


@pytest.mark.parametrize("tool,more", [
    ("tacq-run", []), ("tacq-dump", []), ("tacq-bench", []),
    ("tacq-eval", ["--data", exports.TINY / "math_dev.jsonl"])])
def test_missing_module(tools, tmp_path, tool, more):
    tools.fails(tool, tmp_path / "nosuch.tacq", *more, status=3, says="nosuch.tacq")


# ---- flags

@pytest.mark.parametrize("tool", ["tacq-compile", "tacq-run", "tacq-eval", "tacq-bench",
                                  "tacq-dump"])
def test_usage(tools, tool):
    tools.fails(tool, status=1, says="--help")
    more = ["--data", "d.jsonl"] if tool == "tacq-eval" else []
    tools.fails(tool, "m.tacq", *more, "--frobnicate", status=1, says="frobnicate")
    text = tools.run(tool, "--help").stdout
    assert "Examples:" in text and "Exit status:" in text
    assert tools.run(tool, "--version").stdout.startswith(tool + " ")


def test_flags_of_run(tools, module, tmp_path):
    path = module(PLAIN)
    np.save(tmp_path / "ids.npy", np.zeros((1, 3), np.int64))
    ids = f"input_ids=@{tmp_path / 'ids.npy'}"
    tools.fails("tacq-run", path, status=1, says="input_ids")
    tools.fails("tacq-run", path, "--input", f"nosuch=@{tmp_path / 'ids.npy'}", status=1,
                says="nosuch")
    tools.fails("tacq-run", path, "--input", "input_ids", status=1, says="NAME=@FILE")
    tools.fails("tacq-run", path, "--input", ids, "--output", "nosuch=@y.npy", status=1,
                says="nosuch")
    tools.fails("tacq-run", path, "--input", ids, "--device", "gpu", status=1, says="gpu")
    tools.fails("tacq-run", path, "--input", ids, "--device", "cpu:threads=0", status=1,
                says="threads")
    tools.fails("tacq-run", path, "--generate", status=1, says="--prompts")
    tools.fails("tacq-bench", path, "--prompt", 0, "--decode", 0, status=1, says="--decode")
    for value in ("-1", "0", "x", "99999999999999999999"):
        tools.fails("tacq-run", path, "--max-new", value, status=1,
                    says=["--max-new", "whole number", value])


# ---- tensors

def test_tensors_that_do_not_fit(tools, module, tmp_path):
    path = module(PLAIN)
    wrong = {"f32": np.zeros((1, 3), np.float32), "rank": np.zeros((1, 3, 1), np.int64),
             "big": np.full((1, 3), 100000, np.int64), "negative": np.full((1, 3), -1000, np.int64)}
    for name, array in wrong.items():
        np.save(tmp_path / f"{name}.npy", array)
        out = tmp_path / "y.npy"
        tools.fails("tacq-run", path, "--input", f"input_ids=@{tmp_path / name}.npy", "--output",
                    f"logits=@{out}", status=3)
        assert not out.exists()
    np.save(tmp_path / "ids.npy", np.zeros((1, 3), np.int64))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "ids.npy").read_bytes()[:140])
    (tmp_path / "text.npy").write_text("no array")
    for name in ("cut", "text", "nosuch"):
        tools.fails("tacq-run", path, "--input", f"input_ids=@{tmp_path / name}.npy", status=3,
                    says=f"{name}.npy")


def test_shapes_that_contradict_each_other(tools, module, tmp_path):
    np.savez(tmp_path / "in.npz", input_ids=np.zeros((1, 3), np.int64),
             attention_mask=np.ones((2, 3), np.int64), position_ids=np.zeros((1, 3), np.int64))
    tools.fails("tacq-run", module(CACHED), "--input", f"@{tmp_path / 'in.npz'}", status=3,
                says="attention_mask")
    np.savez(tmp_path / "in.npz", input_ids=np.zeros((1, 3), np.int64),
             attention_mask=np.ones((1, 7), np.int64), position_ids=np.zeros((1, 3), np.int64))
    tools.fails("tacq-run", module(CACHED), "--input", f"@{tmp_path / 'in.npz'}", status=3)


@pytest.mark.parametrize("op,name,shape,value", [
    ("Tile", "repeats", [2], [-1, 2]), ("Tile", "repeats", [2], [2**31, 2**31]),
    ("TopK", "k", [1], [-1]), ("TopK", "k", [1], [-2**63]), ("Pad", "pads", [4], [-9, 0, 0, 0]),
    ("Split", "split", [2], [-1, 4]), ("Expand", "shape", [2], [-1, 4]),
    ("Reshape", "shape", [2], [-2, -6]), ("Reshape", "shape", [2], [-1, -1]),
    ("Gather", "indices", [1], [3])])
def test_impossible_sizes_at_run_time(tools, tmp_path, op, name, shape, value):
    """What a tensor asks for at a call is checked there, and the node is named."""
    info = helper.make_tensor_value_info
    outputs = ["y", "z"] if op in ("TopK", "Split") else ["y"]
    types = {"y": TensorProto.FLOAT, "z": TensorProto.INT64 if op == "TopK" else TensorProto.FLOAT}
    path = small_model(tmp_path / "m.onnx", [helper.make_node(op, ["x", name], outputs, name="node")],
                       inputs=[info("x", TensorProto.FLOAT, ["n", 4]),
                               info(name, TensorProto.INT64, shape)],
                       outputs=[info(o, types[o], None) for o in outputs])
    tools.run("tacq-compile", path, "-o", tmp_path / "m.tacq")
    np.save(tmp_path / "x.npy", np.ones((3, 4), np.float32))
    np.save(tmp_path / "v.npy", np.array(value, np.int64))
    result = tools.fails("tacq-run", tmp_path / "m.tacq", "--input", f"x=@{tmp_path / 'x.npy'}",
                         "--input", f"{name}=@{tmp_path / 'v.npy'}", status=3)
    assert "'node'" in result.stderr or "too large" in result.stderr, result.stderr


def test_verification_that_fails(tools, module, tmp_path):
    ids = np.arange(6, dtype=np.int64).reshape(1, 6)
    np.savez(tmp_path / "in.npz", input_ids=ids)
    out = tmp_path / "y.npy"
    run = ("tacq-run", module(PLAIN), "--input", f"@{tmp_path / 'in.npz'}")
    tools.run(*run, "--output", f"logits=@{out}")
    logits = np.load(out)
    np.savez(tmp_path / "same.npz", logits=logits)
    assert "ok" in tools.run(*run, "--verify", tmp_path / "same.npz").stdout
    logits[0, 2, 5] += 0.5
    np.savez(tmp_path / "other.npz", logits=logits)
    result = tools.fails(*run, "--verify", tmp_path / "other.npz", status=3, says="tolerance")
    assert "FAILED, 1 of" in result.stdout
    tools.run(*run, "--verify", tmp_path / "other.npz", "--atol", 0.6)
    np.savez(tmp_path / "shape.npz", logits=logits[:, :3])
    tools.fails(*run, "--verify", tmp_path / "shape.npz", status=3, says="shape")


# ---- token files

@pytest.mark.parametrize("text,says", [
    ("{\"tokens\": [1, 2]}\n{\"tokens\": [1,\n", "line 2"),
    ("{\"tokens\": [1, 400]}\n", "400"),
    ("{\"tokens\": [-1]}\n", "-1"),
    ("{\"tokens\": []}\n", "line 1"),
    ("{\"prompt\": \"text\"}\n", "tokens"),
    ("", "holds no sequence")])
def test_wrong_prompts(tools, module, tmp_path, text, says):
    prompts, out = tmp_path / "p.jsonl", tmp_path / "o.jsonl"
    prompts.write_text(text)
    tools.fails("tacq-run", module(CACHED), "--generate", "--prompts", prompts, "--output", out,
                status=3, says=["p.jsonl", says])
    assert not out.exists()
    tools.fails("tacq-eval", module(CACHED), "--data", prompts, status=3, says=["p.jsonl", says])


def test_full_cache(tools, module, tmp_path):
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(json.dumps({"tokens": list(range(10))}) + "\n")
    tools.fails("tacq-run", module(CACHED), "--generate", "--prompts", prompts, "--max-new", 20,
                "--capacity", 16, "--output", tmp_path / "o.jsonl", status=3, says="capacity")


def test_model_that_is_no_language_model(tools, tmp_path):
    tools.run("tacq-compile", small_model(tmp_path / "m.onnx"), "-o", tmp_path / "m.tacq")
    data = exports.TINY / "math_dev.jsonl"
    tools.fails("tacq-eval", tmp_path / "m.tacq", "--data", data, status=2, says="input_ids")
