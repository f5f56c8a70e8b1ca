"""tacq-calibrate: its statistics against references, however the work is split, and bad input."""
import json
import os
import signal
import subprocess
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import exports

REFERENCE = exports.ROOT / "test" / "data" / "reference"
CACHED = "dynamo_past_opset18"


def head(count, target, tokens=None):
    """The first samples of math_calib, each cut to so many tokens."""
    lines = (exports.TINY / "math_calib.jsonl").read_text().splitlines()[:count]
    target.write_text("".join(json.dumps({"tokens": json.loads(line)["tokens"][:tokens]}) + "\n"
                              for line in lines))
    return target


@pytest.fixture(scope="session")
def sample(work):
    """8 samples of 48 tokens."""
    return head(8, work / "calibration_sample.jsonl", 48)


@pytest.fixture
def calibrate(tools, onnx_file, tmp_path):
    """Runs tacq-calibrate on an export; gives what inspect prints."""
    def run(data, *more, name=CACHED, model=None, output=None):
        output = output or tmp_path / f"{name}.stats"
        tools.run("tacq-calibrate", model or onnx_file(name), "--data", data, "-o", output, *more)
        return inspect(tools, output)
    return run


@pytest.fixture
def refuses(tools, onnx_file, tmp_path):
    """Expects one sentence, the exit status and no output file."""
    def run(data, says, *more, status=3, model=None):
        out = tmp_path / "refused"
        out.mkdir(exist_ok=True)
        tools.fails("tacq-calibrate", model or onnx_file(CACHED), "--data", data, "-o",
                    out / "x.stats", *more, status=status, says=says)
        assert not list(out.iterdir()), "something was left behind"
    return run


def inspect(tools, path):
    return json.loads(tools.run("tacq-calibrate", "inspect", path, "--json").stdout)


def column(result, key):
    return np.array([tensor[key] for tensor in result["tensors"]])


def lines(path, *samples):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in samples))
    return path


# ---- values

def test_reference(calibrate):
    """All of math_calib against PyTorch: 128 sequences of 512 tokens."""
    result = calibrate(exports.TINY / "math_calib.jsonl")
    reference = np.load(REFERENCE / "tiny_calibration.npz")
    assert len(result["tensors"]) == 42
    for key in ["abs_gradient_sum", "abs_gradient_l2"]:
        np.testing.assert_allclose(column(result, key), reference[key], rtol=5e-3, err_msg=key)
    for key in ["hessian_trace", "hessian_frobenius"]:
        np.testing.assert_allclose(column(result, key), reference[key], rtol=1e-3, err_msg=key)
    losses = np.load(REFERENCE / "tiny.npz")["math_calib_loss_per_sequence"]
    assert len(result["covered"]) == 1 and result["samples"] == 128
    np.testing.assert_allclose(result["covered"][0]["losses"], losses, rtol=1e-4)
    assert {tensor["tokens"] for tensor in result["tensors"]} == {128 * 512}


@pytest.mark.parametrize("name", ["legacy_past_opset17", "dynamo_plain_opset23"])
def test_exports_agree(calibrate, sample, name):
    """The same model from three exporters."""
    first, second = calibrate(sample), calibrate(sample, name=name)
    assert [t["shape"] for t in first["tensors"]] == [t["shape"] for t in second["tensors"]]
    for key in ["abs_gradient_sum", "abs_gradient_l2", "hessian_trace", "hessian_frobenius"]:
        np.testing.assert_allclose(column(first, key), column(second, key), rtol=1e-3)


def test_fp16_model(calibrate, sample):
    """Parameters in fp16 are read as they are; everything is computed in f32."""
    result = calibrate(sample, name="small_past_opset18_fp16")
    assert len(result["tensors"]) == 84
    for key in ["abs_gradient_sum", "hessian_trace"]:
        assert (column(result, key) > 0).all()


def test_names_and_shapes(calibrate, sample):
    tensors = calibrate(sample)["tensors"]
    assert tensors[0]["shape"] == [256, 256] and tensors[6]["shape"] == [256, 768]
    # query, key and value read one input
    assert [t["input"] for t in tensors[:7]] == [0, 0, 0, 1, 2, 2, 3]
    assert not any(t["head"] for t in tensors)
    assert all(t["samples"] == 8 for t in tensors)


def test_head(calibrate, sample):
    result = calibrate(sample, "--head")
    assert [t["head"] for t in result["tensors"]] == [False] * 42 + [True]
    assert result["tensors"][-1]["shape"] == [320, 256]


