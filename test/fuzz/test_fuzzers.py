"""Both fuzz targets at once, for half a minute: whatever the bytes, an answer and no crash."""
import os
import pathlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("TACQ_BUILD", ROOT / "build"))
SECONDS = int(os.environ.get("TACQ_FUZZ_SECONDS", "30"))
TARGETS = {"module": "TACQFuzzModule", "onnx": "fuzz_onnx"}


def module_seeds(folder):
    """Modules of a few kilobytes, so that most mutations hit something: a product with a constant
    and a dynamic size, and a choice between two branches."""
    f32, boolean = onnx.TensorProto.FLOAT, onnx.TensorProto.BOOL
    value = helper.make_tensor_value_info
    weight = numpy_helper.from_array(np.eye(8, dtype=np.float32), "w")
    product = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Softmax", ["m"], ["y"])],
        "product", [value("x", f32, ["n", 8])], [value("y", f32, ["n", 8])], [weight])
    branches = [helper.make_graph([helper.make_node(op, ["x"], ["r"])], op, [],
                                  [value("r", f32, [4])]) for op in ("Abs", "Neg")]
    choice = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])],
        "choice", [value("c", boolean, []), value("x", f32, [4])], [value("y", f32, [4])])
    for graph in (product, choice):
        path = folder / f"{graph.name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                    ir_version=10), path)
        subprocess.run([BUILD / "bin" / "tacq-compile", path, "-o", path.with_suffix(".tacq")],
                       capture_output=True, check=True)
        path.unlink()


def onnx_seeds(folder):
    models = ROOT / "test" / "Import" / "Inputs" / "models.py"
    for name in ("basic", "subgraphs", "functions"):
        subprocess.run([sys.executable, models, name, folder], check=False, capture_output=True)
    assert list(folder.glob("*.onnx")), "the import tests' models could not be written"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The targets run side by side, one on each core."""
    started = {}
    for name, target in TARGETS.items():
        folder = tmp_path_factory.mktemp(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        (module_seeds if name == "module" else onnx_seeds)(corpus)
        command = [BUILD / "bin" / target, f"-max_total_time={SECONDS}", "-timeout=20",
                   "-rss_limit_mb=4096", "-print_final_stats=1", f"-artifact_prefix={folder}/",
                   corpus]
        log = open(folder / "log", "w+b")
        started[name] = subprocess.Popen(command, stdout=log, stderr=log), log
    results = {}
    for name, (process, log) in started.items():
        process.wait()
        log.seek(0)
        results[name] = process.returncode, log.read().decode(errors="replace")
        log.close()
    return results


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_survives(runs, name):
    status, log = runs[name]
    assert status == 0, log[-4000:]
    executed = [line for line in log.splitlines() if "number_of_executed_units" in line]
    assert executed and int(executed[0].split()[-1]) > 1000, log[-2000:]
