"""tacq-eval, tacq-bench and tacq-dump on real modules."""
import collections
import json
import math

import numpy as np
import onnx
import onnxruntime
import pytest

import exports

REFERENCE = exports.ROOT / "test" / "data" / "reference" / "tiny.npz"


def head(path, count, target):
    target.write_text("".join(path.read_text().splitlines(True)[:count]))
    return target


def log_softmax(logits):
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@pytest.mark.parametrize("name", ["dynamo_past_opset18", "dynamo_plain_opset23"])
def test_loss_of_each_sequence(tools, module, tmp_path, name):
    """Against PyTorch's mean cross-entropy of the calibration sequences."""
    data = head(exports.TINY / "math_calib.jsonl", 8, tmp_path / "calib.jsonl")
    result = json.loads(tools.run("tacq-eval", module(name), "--data", data, "--json").stdout)
    expected = np.load(REFERENCE)["math_calib_loss_per_sequence"][:8]
    np.testing.assert_allclose(result["sequence_losses"], expected, rtol=1e-4)
    assert result["tokens"] == 8 * 511
    assert result["loss"] == pytest.approx(expected.mean(), rel=1e-4)
    assert result["perplexity"] == pytest.approx(math.exp(result["loss"]))
    assert result["bits_per_token"] == pytest.approx(result["loss"] / math.log(2))


def test_labels(tools, module, tmp_path):
    """Only positions with a label count; loss and top-1 against ONNX Runtime."""
    data = head(exports.TINY / "math_dev.jsonl", 5, tmp_path / "dev.jsonl")
    session = onnxruntime.InferenceSession(exports.TINY / "dynamo_plain_opset23.onnx",
                                           providers=["CPUExecutionProvider"])
    losses, hits = [], []
    for line in map(json.loads, data.read_text().splitlines()):
        ids = np.array([line["tokens"]], np.int64)
        rows = log_softmax(session.run(["logits"], {"input_ids": ids})[0][0])
        for i, label in enumerate(line["labels"]):
            if i > 0 and label != -100:
                losses.append(-rows[i - 1, label])
                hits.append(rows[i - 1].argmax() == label)
    result = json.loads(tools.run("tacq-eval", module("dynamo_past_opset18"), "--data", data,
                                  "--json").stdout)
    assert result["tokens"] == len(losses)
    assert result["loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert result["top1"] == pytest.approx(np.mean(hits))


def test_npz_data_is_the_same(tools, module, tmp_path):
    lines = [json.loads(line)["tokens"] for line in
             (exports.TINY / "math_calib.jsonl").read_text().splitlines()[:3]]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps({"tokens": t}) + "\n" for t in lines))
    np.savez(tmp_path / "d.npz", input_ids=np.array(lines), labels=np.array(lines))
    losses = [json.loads(tools.run("tacq-eval", module("dynamo_past_opset18"), "--data",
                                   tmp_path / f"d.{kind}", "--json").stdout)["loss"]
              for kind in ("jsonl", "npz")]
    assert losses[0] == losses[1]


def test_base(tools, module, tmp_path, onnx_file):
    """A module beside itself differs by nothing, beside a changed one by the KL of ONNX Runtime."""
    data = head(exports.TINY / "math_calib.jsonl", 2, tmp_path / "calib.jsonl")
    plain = module("dynamo_plain_opset23")
    same = json.loads(tools.run("tacq-eval", plain, "--base", plain, "--data", data,
                                "--json").stdout)
    assert same["kl_divergence"] == 0 and same["top1_agreement"] == 1
    model = onnx.load(onnx_file("dynamo_plain_opset23"))
    for tensor in model.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.ndim == 2 and value.dtype == np.float32:
            tensor.CopyFrom(onnx.numpy_helper.from_array(
                value.astype(np.float16).astype(np.float32) * np.float32(1.02), tensor.name))
    changed_file = tmp_path / "changed.onnx"
    onnx.save(model, changed_file)
    tools.run("tacq-compile", changed_file, "--target", "cpu=host", "-o", tmp_path / "c.tacq")
    result = json.loads(tools.run("tacq-eval", tmp_path / "c.tacq", "--base", plain, "--data",
                                  data, "--json").stdout)
    sessions = [onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
                for path in (changed_file, onnx_file("dynamo_plain_opset23"))]
    divergences, agreements = [], []
    for line in map(json.loads, data.read_text().splitlines()):
        ids = np.array([line["tokens"]], np.int64)
        rows, base = [log_softmax(s.run(["logits"], {"input_ids": ids})[0][0][:-1])
                      for s in sessions]
        divergences.append((np.exp(base) * (base - rows)).sum(-1))
        agreements.append(rows.argmax(-1) == base.argmax(-1))
    assert result["kl_divergence"] == pytest.approx(np.mean(divergences), rel=1e-2)
    assert result["top1_agreement"] == pytest.approx(np.mean(agreements), abs=2e-3)


