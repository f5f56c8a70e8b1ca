"""Tuning from the command line: it helps, says what it did, goes on after an interruption to the same
bytes, and refuses what it cannot do. What the steps compute is tested beside the tuner."""
import json
import signal
import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import exports

EXPORT = "dynamo_past_opset18"
TENSORS = 14


@pytest.fixture(scope="module")
def plan(work, probed_plan):
    """A few weights in 2 bits; the others stay."""
    path = work / "tuning-plan.json"
    plan = json.loads(probed_plan[0].read_text())
    plan["circuit"] = 0.0035
    for i, tensor in enumerate(plan["tensors"]):
        tensor["bits"], tensor["group"] = (2 if i < TENSORS else 16), 0
        tensor["codebook"] = i < TENSORS and i % 2 == 0
        del tensor["circuit"]
    path.write_text(json.dumps(plan))
    return path


@pytest.fixture(scope="module")
def short(work):
    path = work / "tuning-sample.jsonl"
    lines = (exports.TINY / "math_calib.jsonl").read_text().splitlines()[:8]
    path.write_text("".join(json.dumps({"tokens": json.loads(line)["tokens"][:48]}) + "\n"
                            for line in lines))
    return path


@pytest.fixture(scope="module")
def command(onnx_file, statistics, plan, short):
    """The flags of a tuning, but for its output."""
    return [onnx_file(EXPORT), "--stats", statistics, "--plan", plan, "--data", short, "--tune",
            "fast", "--tune-steps", 54, "--tune-draw", 2, "--tune-drawn",
            short.parent / "drawn.jsonl"]


@pytest.fixture(scope="module")
def tuned(tools, work, command):
    path = work / "tuned.tacq"
    return path, tools.run("tacq-compile", *command, "-o", path).stderr


def divergence(tools, module, base, data):
    return json.loads(tools.run("tacq-eval", module, "--base", base, "--data", data,
                                "--json").stdout)["kl_divergence"]


def test_predictions_come_closer(tools, module, tuned, onnx_file, statistics, plan, short, tmp_path):
    path, text = tuned
    assert "held back fell from" in text and "MiB" in text
    plain = tmp_path / "plain.tacq"
    tools.run("tacq-compile", onnx_file(EXPORT), "--stats", statistics, "--plan", plan, "--data",
              short, "-o", plain)
    assert plain.stat().st_size == path.stat().st_size
    base = module(EXPORT)
    assert divergence(tools, path, base, short) < 0.8 * divergence(tools, plain, base, short)


def test_drawn_samples_are_of_the_model(tools, module, tuned, short):
    """They begin with a piece of the sample and go on as the model expects: their loss is that of
    the sample, about, and far below that of other texts."""
    path = short.parent / "drawn.jsonl"
    drawn = [json.loads(line)["tokens"] for line in path.read_text().splitlines()]
    own = [json.loads(line)["tokens"] for line in short.read_text().splitlines()]
    assert "and 14 drawn ones" in tuned[1] and len(drawn) == 14
    assert len({tuple(tokens) for tokens in drawn}) == 14
    assert len(own) == 8
    for tokens in drawn:
        assert len(tokens) == 48
        assert any(tokens[:9] == sample[i:i + 9] for sample in own[:7] for i in range(40))

    def loss(data):
        return json.loads(tools.run("tacq-eval", module(EXPORT), "--data", data,
                                    "--json").stdout)["loss"]
    assert loss(path) < 1.5 * loss(short)
    shuffled = path.with_name("shuffled.jsonl")
    shuffled.write_text("".join(json.dumps({"tokens": sorted(tokens)}) + "\n" for tokens in drawn))
    assert loss(path) < 0.5 * loss(shuffled)


def test_questions_of_a_sample_with_labels(tools, command, tmp_path):
    """What is drawn are answers, and questions that are cut off; only that has labels."""
    lines = (exports.TINY / "math_dev.jsonl").read_text().splitlines()[:8]
    (tmp_path / "labels.jsonl").write_text("\n".join(lines) + "\n")
    at = command.index("--data")
    tools.run("tacq-compile", *command[:at], "--data", tmp_path / "labels.jsonl", "--tune", "fast",
              "--tune-steps", 1, "--tune-draw", 2, "--tune-drawn", tmp_path / "drawn.jsonl", "-o",
              tmp_path / "m.tacq")
    own = [json.loads(line) for line in lines]
    questions, ends = [], set()
    for each in own:
        scored = [i for i, label in enumerate(each["labels"]) if label != -100]
        questions.append(each["tokens"][:scored[0]])
        ends.add(each["tokens"][scored[-1]])
    assert len(ends) == 1
    drawn = [json.loads(line) for line in (tmp_path / "drawn.jsonl").read_text().splitlines()]
    assert len(drawn) == 14
    answered = 0
    for each in drawn:
        first = next(i for i, label in enumerate(each["labels"]) if label != -100)
        assert any(each["tokens"][:first] == question[:first] for question in questions[:7])
        assert all(label in (-100, token) for token, label in zip(each["tokens"], each["labels"]))
        for i in range(first, len(each["tokens"]) - 1):
            if each["labels"][i] in ends:
                answered += 1
                assert each["labels"][i + 1] == -100
    assert answered > 0


