"""Logits of each export against PyTorch's reference values and against ONNX Runtime."""
import numpy as np
import onnx
import onnxruntime
import pytest

import exports

REFERENCE = exports.ROOT / "test" / "data" / "reference" / "tiny.npz"
TINY = tuple(name for name in exports.NAMES if not name.startswith("small"))
INPUTS_FOR_ORT = 20


@pytest.fixture(scope="module")
def reference():
    return dict(np.load(REFERENCE))


@pytest.mark.parametrize("name", TINY)
def test_reference(tools, module, reference, tmp_path, name):
    np.save(tmp_path / "ids.npy", reference["input_ids"])
    tools.run("tacq-run", module(name), "--input", f"input_ids=@{tmp_path / 'ids.npy'}",
              "--verify", f"logits=@{REFERENCE}:logits", "--atol", "2e-3", "--rtol", "0")


@pytest.mark.parametrize("name", [n for n in TINY if n in exports.CACHED])
def test_left_padding(tools, module, reference, tmp_path, name):
    arguments = [f"--input={key}=@{REFERENCE}:padded_{key}"
                 for key in ("input_ids", "attention_mask", "position_ids")]
    out = tmp_path / "logits.npy"
    tools.run("tacq-run", module(name), *arguments, "--output", f"logits=@{out}")
    valid = reference["padded_attention_mask"].astype(bool)
    assert 0 < valid.sum() < valid.size
    difference = np.abs(np.load(out) - reference["padded_logits"])[valid]
    assert difference.max() <= 2e-3


def random_inputs(model, random, number):
    """Inputs of any batch, past and left padding; and the rows whose logits mean something."""
    names = {i.name: i for i in model.graph.input}
    batch = int(random.integers(1, 4))
    past = [0, 1, 200][number] if number < 3 else int(random.integers(0, 201))
    sequence = [1, 7, 64][number] if number < 3 else int(random.integers(1, 48))
    if "attention_mask" not in names:
        past = 0
    feed = {"input_ids": random.integers(0, 257, (batch, sequence), dtype=np.int64)}
    valid = np.ones((batch, sequence), bool)
    if "attention_mask" in names:
        mask = np.ones((batch, past + sequence), np.int64)
        if number % 2:
            for row in range(batch):
                mask[row, :random.integers(0, past + sequence)] = 0
        feed["attention_mask"] = mask
        positions = np.maximum(np.cumsum(mask, 1) - 1, 0)
        feed["position_ids"] = positions[:, past:]
        valid = mask[:, past:].astype(bool)
    for name, info in names.items():
        if name.startswith("past_key_values"):
            dims = info.type.tensor_type.shape.dim
            dtype = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
            shape = (batch, dims[1].dim_value, past, dims[3].dim_value)
            feed[name] = random.standard_normal(shape).astype(dtype)
    return feed, valid


def onnx_runtime(session, outputs, feed):
    """The opset 23 export shares its rotary tables between the rows of a batch, which ONNX Runtime
    refuses for more than one row: there each row runs alone."""
    if len(feed) > 1:
        return dict(zip(outputs, session.run(outputs, feed)))
    rows = [session.run(outputs, {n: v[i:i + 1] for n, v in feed.items()})
            for i in range(len(feed["input_ids"]))]
    return {name: np.concatenate(values) for name, values in zip(outputs, zip(*rows))}


@pytest.mark.parametrize("name", exports.NAMES)
def test_against_onnx_runtime(tools, module, onnx_file, tmp_path, name):
    model = onnx.load(onnx_file(name), load_external_data=False)
    half = model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(str(onnx_file(name)), options,
                                           providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    random = np.random.default_rng(2025)
    for number in range(INPUTS_FOR_ORT):
        feed, valid = random_inputs(model, random, number)
        expected = onnx_runtime(session, outputs, feed)
        np.savez(tmp_path / "in.npz", **feed)
        arguments = [f"--output={o}=@{tmp_path / f'{i}.npy'}" for i, o in enumerate(outputs)]
        tools.run("tacq-run", module(name), "--input", f"@{tmp_path / 'in.npz'}", *arguments)
        for i, output in enumerate(outputs):
            actual = np.load(tmp_path / f"{i}.npy").astype(np.float64)
            wanted = expected[output].astype(np.float64)
            assert actual.shape == wanted.shape, output
            if output == "logits":
                actual, wanted = actual[valid], wanted[valid]
            else:
                # What the cache holds for padding is never read.
                keep = np.moveaxis(np.ones_like(wanted, bool), 2, 1)
                if "attention_mask" in feed:
                    keep &= feed["attention_mask"].astype(bool)[:, :, None, None]
                keep = np.moveaxis(keep, 1, 2)
                actual, wanted = actual[keep], wanted[keep]
            if not wanted.size:
                continue
            limit = 0.02 * np.abs(wanted).max() if half else 2e-3
            error = np.abs(actual - wanted).max()
            assert error <= limit, f"input {number}, {output}: {error} above {limit}"
