"""What tasks count, as `tacq-calibrate merge a.stats=3 b.stats=1` says it, counts wherever their
samples are read again: for Hessians behind quantized layers, for tuning and for what a plan measures."""
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

WIDTH, CLASSES, LENGTH, COUNT = 128, 32, 16, 16


@pytest.fixture(scope="module")
def folder(tools, tmp_path_factory):
    """A small model, two tasks with as many samples each, and their statistics."""
    folder = tmp_path_factory.mktemp("tasks")
    random = np.random.default_rng(5)
    shapes = {"w0": (WIDTH, 2 * WIDTH), "w1": (2 * WIDTH, WIDTH), "w2": (WIDTH, CLASSES)}
    weights = [numpy_helper.from_array(
        (random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32), name)
        for name, shape in shapes.items()]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["p0"]),
             helper.make_node("Tanh", ["p0"], ["h0"]),
             helper.make_node("MatMul", ["h0", "w1"], ["p1"]),
             helper.make_node("Tanh", ["p1"], ["h1"]),
             helper.make_node("MatMul", ["h1", "w2"], ["logits"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "t", size])
              for name, size in [("x", WIDTH), ("logits", CLASSES)]]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    onnx.save(helper.make_model(graph, ir_version=8,
                                opset_imports=[helper.make_opsetid("", 17)]), folder / "m.onnx")
    for name in ("a", "b", "c"):
        # Other columns are large in other tasks.
        scale = np.exp(random.standard_normal(WIDTH))
        np.savez(folder / f"{name}.npz",
                 x=(scale * random.standard_normal((COUNT, LENGTH, WIDTH))).astype(np.float32),
                 labels=random.integers(0, CLASSES, (COUNT, LENGTH)))
        tools.run("tacq-calibrate", folder / "m.onnx", "--data", folder / f"{name}.npz", "-o",
                  folder / f"{name}.stats")
    for name, weights in [("alike", ("", "")), ("weighted", ("=3", "=1")), ("first", ("=1e9", "=1"))]:
        tools.run("tacq-calibrate", "merge", f"{folder / 'a.stats'}{weights[0]}",
                  f"{folder / 'b.stats'}{weights[1]}", "-o", folder / f"{name}.stats")
    return folder


@pytest.fixture(scope="module")
def compiled(tools, folder):
    """compiled(STATS, DATA, FLAG...): the module's bytes, and what the compiler said."""
    def compile(statistics, data, *flags):
        files = [argument for name in data for argument in ("--data", folder / f"{name}.npz")]
        result = tools.run("tacq-compile", folder / "m.onnx", "--stats",
                           folder / f"{statistics}.stats", *files, "--bits", 3, "--circuit", 0,
                           *flags, "-o", folder / "m.tacq")
        return (folder / "m.tacq").read_bytes(), result.stderr
    return compile


def test_weights_are_remembered(tools, folder):
    read = json.loads(tools.run("tacq-calibrate", "inspect", "--json",
                                folder / "weighted.stats").stdout)
    assert sorted(entry["weight"] for entry in read["covered"]) == [0.5, 1.5]
    means = {entry["weight"]: np.mean(entry["losses"]) for entry in read["covered"]}
    assert read["mean_loss"] == pytest.approx(0.75 * means[1.5] + 0.25 * means[0.5])


def test_layers_see_weighted_samples(compiled):
    """A task that counts three times as much is one whose samples are there three times, to the bit;
    the order of the files is that of their weights' tasks in any case."""
    plain = compiled("alike", "ab")[0]
    weighted, text = compiled("weighted", "ab")
    assert "warning" not in text
    assert weighted == compiled("alike", "aaab")[0]
    assert weighted != plain
    assert weighted == compiled("weighted", "ba")[0]


def test_data_that_no_task_has(compiled):
    _, text = compiled("weighted", "ac")
    warning, = [line for line in text.splitlines() if "warning: " in line]
    assert "c.npz" in warning and "a.npz" not in warning and "weighted.stats" in warning
    assert "warning: " not in compiled("alike", "ac")[1]
    assert "warning: " not in compiled("weighted", "ac", "--quiet")[1]


def test_tuning_sees_weights(compiled):
    """Of either task two samples are held back; beside a task that counts nearly everything those of
    another one do not count."""
    flags = ("--tune", "fast", "--tune-steps", 2, "--tune-draw", 0)

    def held(statistics, data):
        text = compiled(statistics, data, *flags)[1]
        line, = [line for line in text.splitlines() if "after 0 steps" in line]
        return float(line.split("held back ")[1].split()[0])
    alone = held("a", "a")
    assert held("first", "ab") == pytest.approx(alone, rel=1e-3)
    assert abs(held("alike", "ab") / alone - 1) > 5e-3


def test_plans_measure_by_weights(tools, folder):
    """Beside a task that counts nearly everything another one changes nothing: measurements on eight
    of the samples of both are those on four of the first."""
    losses = []
    for statistics, data, count in [("a", "a", 4), ("first", "ab", 8), ("alike", "ab", 8)]:
        files = [argument for name in data for argument in ("--data", folder / f"{name}.npz")]
        text = tools.run("tacq-plan", folder / "m.onnx", "--stats", folder / f"{statistics}.stats",
                         *files, "--probe-samples", count, "--budget", "2.2bpw", "-o",
                         folder / "p.json").stderr
        assert "warning: " not in text
        made = json.loads((folder / "p.json").read_text())
        chosen, = [c for c in made["candidates"] if c.get("chosen")]
        losses.append([chosen["predicted_loss"], chosen["measured_loss"], made["mean_loss"]])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert all(abs(b / a - 1) > 5e-3 for a, b in zip(losses[0], losses[2]))


def test_plans_on_data_that_no_task_has(tools, folder):
    text = tools.run("tacq-plan", folder / "m.onnx", "--stats", folder / "weighted.stats", "--data",
                     folder / "c.npz", "--budget", "2.5bpw", "-o", folder / "p.json").stderr
    assert "c.npz" in text and "counts once" in text
