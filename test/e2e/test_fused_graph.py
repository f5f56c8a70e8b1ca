"""What the recognizers claim: the fused graph computes what the export does, at any size."""
import numpy as np
import onnxruntime
import pytest

import exports
import fused_graph

SIZES = [(1, 0, 1), (1, 0, 9), (2, 5, 1), (3, 4, 6), (2, 1, 13)]


@pytest.fixture(scope="module")
def fused(tools, onnx_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fused")
    graphs = {}

    def make(name):
        if name not in graphs:
            path = onnx_file(name)
            imported = folder / f"{name}.mlir"
            tools.run("tacq-translate", "--import-onnx", path, "-o", imported)
            result = tools.run("tacq-opt", "--tacq-infer-shapes",
                               f"--tacq-graph=folder={path.parent}", "--mlir-print-op-generic",
                               imported)
            graphs[name] = fused_graph.Graph(result.stdout, fused_graph.weights_of(path.parent))
        return graphs[name]
    return make


@pytest.mark.parametrize("name", exports.NAMES)
def test_everything_is_recognized(fused, name):
    graph = fused(name)
    layers = 12 if name.startswith("small") else 6
    found = {kind: graph.count(f"tacq.{kind}") for kind in ("linear", "norm", "rope", "attention")}
    # q, k, v in one, o, gate and up in one, down; and the head.
    assert found == {"linear": 4 * layers + 1, "norm": 2 * layers + 1, "rope": 2 * layers,
                     "attention": layers}
    nodes = graph.nodes()
    assert not {"MatMul", "Softmax", "Transpose", "Concat", "Expand", "Where"} & set(nodes), nodes
    assert len([n for n in nodes if n != "Reshape"]) <= 8, nodes


@pytest.mark.parametrize("name", exports.NAMES)
def test_same_numbers(fused, onnx_file, name):
    path = onnx_file(name)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    graph = fused(name)
    random = np.random.default_rng(7)
    half = name.endswith("fp16")
    for batch, past, sequence in SIZES if not half else SIZES[-2:]:
        past = past if name in exports.CACHED else 0
        feed, valid = fused_graph.random_inputs(path, random, batch, past, sequence)
        # ONNX Runtime refuses tables that RotaryEmbedding broadcasts over the batch.
        rows = [{key: value[row:row + 1] for key, value in feed.items()} for row in range(batch)]
        results = zip(*(session.run(None, row) for row in rows))
        names = [output.name for output in session.get_outputs()]
        expected = {key: np.concatenate(result) for key, result in zip(names, results)}
        actual = dict(zip(names, graph.run(feed)))
        logits = np.abs(actual["logits"].astype(np.float64) - expected["logits"])[valid]
        assert logits.max() <= (0.05 if half else 2e-4), (batch, past, sequence, logits.max())
        for output in expected:
            if output == "logits":
                continue
            assert actual[output].shape == expected[output].shape
            # What padding computes is looked at by nobody.
            written = np.concatenate([np.ones((batch, past), bool), valid], 1)
            difference = np.abs(np.swapaxes(actual[output].astype(np.float64) - expected[output],
                                            1, 2))[written]
            assert difference.max(initial=0) <= (0.05 if half else 2e-4), output