def test_hessians_only(calibrate, sample):
    full, result = calibrate(sample), calibrate(sample, "--hessians-only")
    np.testing.assert_allclose(column(result, "hessian_trace"), column(full, "hessian_trace"),
                               rtol=1e-5)
    assert all(t["abs_gradient_sum"] is None for t in result["tensors"])
    assert result["mean_loss"] is None


def test_labels(calibrate, tmp_path, sample):
    """Labels restrict the loss; equal to the tokens they change nothing, and can be left aside."""
    entries = [json.loads(line) for line in sample.read_text().splitlines()[:2]]
    plain = calibrate(lines(tmp_path / "plain.jsonl", *entries))
    same = [dict(e, labels=e["tokens"]) for e in entries]
    result = calibrate(lines(tmp_path / "same.jsonl", *same))
    assert result["settings"]["labels"] == "labels"
    np.testing.assert_array_equal(column(result, "abs_gradient_sum"),
                                  column(plain, "abs_gradient_sum"))
    masked = [dict(e, labels=[-100] * 40 + e["tokens"][40:]) for e in entries]
    result = calibrate(lines(tmp_path / "masked.jsonl", *masked))
    assert abs(result["mean_loss"] - plain["mean_loss"]) > 1e-3
    np.testing.assert_array_equal(column(result, "hessian_trace"), column(plain, "hessian_trace"))
    result = calibrate(tmp_path / "masked.jsonl", "--all-tokens")
    np.testing.assert_array_equal(column(result, "abs_gradient_sum"),
                                  column(plain, "abs_gradient_sum"))


def test_npz_data_is_the_same(calibrate, tmp_path, sample):
    tokens = np.array([json.loads(line)["tokens"] for line in sample.read_text().splitlines()])
    np.savez(tmp_path / "d.npz", input_ids=tokens.astype(np.int32))
    np.savez(tmp_path / "all.npz", input_ids=tokens, labels=tokens,
             attention_mask=np.ones_like(tokens), position_ids=np.tile(np.arange(48), (8, 1)))
    first, second = calibrate(sample), calibrate(tmp_path / "d.npz")
    third = calibrate(tmp_path / "all.npz")
    for key in ["abs_gradient_sum", "hessian_trace"]:
        np.testing.assert_array_equal(column(first, key), column(second, key))
        np.testing.assert_array_equal(column(first, key), column(third, key))


def perceptron(path):
    """y = Relu(x A) B; gives A and B. (Weights of up to 64 elements are constants.)"""
    random = np.random.default_rng(5)
    a = random.standard_normal((6, 16)).astype(np.float32)
    b = random.standard_normal((16, 8)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["p"], name="first"),
             helper.make_node("Relu", ["p"], ["h"], name="relu"),
             helper.make_node("MatMul", ["h", "b"], ["y"], name="second")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", TensorProto.FLOAT, ["n", "t", 6])],
                              [value("y", TensorProto.FLOAT, ["n", "t", 8])],
                              [numpy_helper.from_array(a, "a"), numpy_helper.from_array(b, "b")])
    onnx.save(helper.make_model(graph, ir_version=8,
                                opset_imports=[helper.make_opsetid("", 17)]), path)
    return a.astype(np.float64), b.astype(np.float64)


def test_mse(calibrate, tmp_path):
    """A model of another kind, against its gradients in NumPy."""
    a, b = perceptron(tmp_path / "m.onnx")
    random = np.random.default_rng(6)
    x = random.standard_normal((5, 3, 6)).astype(np.float32)
    target = random.standard_normal((5, 3, 8)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, target=target)
    result = calibrate(tmp_path / "d.npz", "--loss", "mse", "--loss-output", "y",
                       model=tmp_path / "m.onnx")
    losses, ga, gb = [], np.zeros_like(a), np.zeros_like(b)
    ha, hb = np.zeros((6, 6)), np.zeros((16, 16))
    for s in range(5):
        p = x[s].astype(np.float64) @ a
        h = np.maximum(p, 0)
        d = h @ b - target[s]
        losses.append(np.mean(d * d))
        dy = 2 * d / d.size
        gb += np.abs(h.T @ dy)
        ga += np.abs(x[s].T @ (dy @ b.T * (p > 0)))
        ha += x[s].T @ x[s]
        hb += h.T @ h
    np.testing.assert_allclose(result["covered"][0]["losses"], losses, rtol=1e-5)
    assert [t["name"] for t in result["tensors"]] == ["a", "b"]
    assert [t["shape"] for t in result["tensors"]] == [[16, 6], [8, 16]]
    for tensor, g, h in zip(result["tensors"], [ga, gb], [ha, hb]):
        assert tensor["abs_gradient_sum"] == pytest.approx(g.sum(), rel=1e-5)
        assert tensor["abs_gradient_l2"] == pytest.approx(np.linalg.norm(g), rel=1e-5)
        assert tensor["hessian_trace"] == pytest.approx(np.trace(h), rel=1e-5)
        assert tensor["hessian_frobenius"] == pytest.approx(np.linalg.norm(h), rel=1e-5)