def test_bench(tools, module):
    result = tools.run("tacq-bench", module("dynamo_past_opset18"), "--prompt", 32, "--decode", 8,
                       "--threads", "1,2", "--repetitions", 3, "--json")
    rows = json.loads(result.stdout)
    assert [(r["n_prompt"], r["n_gen"], r["n_threads"]) for r in rows] == [
        (32, 0, 1), (0, 8, 1), (32, 0, 2), (0, 8, 2)]
    for row in rows:
        assert len(row["samples_ts"]) == len(row["samples_ns"]) == 3
        assert row["avg_ts"] == pytest.approx(np.mean(row["samples_ts"]))
        assert row["stddev_ts"] == pytest.approx(np.std(row["samples_ts"], ddof=1))
        tokens = row["n_prompt"] + row["n_gen"]
        assert row["samples_ts"][0] == pytest.approx(tokens * 1e9 / row["samples_ns"][0])
        assert row["best_ts"] == max(row["samples_ts"])
        assert row["backends"] == "cpu" and row["build_commit"] and row["host"]
        held = row["model_size"] + row["cache_bytes"] + row["activation_bytes"]
        assert row["cache_bytes"] > 0 and row["activation_bytes"] > 0
        assert row["memory_ratio"] == pytest.approx(
            (row["peak_resident_bytes"] - row["resident_before_bytes"]) / held)
    table = tools.run("tacq-bench", module("dynamo_past_opset18"), "--prompt", 16, "--decode", 4,
                      "--threads", 1, "--repetitions", 1, "--overhead").stdout
    assert "pp16" in table and "tg4" in table and "us a token besides its" in table


def test_bench_of_overhead(tools, module):
    """What a token takes outside of dispatches is part of its time; there are some dispatches."""
    rows = json.loads(tools.run("tacq-bench", module("dynamo_past_opset18"), "--prompt", 4,
                                "--decode", 16, "--threads", 1, "--overhead", "--json").stdout)
    assert "overhead_us_per_token" not in rows[0]
    assert 0 < rows[1]["overhead_us_per_token"] < max(rows[1]["samples_ns"]) / 16e3
    assert rows[1]["dispatches_per_token"] >= 6 * 4


