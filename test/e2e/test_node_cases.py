"""The backend node tests of ONNX: nothing wrong, nothing crashes, and what passes stays so."""
import collections
import pathlib
import tarfile

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import exports
from cases import CaseFile

FOLDER = exports.ROOT / "test" / "data" / "onnx-node-tests"
ARCHIVE = FOLDER / "node-1.22.0.tar.xz"
LIST = FOLDER / "passes.txt"
LEAST_PASSES = 800
# The definition leaves the values of these to the implementation: only shapes could be compared.
RANDOM = ("test_bernoulli", "test_training_dropout", "test_random", "test_multinomial")


def read_tensor(path, info):
    """The tensor of a .pb file, None for what is no plain tensor (sequences, strings, float8)."""
    if not info.type.HasField("tensor_type"):
        return None
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    if tensor.data_type == onnx.TensorProto.STRING:
        return None
    return numpy_helper.to_array(tensor)


def add_case(cases, folder):
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    graph = model.graph
    sets = []
    for data in sorted(folder.glob("test_data_set_*")):
        pair = []
        for infos, prefix in ((graph.input, "input"), (graph.output, "output")):
            tensors = []
            for index, info in enumerate(infos):
                path = data / f"{prefix}_{index}.pb"
                if path.exists():
                    tensors.append((info.name, read_tensor(path, info)))
            pair.append(tensors)
        sets.append(tuple(pair))
    cases.add(folder.name, folder / "model.onnx", sets)


@pytest.fixture(scope="module")
def results(tools, work):
    folder = work / "node"
    if not (folder / "done").exists():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(work)
        (folder / "done").touch()
    cases = CaseFile(work / "node-cases")
    for case in sorted(p.parent for p in folder.glob("*/model.onnx")):
        if not case.name.startswith(RANDOM):
            add_case(cases, case)
    results = cases.run(tools)
    counts = collections.Counter(r["status"] for r in results.values())
    print("node cases:", dict(counts))
    (work / "node-cases" / "passes.txt").write_text(
        "".join(f"{n}\n" for n in sorted(results) if results[n]["status"] == "PASS"))
    return results


def messages(results, *statuses):
    return "\n".join(f"{name}: {r['status']}: {r['message'][:300]}"
                     for name, r in sorted(results.items()) if r["status"] in statuses)


def test_all_cases_ran(results):
    assert len(results) >= 1700


def test_nothing_is_wrong(results):
    assert not messages(results, "WRONG")


def test_nothing_crashes(results):
    assert not messages(results, "CRASH", "TIMEOUT")


def test_every_other_case_is_refused_as_unsupported(results):
    """Valid models and inputs: an error must say that something is not supported."""
    assert not messages(results, "ERROR")


def test_passes_only_grow(results):
    listed = set(LIST.read_text().split())
    lost = {name for name in listed if results.get(name, {}).get("status") != "PASS"}
    assert not lost, messages({n: results[n] for n in lost if n in results}, "UNSUPPORTED",
                              "WRONG", "CRASH", "ERROR", "TIMEOUT") or sorted(lost)
    new = sorted(n for n, r in results.items() if r["status"] == "PASS" and n not in listed)
    assert not new, f"{len(new)} cases pass and are not in {LIST.name}: copy " \
                    f"node-cases/passes.txt over it. {new[:10]}"
    assert len(listed) >= LEAST_PASSES