# ---- however the work is split

def sums(path):
    """The numbers behind the metadata of a statistics file."""
    content = path.read_bytes()
    size = int.from_bytes(content[24:32], "little")
    begin = (64 + size + 63) // 64 * 64
    return np.frombuffer(content[begin:], np.float64)


def test_runs_are_repeatable(tools, calibrate, sample, tmp_path):
    """The same bytes from any number of threads."""
    for threads in [1, 2, 3]:
        calibrate(sample, "--threads", threads, output=tmp_path / f"{threads}.stats")
    first = (tmp_path / "1.stats").read_bytes()
    assert (tmp_path / "2.stats").read_bytes() == first
    assert (tmp_path / "3.stats").read_bytes() == first


@pytest.mark.parametrize("shards", [["0/3", "1/3", "2/3"], ["1/2", "2/2"]])
def test_shards_add_up(tools, calibrate, sample, tmp_path, shards):
    whole = calibrate(sample, output=tmp_path / "whole.stats")
    parts = []
    for i, shard in enumerate(shards):
        parts.append(tmp_path / f"{i}.stats")
        calibrate(sample, "--shard", shard, output=parts[-1])
    for i, order in enumerate([parts, parts[::-1]]):
        tools.run("tacq-calibrate", "merge", *order, "-o", tmp_path / "merged.stats")
        merged = inspect(tools, tmp_path / "merged.stats")
        assert merged["covered"] == whole["covered"]
        a, b = sums(tmp_path / "whole.stats"), sums(tmp_path / "merged.stats")
        np.testing.assert_array_equal(a.astype(np.float32), b.astype(np.float32))


def test_weighted_tasks(tools, calibrate, tmp_path):
    """Weights are of tasks: six samples and two count as 3 : 1 if they are to, 4 each on average."""
    parts = [tmp_path / "a.stats", tmp_path / "b.stats"]
    calibrate(head(6, tmp_path / "a.jsonl", 40), output=parts[0])
    other = tmp_path / "b.jsonl"
    other.write_text("".join((exports.TINY / "math_calib.jsonl").read_text()
                             .splitlines(keepends=True)[10:12]))
    calibrate(other, output=parts[1])
    merged = tmp_path / "merged.stats"
    tools.run("tacq-calibrate", "merge", f"{parts[0]}=3", f"{parts[1]}=1", "-o", merged)
    a, b = sums(parts[0]), sums(parts[1])
    # The sketched rows of the weights are no sums.
    expected = np.where(a == b, a, a * (0.75 * 8 / 6) + b * (0.25 * 8 / 2))
    np.testing.assert_allclose(sums(merged), expected, rtol=1e-12)
    assert inspect(tools, merged)["samples"] == 8
    for weight in ["0", "-1", "x", ""]:
        result = tools.run("tacq-calibrate", "merge", f"{parts[0]}={weight}", parts[1], "-o", merged,
                           status=1)
        assert "positive weight" in result.stderr