KERNELS = {
    "matvec": ["--m", 256, "--k", 512, "--circuit", "0.35%"],
    "matmul": ["--m", 250, "--k", 500, "--n", 40, "--bits", 3, "--codebook"],
    "attention": ["--heads", 8, "--kv-heads", 2, "--head-size", 64, "--past", 200, "--n", 3],
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_bench_of_a_kernel(tools, kernel):
    """Names of the results, and that they fit together, on both targets of this machine."""
    for target in ("x86-64-v3", "host"):
        rows = json.loads(tools.run("tacq-bench", "--kernel", kernel, *KERNELS[kernel], "--threads",
                                    "1,2", "--streamed-bytes", "2M", "--target", f"cpu={target}",
                                    "--json").stdout)
        assert [row["n_threads"] for row in rows] == [1, 2]
        for row in rows:
            assert target in ("host", row["target"])
            assert 0 < row["microseconds"] <= row["median_microseconds"]
            seconds = row["microseconds"] * 1e-6
            assert row["gb_per_s"] == pytest.approx(row["streamed_bytes"] / seconds / 1e9)
            assert row["bandwidth_fraction"] == pytest.approx(row["gb_per_s"] /
                                                              row["read_gb_per_s"])
            assert row["compute_fraction"] == pytest.approx(row["gmacs_per_s"] /
                                                            row["peak_gmacs_per_s"])
            bound = "memory" if row["bandwidth_fraction"] > row["compute_fraction"] else "compute"
            assert row["bound"] == bound
            assert row["roofline"] == max(row["bandwidth_fraction"], row["compute_fraction"])
            assert row["compute_fraction"] < 1.2  # nothing is faster than registers allow
            if kernel == "matvec":
                assert row["gweights_per_s"] == pytest.approx(256 * 512 / seconds / 1e9)
                assert row["circuit_layout"] == "slots" and 2.2 < row["bpw"] < 2.8
            elif kernel == "attention":
                seen = (201 + 202 + 203) * 8 * 64 * 2
                assert row["gmacs_per_s"] == pytest.approx(seen / seconds / 1e9)


def test_bench_of_an_impossible_kernel(tools):
    for flags, says in ((["--target", "avr"], "avr"), (["--circuit", "many"], "--circuit"),
                        (["--codebook", "--bits", 8], "--codebook"),
                        (["--streamed-bytes", "lots"], "--streamed-bytes")):
        tools.fails("tacq-bench", "--kernel", "matvec", *flags, status=1, says=says)
    tools.fails("tacq-bench", "--kernel", "attention", "--heads", 7, "--kv-heads", 2, status=1,
                says="7 heads")


def test_dump(tools, module, onnx_file):
    result = json.loads(tools.run("tacq-dump", module("dynamo_past_opset18"), "--json").stdout)
    model = onnx.load(onnx_file("dynamo_past_opset18"), load_external_data=False)
    weights = [t for t in model.graph.initializer if len(t.dims) == 2 and np.prod(t.dims) >= 4096]
    dumped = [t for t in result["tensors"] if len(t["shape"]) == 2
              and np.prod(t["shape"]) >= 4096]

    def counts(shapes):
        return collections.Counter(tuple(sorted(shape)) for shape in shapes)

    # The tied embedding is there twice: as rows to look up, and packed for the head.
    more = counts(t["shape"] for t in dumped) - counts(t.dims for t in weights)
    assert more in (counts([]), counts([(320, 256)]))
    assert not counts(t.dims for t in weights) - counts(t["shape"] for t in dumped)
    for tensor in dumped:
        assert tensor["bits"] == 32
        assert tensor["bytes"] >= 4 * np.prod(tensor["shape"])
        assert tensor["bytes"] == sum(part["bytes"] for part in tensor["parts"])
    # Names that are the user's stay; those that the exporter made up ("val_100") do not.
    names = {t["name"] for t in dumped}
    assert {t.name for t in weights if t.name.startswith("m.")} <= names
    assert not [name for name in names if name.startswith("val_")]
    assert [i["name"] for i in result["inputs"]] == [i.name for i in model.graph.input]
    assert len(result["states"]) == 12
    assert result["file_bytes"] == module("dynamo_past_opset18").stat().st_size
    text = tools.run("tacq-dump", module("dynamo_past_opset18")).stdout
    assert "past + sequence" in text
    assert "dispatch" in tools.run("tacq-dump", module("dynamo_past_opset18"), "--schedule").stdout


def test_disassembly(tools, module):
    path = module("dynamo_past_opset18")
    code = json.loads(tools.run("tacq-dump", path, "--json").stdout)["executables"][0]
    text = tools.run("tacq-dump", path, "--disassemble", "--target", code["target"], "--kernel",
                     code["kernels"][0]).stdout
    assert f"<{code['kernels'][0]}>:" in text and "ret" in text
    tools.fails("tacq-dump", path, "--disassemble", "--kernel", "nosuch", status=1, says="nosuch")
