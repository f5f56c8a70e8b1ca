"""Shaders of many models, for all profiles: they are valid SPIR-V, and ask for no more than their
profiles allow. No device is needed."""
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import exports
import spirv
import test_operator_forms
from random_graphs import make_graph
from test_node_cases import ARCHIVE, LIST, RANDOM

MAKE = exports.ROOT / "tools" / "dev" / "make-llama.py"
QUICK = ["--method", "nearest", "--no-clip", "--circuit-from", "random"]
# Panels, tiles of matrices and of integers: each width of codes, and each layout of the circuit.
# Weights are small, so that input has 16 bits where nothing is said.
INT8 = ["--activations", "int8"]
FORMATS = [[], ["--bits", 2], ["--bits", 3, "--codebook", "--circuit", "1%", *INT8],
           ["--bits", 2, "--codebook", "--circuit-layout", "uniform", "--circuit", "2%"],
           ["--bits", 4, "--group", 64, "--circuit-layout", "scattered"],
           ["--bits", 8, "--group", 32, "--circuit", 0, *INT8], ["--bits", 2, *INT8],
           ["--bits", 2, "--circuit", "12%", "--activations", "f32"], ["--bits", 2, "--head-bits", 4]]


@pytest.fixture(scope="module")
def checks(tools):
    return spirv.ShaderChecks(tools.jobs)


@pytest.fixture(scope="module")
def compiled(tools, tmp_path_factory):
    """compiled({NAME: (MODEL, FLAG...)}, all=True): modules for all profiles; without `all`, those of
    the models that TACQ supports."""
    def modules(models, every=True):
        folder = tmp_path_factory.mktemp("shaders")

        def one(name):
            path = folder / f"{name}.tacq"
            result = subprocess.run(
                [str(tools.path("tacq-compile")), *map(str, models[name]), "--target",
                 spirv.TARGETS, "-o", str(path)], text=True, capture_output=True, timeout=300)
            assert result.returncode in ([0] if every else [0, 2]), f"{name}: {result.stderr}"
            return path if result.returncode == 0 else None
        with ThreadPoolExecutor(tools.jobs) as pool:
            return [path for path in pool.map(one, models) if path]
    return modules


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    with tarfile.open(ARCHIVE) as file:
        file.extractall(folder, [m for m in file if m.name.endswith("model.onnx")])
    return folder / "node"


@pytest.mark.parametrize("kind,heads", [("f16", 2), ("f32", 8)])
def test_language_models(compiled, checks, tmp_path, kind, heads):
    """Heads of 128 features and of 32."""
    model = tmp_path / "m.onnx"
    subprocess.run([sys.executable, str(MAKE), str(model), "--layers", "1", "--hidden", "256",
                    "--intermediate", "640", "--heads", str(heads), "--kv-heads", str(heads // 2),
                    "--vocabulary", "512", "--type", kind, "--no-tied"], check=True,
                   capture_output=True, timeout=120)
    formats = FORMATS if kind == "f16" else [*FORMATS[:2], ["--bits", 2, *INT8]]
    models = {str(i): (model, *flags, *(QUICK if flags else [])) for i, flags in enumerate(formats)}
    assert checks.check(compiled(models)) > 100
    # Codes are multiplied four at a time, and there are products of many rows.
    assert 6018 in checks.used["lavapipe"] and 6022 in checks.used["nvidia-hopper"]


def value(name, kind, dims):
    return helper.make_tensor_value_info(name, kind, dims)


def attention(path, kind, depth, mask=None, cache=False, **attributes):
    """With any number of sequences, queries and keys."""
    inputs = [value(n, kind, ["b", 4 if n == "q" else 2, "n" if n == "q" else "m", depth])
              for n in "qkv"]
    names, outputs = ["q", "k", "v"], [value("y", kind, None)]
    if mask or cache:
        names.append("mask" if mask else "")
    if mask:
        inputs.append(value("mask", mask, ["n", "all"] if cache else ["n", "m"]))
    if cache:
        for name in ("past_k", "past_v"):
            inputs.append(value(name, kind, ["b", 2, "past", depth]))
            names.append(name)
        outputs += [value("new_k", kind, None), value("new_v", kind, None)]
    node = helper.make_node("Attention", names, [o.name for o in outputs], name="a", **attributes)
    save(path, [node], inputs, outputs, opset=23)


def save(path, nodes, inputs, outputs, opset=18, constants=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    onnx.save(model, path)


def test_attention(compiled, checks, archive, tmp_path):
    half, single = TensorProto.FLOAT16, TensorProto.FLOAT
    models = {}
    for kind in (half, single):
        for depth in (24, 64, 128):
            for causal in (0, 1):
                for mask, cache in ((None, False), (kind, False), (TensorProto.BOOL, True),
                                    (None, True)):
                    path = tmp_path / f"{kind}-{depth}-{causal}-{mask}-{cache}.onnx"
                    attention(path, kind, depth, mask, cache, is_causal=causal)
                    models[path.stem] = (path,)
    assert checks.check(compiled(models)) > 100
    # And those of known sizes, with each attribute that there is.
    names = [name for name in LIST.read_text().split() if "attention" in name]
    assert checks.check(compiled({n: (archive / n / "model.onnx",) for n in names[::3]})) > 100


def test_choice_and_embedding(compiled, checks, tmp_path):
    """Places of the largest elements of rows, long and short, and rows of tables."""
    models = {}
    types = {"f32": TensorProto.FLOAT, "f16": TensorProto.FLOAT16, "i32": TensorProto.INT32,
             "f64": TensorProto.DOUBLE}
    for name, kind in types.items():
        for op in ("ArgMax", "ArgMin"):
            for columns in (7, 300, 50000):
                path = tmp_path / f"{op}-{name}-{columns}.onnx"
                node = helper.make_node(op, ["x"], ["y"], axis=-1, keepdims=columns % 2,
                                        select_last_index=int(op == "ArgMin"))
                save(path, [node], [value("x", kind, ["n", columns])],
                     [value("y", TensorProto.INT64, None)])
                models[path.stem] = (path,)
        for index in (TensorProto.INT32, TensorProto.INT64):
            path = tmp_path / f"table-{name}-{index}.onnx"
            table = np.ones((50, 96), helper.tensor_dtype_to_np_dtype(kind))
            save(path, [helper.make_node("Gather", ["t", "i"], ["y"])],
                 [value("i", index, ["b", "n"])], [value("y", kind, None)],
                 constants=[numpy_helper.from_array(table, "t")])
            models[path.stem] = (path,)
    assert checks.check(compiled(models)) > 50


def test_operators(compiled, checks, archive, tmp_path):
    """Those of the node tests, of operator forms, of chance, and of random graphs."""
    models = {name: (archive / name / "model.onnx",)
              for name in LIST.read_text().split()[2::12] if "attention" not in name}
    for case in test_operator_forms.CASES[::2]:
        path = tmp_path / f"{case['name']}.onnx"
        onnx.save(test_operator_forms.make_model(case), path)
        models[case["name"]] = (path,)
    for seed in range(40):
        path = tmp_path / f"seed{seed}.onnx"
        onnx.save(make_graph(seed).model(), path)
        models[path.stem] = (path,)
    assert checks.check(compiled(models)) > 500
    chance = {path.parent.name: (path,) for path in sorted(archive.glob("*/model.onnx"))
              if path.parent.name.startswith(RANDOM)}
    checks.check(compiled(chance, every=False))