def interrupt(tools, model, data, output):
    """Starts a run and interrupts it when it has begun with the samples."""
    process = subprocess.Popen([tools.path("tacq-calibrate"), model, "--data", data, "-o", output,
                                "--threads", "1"], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "calibrating on" in line:
            break
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    return process.wait(timeout=60), rest


def test_interrupted_run_goes_on(tools, onnx_file, calibrate, tmp_path):
    data = head(24, tmp_path / "d.jsonl", 128)
    whole = calibrate(data, output=tmp_path / "whole.stats")
    output = tmp_path / "part.stats"
    status, text = interrupt(tools, onnx_file(CACHED), data, output)
    assert status == 3 and "--resume" in text and "part.stats.partial" in text
    partial = tmp_path / "part.stats.partial"
    assert partial.exists() and not output.exists()
    assert 0 < inspect(tools, partial)["samples"] < 24
    resumed = calibrate(data, "--resume", output=output)
    assert not partial.exists()
    assert resumed["covered"] == whole["covered"]
    np.testing.assert_array_equal(sums(output).astype(np.float32),
                                  sums(tmp_path / "whole.stats").astype(np.float32))
    # Once more there is nothing to do.
    before = output.read_bytes()
    text = tools.run("tacq-calibrate", onnx_file(CACHED), "--data", data, "-o", output,
                     "--resume").stderr
    assert "complete" in text and output.read_bytes() == before


def test_resume_starts_where_nothing_is(calibrate, sample):
    assert calibrate(sample, "--resume")["samples"] == 8


def test_resume_of_something_else(tools, onnx_file, calibrate, sample, tmp_path):
    output = tmp_path / "x.stats"
    calibrate(sample, output=tmp_path / "x.stats.partial")
    model, other = onnx_file(CACHED), head(3, tmp_path / "other.jsonl", 20)
    for more, says in [(["--data", other], "other data"),
                       (["--data", sample, "--shard", "0/2"], "another shard"),
                       (["--data", sample, "--hessians-only"], "settings differ")]:
        tools.fails("tacq-calibrate", model, "-o", output, "--resume", *more, status=3, says=says)
        assert not output.exists()


# ---- bad input

@pytest.mark.parametrize("text, says", [
    ("", "holds no sample"), ("\n \n", "holds no sample"),
    ("[1, 2]\n", "line 1 is not a JSON object"),
    ('{"tokens":[1,2]}\n{"tokens":"abc"}\n', 'line 2 has no "tokens"'),
    ('{"tokens":[1.5, 2]}\n', 'line 1 has no "tokens"'),
    ('{"tokens":[1,2,3]}\n{"tokens":[]}\n', "line 2 has no tokens"),
    ('{"tokens":[7]}\n', "line 1 has one token only"),
    ('{"tokens":[1,2,3],"labels":[1,2]}\n', "line 1 has 3 tokens but 2 labels"),
    ('{"tokens":[1,2,3],"labels":[-100,-100,-100]}\n', "has no label other than -100"),
    ('{"tokens":[1,2,3]}\n\n{"tokens":[1,320,3]}\n',
     "line 3: token 1 is 320, but the vocabulary ends at 319"),
    ('{"tokens":[1,-1,3]}\n', "line 1: token 1 is -1"),
    ('{"tokens":[1,2,3],"labels":[-100,2,400]}\n', "line 1: label 2 is 400"),
])
def test_bad_lines(refuses, tmp_path, text, says):
    (tmp_path / "d.jsonl").write_text(text)
    refuses(tmp_path / "d.jsonl", ["d.jsonl", says])


@pytest.mark.parametrize("arrays, says", [
    ({}, "holds no array"),
    ({"input_ids": np.ones((2, 5), np.float32)}, "elements of type f32, the model takes i64"),
    ({"input_ids": np.ones(5, np.int64)}, "has 1 axes, the model takes 2"),
    ({"input_ids": np.ones((2, 0), np.int64)}, "samples without elements"),
    ({"input_ids": np.ones((2, 5), np.int64), "labels": np.ones((3, 5), np.int64)},
     "array labels has 3 samples, but input_ids has 2"),
    ({"input_ids": np.ones((2, 5), np.int64), "labels": np.ones((2, 4), np.int64)},
     "array labels has other extents than input_ids"),
    ({"input_ids": np.full((2, 5), 999)}, "sample 0: token 0 is 999"),
    ({"attention_mask": np.ones((2, 5), np.int64)}, "nothing for the input input_ids"),
    ({"input_ids": np.ones((2, 5), np.int64), "nosuch": np.ones((2, 5))},
     "array nosuch is no input of the model"),
])
def test_bad_arrays(refuses, tmp_path, arrays, says):
    np.savez(tmp_path / "d.npz", **arrays)
    refuses(tmp_path / "d.npz", ["d.npz", says])


def test_bad_files(refuses, sample, tmp_path):
    refuses(tmp_path / "nosuch.jsonl", "nosuch.jsonl cannot be read")
    (tmp_path / "d.txt").write_text("1 2 3\n")
    refuses(tmp_path / "d.txt", "is neither .npz nor .jsonl")
    (tmp_path / "d.npz").write_bytes(b"PK no archive")
    refuses(tmp_path / "d.npz", "d.npz")
    refuses(sample, "nosuch.onnx", model=tmp_path / "nosuch.onnx")


@pytest.mark.parametrize("more, says", [
    (["--loss", "hinge"], "hinge"), (["--shard", "3/2"], "--shard expects i/N"),
    (["--shard", "1"], "--shard expects i/N"), (["--shard", "0/0"], "--shard expects i/N"),
    (["--shard", "-1/2"], "--shard expects i/N"), (["--threads", "0"], "threads"),
    (["--shard", "8/9"], "shard 8/9 of 8 samples is empty"),
    (["--loss-output", "hidden"], "no output 'hidden' to compute a loss of; its outputs are"),
])
def test_bad_usage(refuses, sample, more, says):
    refuses(sample, says, *more, status=1)


def test_nothing_to_calibrate(refuses, sample, tmp_path):
    """A model whose only linear operation is the projection into the classes."""
    perceptron(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.graph.node[:2]
    model.graph.node[0].input[0] = "x"
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 16
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((2, 3, 16), np.float32), labels=np.ones((2, 3), int))
    refuses(tmp_path / "d.npz", "there is nothing to calibrate", "--loss-output", "y", status=2,
            model=tmp_path / "m.onnx")


def test_no_derivative(refuses, calibrate, tmp_path):
    """Nodes without a derivative are named; Hessians need none."""
    perceptron(tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node[1].CopyFrom(helper.make_node("Mod", ["p", "p"], ["h"], name="rest", fmod=1))
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((2, 3, 6), np.float32),
             target=np.ones((2, 3, 8), np.float32))
    more = ["--loss", "mse", "--loss-output", "y"]
    refuses(tmp_path / "d.npz", "node 'rest' (Mod)", *more, status=2, model=tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((2, 3, 6), np.float32))
    result = calibrate(tmp_path / "d.npz", "--hessians-only", "--loss-output", "y",
                       model=tmp_path / "m.onnx")
    assert [t["name"] for t in result["tensors"]] == ["a"]


def test_missing_target(refuses, tmp_path):
    perceptron(tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=np.ones((2, 3, 6), np.float32))
    refuses(tmp_path / "d.npz", "has no array target", "--loss", "mse", "--loss-output", "y",
            model=tmp_path / "m.onnx")


def test_not_finite(refuses, tmp_path):
    """The message names the sample; where the loss is finite, the tensor."""
    perceptron(tmp_path / "m.onnx")
    x, target = np.ones((3, 2, 6), np.float32), np.zeros((3, 2, 8), np.float32)
    x[1, 0, 0] = np.nan
    np.savez(tmp_path / "d.npz", x=x, target=target)
    more = ["--loss", "mse", "--loss-output", "y"]
    refuses(tmp_path / "d.npz", ["d.npz: sample 1: ", "the loss is not finite"], *more,
            model=tmp_path / "m.onnx")
    # x² overflows in f32, the product with a small weight does not.
    x[1] = 3e20
    model = onnx.load(tmp_path / "m.onnx")
    for initializer in model.graph.initializer:
        array = numpy_helper.to_array(initializer) * np.float32(1e-12)
        initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=x, target=target)
    refuses(tmp_path / "d.npz", ["d.npz: sample 1: ", "'a' is not finite"], *more,
            model=tmp_path / "m.onnx")


