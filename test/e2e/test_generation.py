"""tacq-run --generate: texts, caches, repeatability."""
import json

import numpy as np
import onnxruntime
import pytest

import exports

score = exports.load_script("tools/dev/score.py")

PROMPTS = exports.TINY / "math_prompts.jsonl"
ANSWERS = exports.TINY / "math_answers.jsonl"


def generate(tools, module, prompts, output, *more):
    tools.run("tacq-run", module, "--generate", "--prompts", prompts, "--max-new", 100, "--stop",
              10, "--output", output, *more)
    return score.read_lines(output)


@pytest.mark.parametrize("name", [n for n in exports.CACHED if not n.startswith("small")])
def test_answers(tools, module, tmp_path, name):
    lines = generate(tools, module(name), PROMPTS, tmp_path / "out.jsonl")
    answers = score.read_lines(ANSWERS)
    assert score.score(lines, answers) >= 0.99 * len(answers)
    assert all(line["tokens"][-1] == 10 or len(line["tokens"]) == 100 for line in lines)


def test_same_texts_with_and_without_cache(tools, module, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(PROMPTS.read_text().splitlines(True)[:5]))
    cached = generate(tools, module("dynamo_past_opset18"), prompts, tmp_path / "a.jsonl")
    plain = generate(tools, module("dynamo_plain_opset23"), prompts, tmp_path / "b.jsonl")
    assert cached == plain


def test_same_bytes_on_any_number_of_threads(tools, module, tmp_path):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(PROMPTS.read_text().splitlines(True)[:5]))
    texts = [generate(tools, module("dynamo_past_opset18"), prompts, tmp_path / "o.jsonl",
                      "--device", f"cpu:threads={n}") for n in (1, 2, 3, 2)]
    assert all(text == texts[0] for text in texts)


def test_max_new_and_stdout(tools, module, tmp_path):
    prompt = json.loads(PROMPTS.read_text().splitlines()[0])["tokens"]
    (tmp_path / "p.jsonl").write_text(json.dumps({"tokens": prompt}) + "\n")
    result = tools.run("tacq-run", module("dynamo_plain_opset23"), "--generate", "--prompts",
                       tmp_path / "p.jsonl", "--max-new", 3)
    generated = json.loads(result.stdout)["tokens"]
    session = onnxruntime.InferenceSession(exports.TINY / "dynamo_plain_opset23.onnx",
                                           providers=["CPUExecutionProvider"])
    expected = []
    for _ in range(3):
        ids = np.array([prompt + expected], np.int64)
        expected.append(int(session.run(["logits"], {"input_ids": ids})[0][0, -1].argmax()))
    assert generated == expected
    assert "generating: 1/1 prompts" in result.stderr


def test_no_allocation_per_token(tools, module, tmp_path):
    """With a fixed capacity, 60 tokens need no more memory objects than 20."""
    prompt = json.loads(PROMPTS.read_text().splitlines()[0])["tokens"][:8]
    (tmp_path / "p.jsonl").write_text(json.dumps({"tokens": prompt}) + "\n")
    allocations = []
    for count in (20, 60):
        result = tools.run("tacq-run", module("dynamo_past_opset18"), "--generate", "--prompts",
                           tmp_path / "p.jsonl", "--max-new", count, "--capacity", 128, "--stats",
                           "--output", tmp_path / "o.jsonl")
        counters = dict(line.split(": ") for line in result.stderr.splitlines()
                        if line.startswith("allocations: "))
        allocations.append(int(counters["allocations"]))
    assert allocations[0] == allocations[1]
