"""Models of random weights, by which speed is measured: they are compiled as real ones are."""
import json
import re
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest

import exports

MAKE = exports.ROOT / "tools" / "dev" / "make-llama.py"
LAYERS, HEADS, KEY_HEADS, HIDDEN, VOCABULARY = 2, 4, 2, 128, 200
SHAPE = ["--layers", LAYERS, "--hidden", HIDDEN, "--intermediate", 320, "--heads", HEADS,
         "--kv-heads", KEY_HEADS, "--vocabulary", VOCABULARY]


def make(path, *flags):
    result = subprocess.run([sys.executable, MAKE, path, *map(str, flags)], capture_output=True,
                            text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """toy(TYPE, TIED): path of a small model."""
    folder = tmp_path_factory.mktemp("llama")

    def path(kind, tied):
        file = folder / f"{kind}-{tied}.onnx"
        if not file.exists():
            make(file, *SHAPE, "--type", kind, "--tied" if tied else "--no-tied")
        return file

    return path


@pytest.mark.parametrize("kind,tied", [("f16", False), ("f32", True)])
def test_against_onnx_runtime(tools, toy, tmp_path, kind, tied):
    """Everything is recognized, and logits and cache are those of ONNX Runtime."""
    model = toy(kind, tied)
    report = tools.run("tacq-compile", model, "--report", "-o", tmp_path / "m.tacq").stderr
    assert len(re.findall("^linear recognized", report, re.M)) == 7 * LAYERS + 1
    assert len(re.findall("^attention recognized.*causal, with a mask of keys, with a cache$",
                          report, re.M)) == LAYERS
    assert len(re.findall("^normalization recognized.*: rms$", report, re.M)) == 2 * LAYERS + 1
    assert len(re.findall("^rotary embedding recognized", report, re.M)) == 2 * LAYERS

    random = np.random.default_rng(5)
    batch, past, sequence = 2, 5, 11
    dtype = np.float16 if kind == "f16" else np.float32
    mask = np.ones((batch, past + sequence), np.int64)
    mask[1, :3] = 0
    positions = np.maximum(np.cumsum(mask, 1) - 1, 0)[:, past:]
    feed = {"input_ids": random.integers(0, VOCABULARY, (batch, sequence)),
            "attention_mask": mask, "position_ids": positions}
    for layer in range(LAYERS):
        for part in ("key", "value"):
            feed[f"past_key_values.{layer}.{part}"] = random.standard_normal(
                (batch, KEY_HEADS, past, HIDDEN // HEADS)).astype(dtype)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    expected = dict(zip(outputs, session.run(outputs, feed)))
    np.savez(tmp_path / "in.npz", **feed)
    tools.run("tacq-run", tmp_path / "m.tacq", "--input", f"@{tmp_path / 'in.npz'}",
              *[f"--output={o}=@{tmp_path / f'{i}.npy'}" for i, o in enumerate(outputs)])
    for i, output in enumerate(outputs):
        wanted = expected[output].astype(np.float64)
        error = np.abs(np.load(tmp_path / f"{i}.npy") - wanted).max()
        assert error <= (0.02 if kind == "f16" else 1e-4) * np.abs(wanted).max(), output


def test_same_bytes(tmp_path):
    files = [make(tmp_path / name / "m.onnx", *SHAPE, "--seed", seed)
             for name, seed in (("a", 1), ("b", 1), ("c", 2))
             if not (tmp_path / name).mkdir()]
    data = [file.with_name("m.onnx.data").read_bytes() for file in files]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert data[0] == data[1] != data[2]
    weights = np.frombuffer(data[0], np.float16).astype(float)
    assert np.isfinite(weights).all() and 0.05 < weights.std() < 1


def test_shapes_of_presets(tmp_path):
    """One layer of each, with a vocabulary of 8 to keep it small: extents are those of the name."""
    for preset, hidden, intermediate, width in (("small", 512, 1536, 256),
                                                ("1.1b", 2048, 5632, 256)):
        file = make(tmp_path / "m.onnx", "--preset", preset, "--layers", 1, "--vocabulary", 8)
        shapes = {t.name: tuple(t.dims)
                  for t in onnx.load(file, load_external_data=False).graph.initializer}
        layer = "model.layers.0."
        assert shapes[layer + "mlp.down_proj.weight"] == (intermediate, hidden)
        assert shapes[layer + "self_attn.v_proj.weight"] == (hidden, width)
        assert ("lm_head.weight" in shapes) == (preset != "small")


def test_impossible_shape(tmp_path):
    result = subprocess.run([sys.executable, MAKE, tmp_path / "m.onnx", "--heads", "3"],
                            capture_output=True, text=True)
    assert result.returncode == 2 and "heads must divide hidden" in result.stderr


def mixed(tools, module):
    tensors = json.loads(tools.run("tacq-dump", module, "--json").stdout)["tensors"]
    return {t["name"]: t for t in tensors if t["scheme"] != "dense"}


def test_random_circuit(tools, toy, tmp_path):
    """Quantized without a sample: the circuit has the bytes of its share, the head none."""
    out = tmp_path / "m.tacq"
    flags = ["--method", "nearest", "--no-clip", "--circuit-from", "random", "-o", out]
    tools.run("tacq-compile", toy("f16", False), "--bits", 2, "--group", 128, "--circuit", "2%",
              "--head-bits", 4, *flags)
    tensors = mixed(tools, out)
    assert len(tensors) == 7 * LAYERS + 1
    head = tensors.pop("lm_head.weight")
    assert head["bits"] == 4
    assert not [part for part in head["parts"] if part["role"].startswith("Circuit")]
    weights = circuit = 0
    for tensor in tensors.values():
        assert tensor["bits"] == 2
        weights += np.prod(tensor["shape"])
        circuit += sum(part["bytes"] for part in tensor["parts"]
                       if part["role"] == "CircuitValues")
    # A slot has 2 of its 3 bytes in values, an entry of the list 4 bytes in all; few tiles.
    assert circuit == pytest.approx(0.02 * weights * 4 * 2 / 3, rel=0.3)
    first = out.read_bytes()
    tools.run("tacq-compile", toy("f16", False), "--bits", 2, "--group", 128, "--circuit", "2%",
              "--head-bits", 4, *flags)
    assert out.read_bytes() == first
    # Levels of rows need no sample either.
    tools.run("tacq-compile", toy("f16", False), "--bits", 3, "--codebook", *flags)
    assert all(t["scheme"] != "dense" for t in mixed(tools, out).values())
    tools.run("tacq-bench", out, "--prompt", 8, "--decode", 4, "--repetitions", 1)


def test_what_cannot_be_quantized(tools, toy, tmp_path):
    flags = ["--method", "nearest", "-o", tmp_path / "m.tacq"]
    tools.fails("tacq-compile", toy("f32", True), "--bits", 2, "--head-bits", 4, *flags, status=2,
                says=["no head with a weight of its own", "--head-bits"])
    tools.fails("tacq-compile", toy("f32", True), "--head-bits", 4, *flags, status=1,
                says=["--head-bits needs --bits"])
    tools.fails("tacq-compile", toy("f32", True), "--bits", 2, "--circuit", "1%", *flags, status=1,
                says=["--stats", "--circuit-from random"])


TYPES = {(128, 128), (64, 128), (320, 128), (128, 320)}  # q and o, k and v, gate and up, down


def test_tuned_kernels(tools, toy, tmp_path):
    """What is measured is recorded in the plan, and the plan gives the same module."""
    first, second, plan = tmp_path / "1.tacq", tmp_path / "2.tacq", tmp_path / "tuned.json"
    flags = ["--method", "nearest", "--circuit-from", "random", "--target", "cpu=host,cpu=aarch64"]
    model = toy("f16", False)
    tools.run("tacq-compile", model, "--bits", 2, "--circuit", "2%", "--tune-kernels", plan, *flags,
              "-o", first)
    tuned = json.loads(plan.read_text())
    host = json.loads(tools.run("tacq-dump", first, "--json").stdout)["executables"][0]["target"]
    extents = [re.match(r"!tacq\.mixed<(\d+)x(\d+), bits = 2, group = 0,", kernel["weight"])
               for kernel in tuned["kernels"]]
    assert {(int(m[1]), int(m[2])) for m in extents} == TYPES and len(extents) == len(TYPES)
    for kernel in tuned["kernels"]:
        assert kernel["target"] == host  # nothing is said of what this machine does not run
        assert kernel["task_rows"] in (96, 192, 384)
        assert len(kernel["prefetch"]) == 3 and all(0 <= n <= 16384 for n in kernel["prefetch"])
    tools.run("tacq-compile", model, "--plan", plan, *flags, "-o", second)
    assert second.read_bytes() == first.read_bytes()

    # The entries decide.
    def tilings():
        text = tools.run("tacq-compile", model, "--plan", plan, *flags, "--emit", "dispatches").stdout
        return set(re.findall(r'"(x86[^"]*|aarch64)", (!tacq\.mixed<\d+x\d+)[^"]*?'
                              r"task_rows = (\d+), prefetch = \[(\d+), ", text))

    for kernel in tuned["kernels"]:
        kernel["task_rows"], kernel["prefetch"] = 384, [64, 128, 192]
    plan.write_text(json.dumps(tuned))
    found = tilings()
    assert {rows for _, _, rows, _ in found} == {"384"}
    assert {ahead for target, _, _, ahead in found if target == host} == {"64"}
    assert {ahead for target, _, _, ahead in found if target == "aarch64"} == {"0"}


def test_capped_logits(tools, toy, tmp_path):
    """15 tanh(logits / 15): the head is found behind it by all that ask for the head."""
    model, path = onnx.load(toy("f32", False)), tmp_path / "capped.onnx"
    last = next(node for node in model.graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "uncapped"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(15), "cap"))
    model.graph.node.extend(
        onnx.helper.make_node(op, inputs, [output])
        for op, inputs, output in (("Div", ["uncapped", "cap"], "part"), ("Tanh", ["part"], "bent"),
                                   ("Mul", ["bent", "cap"], "logits")))
    onnx.save(model, path)
    random = np.random.default_rng(2)
    data, stats, plan = tmp_path / "d.jsonl", tmp_path / "s.stats", tmp_path / "p.json"
    data.write_text("".join(json.dumps({"tokens": random.integers(0, VOCABULARY, 24).tolist()}) + "\n"
                            for _ in range(4)))
    tools.run("tacq-calibrate", path, "--data", data, "-o", stats)
    tools.run("tacq-plan", path, "--stats", stats, "--budget", "3bpw", "-o", plan)
    assert len(json.loads(plan.read_text())["tensors"]) == 7 * LAYERS
    bits = []
    for flags in (["--plan", plan, "--stats", stats],
                  ["--bits", 3, "--head-bits", 4, "--method", "nearest", "--no-clip",
                   "--circuit-from", "random"]):
        tools.run("tacq-compile", path, *flags, "-o", tmp_path / "m.tacq")
        dump = json.loads(tools.run("tacq-dump", tmp_path / "m.tacq", "--json").stdout)
        bits += [tensor["bits"] for tensor in dump["tensors"] if tensor["name"] == "lm_head.weight"]
    assert bits == [16, 4]


def test_tuning_that_cannot_be(tools, toy, tmp_path):
    model, plan = toy("f16", False), tmp_path / "p.json"
    flags = ["-o", tmp_path / "m.tacq"]
    tools.fails("tacq-compile", model, "--tune-kernels", plan, *flags, status=1,
                says="--tune-kernels needs --bits or --plan")
    tools.fails("tacq-compile", model, "--bits", 2, "--method", "nearest", "--target", "cpu=aarch64",
                "--tune-kernels", plan, *flags, status=2,
                says=["which runs none of the CPU targets", "compile with the plan"])
    tools.fails("tacq-compile", model, "--bits", 2, "--method", "nearest", "--tune-kernels",
                tmp_path / "no" / "p.json", *flags, status=3, says="p.json")
    assert not plan.exists() and not (tmp_path / "m.tacq").exists()
    weight = "!tacq.mixed<64x128, bits = 2, group = 0, decode = #tacq.affine<scale = f16, zero = ui8>>"
    entry = {"target": "x86-64-v4", "weight": weight, "task_rows": 96, "prefetch": [0, 0, 0]}
    tensors = [{"name": "model.layers.0.self_attn.k_proj.weight", "bits": 2}]
    for change, says in (({"task_rows": 100}, ["kernel 1", "'task_rows' is one of 96, 192, 384"]),
                         ({"prefetch": [0, 0, -1]}, ["kernel 1", "three numbers of 0 to 65536 bytes"]),
                         ({"prefetch": 1024}, ["kernel 1", "'prefetch' is not a list of integers"]),
                         ({"weight": "f32"}, ["'f32'", "no mixed-precision type"]),
                         ({"weight": "!tacq.mixed<"}, ["no mixed-precision type"]),
                         ({"weight": ""}, ["kernel 1", "'weight'"]),
                         ({"speed": 1}, ["kernel 1", "no member 'speed'"])):
        plan.write_text(json.dumps({"version": 1, "tensors": tensors, "kernels": [entry | change]}))
        tools.fails("tacq-compile", model, "--plan", plan, "--method", "nearest", *flags, status=3,
                    says=says)
    plan.write_text(json.dumps({"version": 1, "tensors": tensors, "kernels": [entry, entry]}))
    tools.fails("tacq-compile", model, "--plan", plan, "--method", "nearest", *flags, status=3,
                says="are there twice")