def test_output_is_checked_first(tools, onnx_file, sample, tmp_path):
    model = onnx_file(CACHED)
    start = time.time()
    for output, status, says in [(tmp_path / "nosuch" / "x.stats", 3, "cannot be written"),
                                 (tmp_path, 1, "is no regular file")]:
        tools.fails("tacq-calibrate", model, "--data", sample, "-o", output, status=status,
                    says=says)
    assert time.time() - start < 5
    tools.fails("tacq-calibrate", model, "--data", sample, "-o", model, status=1,
                says="is a file of the model")


def test_full_disk(tools, onnx_file, sample, tmp_path):
    """Played by a limit on the size of files, which the module for calibration stays below."""
    import resource
    limit = 40 << 20
    result = subprocess.run(
        [tools.path("tacq-calibrate"), onnx_file(CACHED), "--data", sample, "-o",
         tmp_path / "x.stats"], capture_output=True, text=True,
        preexec_fn=lambda: (signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
                            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))))
    assert result.returncode == 3, result.stderr
    assert "x.stats cannot be written" in result.stderr
    assert not list(tmp_path.iterdir())


def test_merging_what_does_not_fit(tools, calibrate, sample, onnx_file, tmp_path):
    a, b, c, d = (tmp_path / f"{name}.stats" for name in "abcd")
    calibrate(sample, "--shard", "0/2", output=a)
    calibrate(sample, "--shard", "0/4", output=b)
    calibrate(sample, "--shard", "1/2", "--hessians-only", output=c)
    calibrate(sample, "--shard", "1/2", name="dynamo_plain_opset23", output=d)
    out = tmp_path / "out.stats"

    def fails(*files, says, status=3):
        result = tools.run("tacq-calibrate", "merge", *files, "-o", out, status=status)
        assert says in result.stderr and result.stderr.count("\n") == 1
        assert not out.exists()

    fails(a, b, says="both cover sample 0 (counted from 0) of the same data")
    fails(a, a, says="both cover sample 0")
    fails(a, c, says="their settings differ")
    fails(a, d, says="they are of different models")
    fails(a, tmp_path / "nosuch.stats", says="cannot be read")
    fails(a, sample, says="is no statistics file")
    (tmp_path / "cut.stats").write_bytes(a.read_bytes()[:-100])
    fails(a, tmp_path / "cut.stats", says="is truncated")
    result = tools.run("tacq-calibrate", "inspect", tmp_path / "cut.stats", status=3)
    assert "is truncated" in result.stderr and not result.stdout