@pytest.mark.parametrize("looks", [1, 2])
def test_interrupted_tuning_goes_on(tools, tuned, command, tmp_path, looks):
    """Before any step, and behind a look that has found better numbers."""
    output = tmp_path / "part.tacq"
    process = subprocess.Popen([str(tools.path("tacq-compile")), *map(str, command), "-o",
                                str(output)], stderr=subprocess.PIPE, text=True)
    found = 0
    for line in process.stderr:
        found += "held back" in line
        if found == looks:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait(timeout=60) == 3 and "--resume" in rest
    state = tmp_path / "part.tacq.tuning"
    assert state.exists() and not output.exists()
    resumed = tools.run("tacq-compile", *command, "--resume", "-o", output).stderr
    assert "begins anew" not in resumed
    assert output.read_bytes() == tuned[0].read_bytes()
    assert not state.exists()


def test_nothing_to_go_on_with(tools, command, tmp_path):
    at = command.index("--tune-steps")
    text = tools.run("tacq-compile", *command[:at], "--tune-steps", 1, "--tune-draw", 0, "--resume",
                     "-o", tmp_path / "m.tacq").stderr
    warnings = [line for line in text.splitlines() if "m.tacq.tuning" in line]
    assert len(warnings) == 1, text
    assert warnings[0].startswith("warning: ") and "begins anew" in warnings[0]


def test_two_tasks(tools, command, short, tmp_path):
    """The samples of several files are one sample, and each file gets its scores."""
    lines = short.read_text().splitlines(keepends=True)
    for name, part in [("a.jsonl", lines[:5]), ("b.jsonl", lines[5:])]:
        (tmp_path / name).write_text("".join(part))
    at = command.index("--data")
    flags = command[:at] + ["--data", tmp_path / "a.jsonl", "--data", tmp_path / "b.jsonl",
                            "--tune", "fast", "--tune-steps", 1]
    text = tools.run("tacq-compile", *flags, "-o", tmp_path / "both.tacq").stderr
    assert "tuning on 8 samples" in text
    scores = json.loads(tools.run("tacq-eval", tmp_path / "both.tacq", "--data",
                                  tmp_path / "a.jsonl", "--data", tmp_path / "b.jsonl",
                                  "--json").stdout)
    assert [score["sequences"] for score in scores] == [5, 3]
    alone = json.loads(tools.run("tacq-eval", tmp_path / "both.tacq", "--data", tmp_path / "b.jsonl",
                                 "--json").stdout)
    assert alone == scores[1]


def test_a_model_without_tokens(tools, tmp_path):
    """It can be asked for no more samples, and is tuned on those that there are."""
    random = np.random.default_rng(0)
    weights = [numpy_helper.from_array(
        random.standard_normal((256, 256)).astype(np.float32) / 16, name) for name in ("w0", "w1")]
    nodes = [helper.make_node("MatMul", ["x", "w0"], ["h"], name="first"),
             helper.make_node("Relu", ["h"], ["g"], name="relu"),
             helper.make_node("MatMul", ["g", "w1"], ["logits"], name="second")]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "sequence", 256])
              for name in ("x", "logits")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    model, data, stats = tmp_path / "m.onnx", tmp_path / "d.npz", tmp_path / "s.stats"
    onnx.save(helper.make_model(graph, ir_version=9,
                                opset_imports=[helper.make_opsetid("", 18)]), model)
    np.savez(data, x=random.standard_normal((32, 8, 256)).astype(np.float32),
             labels=random.integers(0, 256, (32, 8)))
    tools.run("tacq-calibrate", model, "--data", data, "-o", stats)
    result = tools.run("tacq-compile", model, "--stats", stats, "--data", data, "--bits", 2,
                       "--tune", "fast", "--tune-steps", 3, "-o", tmp_path / "m.tacq")
    assert "no samples are drawn" in result.stderr and "input_ids" in result.stderr
    assert "held back fell from" in result.stderr


def test_refusals(tools, onnx_file, statistics, plan, short, command, tmp_path):
    model, output = onnx_file(EXPORT), tmp_path / "m.tacq"
    tools.fails("tacq-compile", model, "--tune", "fast", "-o", output, status=1,
                says="--tune needs --bits or --plan")
    tools.fails("tacq-compile", model, "--stats", statistics, "--plan", plan, "--tune", "fast", "-o",
                output, status=1, says="give --data")
    few = tmp_path / "few.jsonl"
    few.write_text("".join(short.read_text().splitlines(keepends=True)[:5]))
    arguments = [few if argument == short else argument for argument in command]
    tools.fails("tacq-compile", *arguments, "-o", output, status=3,
                says=["needs 8 samples or more, and there are 5"])
    (tmp_path / "m.tacq.tuning").write_bytes(b"something else entirely, and long enough")
    tools.fails("tacq-compile", *command, "--resume", "-o", output, status=3,
                says=["m.tacq.tuning", "damaged"])
    assert not output.exists()
