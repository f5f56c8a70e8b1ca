"""Random graphs against ONNX Runtime. TACQ_RANDOM_GRAPHS=2000 makes more of them than the usual run."""
import collections
import os

import numpy as np
import onnx
import onnxruntime

from cases import CaseFile
from random_graphs import make_graph

COUNT = int(os.environ.get("TACQ_RANDOM_GRAPHS", "600"))


def test_random_graphs_agree_with_onnx_runtime(tools, work):
    folder = work / "random-graphs"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    cases = CaseFile(folder)
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for seed in range(COUNT):
        graph = make_graph(seed)
        assert 3 <= len(graph.nodes) <= 15
        model = graph.model()
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                               providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        feed = {i.name: graph.values[i.name] for i in session.get_inputs()}
        expected = session.run(names, feed)
        path = folder / "models" / f"{seed}.onnx"
        onnx.save(model, path)
        cases.add(f"seed{seed}", path, [(list(feed.items()), list(zip(names, expected)))],
                  rtol=1e-3, atol=5e-4)
    results = cases.run(tools)
    bad = {n: r for n, r in results.items() if r["status"] != "PASS"}
    counts = collections.Counter(r["status"] for r in results.values())
    assert not bad, f"{dict(counts)}\n" + "\n".join(
        f"{n}: {r['status']}: {r['message'][:300]}" for n, r in list(bad.items())[:20])