def test_memory_does_not_grow(tools, onnx_file, tmp_path):
    """Twenty times the samples in the same memory."""
    def peak(count):
        data = tmp_path / f"{count}.jsonl"
        line = json.dumps({"tokens": list(range(1, 65))}) + "\n"
        data.write_text(line * count)
        command = [tools.path("tacq-calibrate"), onnx_file(CACHED), "--data", data, "-o",
                   tmp_path / "x.stats"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return usage.ru_maxrss
    assert peak(100) < peak(5) + 8 * 1024


# ---- texts of the model's own

def texts(path):
    return [json.loads(line)["tokens"] for line in path.read_text().splitlines()]


def test_own_texts(tools, module, onnx_file, tmp_path):
    """What the model writes by itself is what it expects, and another seed gives other texts."""
    model, path = onnx_file(CACHED), tmp_path / "own.jsonl"
    flags = ["--count", 12, "--length", 96, "--begin", 10]
    tools.run("tacq-calibrate", "draw", model, *flags, "-o", path)
    own = texts(path)
    assert [len(text) for text in own] == [96] * 12 and {text[0] for text in own} == {10}
    assert len({tuple(text) for text in own}) == 12
    again, other = tmp_path / "again.jsonl", tmp_path / "other.jsonl"
    tools.run("tacq-calibrate", "draw", model, *flags, "--threads", 1, "-o", again)
    tools.run("tacq-calibrate", "draw", model, *flags, "--seed", 1, "-o", other)
    assert texts(again) == own and not set(map(tuple, texts(other))) & set(map(tuple, own))

    def loss(data):
        return json.loads(tools.run("tacq-eval", module(CACHED), "--data", data,
                                    "--json").stdout)["loss"]
    shuffled = tmp_path / "shuffled.jsonl"
    lines(shuffled, *({"tokens": sorted(text)} for text in own))
    assert loss(path) < 0.6 * loss(shuffled)


def test_own_texts_begin_anywhere(tools, onnx_file, calibrate, tmp_path):
    """Without a token to begin with, one is drawn; what comes of it is a sample."""
    path = tmp_path / "own.jsonl"
    tools.run("tacq-calibrate", "draw", onnx_file(CACHED), "--count", 8, "--length", 32, "-o", path)
    own = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({text["tokens"][0] for text in own}) > 2
    for text in own:
        assert text["labels"] == [-100] + text["tokens"][1:]
        assert all(0 <= token < 320 for token in text["tokens"])
    assert calibrate(path)["samples"] == 8


def test_no_own_texts(tools, onnx_file, tmp_path):
    def refuses(*flags, status, says):
        result = tools.run("tacq-calibrate", "draw", *flags, "--count", 2, "--length", 8,
                           status=status)
        assert says in result.stderr and result.stderr.count("\n") == 1
        assert not list(tmp_path.iterdir())

    output = ["-o", tmp_path / "own.jsonl"]
    model, plain = onnx_file(CACHED), onnx_file("dynamo_plain_opset23")
    refuses(model, "--begin", 320, *output, status=1,
            says=f"--begin 320: the vocabulary of {model} ends at 319")
    refuses(model, "-o", tmp_path / "nosuch" / "own.jsonl", status=3, says="cannot be written")
    refuses(plain, *output, status=2, says=f"{plain}: without a cache")
