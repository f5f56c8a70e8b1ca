"""What is said of a sample: how sure its circuit is, and whether another one is of its task."""
import json

import numpy as np
import pytest

import exports
from conftest import SAMPLES

EXPORT = "dynamo_past_opset18"


def inspect(tools, *arguments):
    return json.loads(tools.run("tacq-calibrate", "inspect", *arguments, "--json").stdout)


def test_stability(tools, calibrated):
    stability = inspect(tools, calibrated("first"))["stability"]
    assert stability["circuit"] == round(0.0035 * stability["weights"])
    for name in ("bootstrap_common", "halves_common", "quarter_to_half_changed",
                 "half_to_all_changed", "doubling_changes", "doubling_saliency_missed"):
        part = stability[name]
        assert 0 <= part["low"] <= part["mean"] <= part["high"] <= 1
    assert 0.3 < stability["halves_common"]["mean"] < 1
    assert stability["half_to_all_changed"]["mean"] < stability["quarter_to_half_changed"]["mean"]
    larger = inspect(tools, calibrated("first"), "--circuit", 0.01)["stability"]
    assert larger["circuit"] == round(0.01 * larger["weights"])
    text = tools.run("tacq-calibrate", "inspect", calibrated("first")).stdout
    assert "two halves of the sample have in common" in text
    assert inspect(tools, calibrated("few"))["stability"] is None


def test_drift(tools, onnx_file, calibrated, tmp_path):
    same = inspect(tools, calibrated("first"), calibrated("next"))
    other = inspect(tools, calibrated("first"), calibrated("backwards"))
    assert same["drift"]["verdict"] == "keep" and other["drift"]["verdict"] == "calibrate again"
    assert same["drift"]["samples"] == [SAMPLES, SAMPLES]
    circuits = same["circuits"], other["circuits"]
    assert circuits[0]["common"]["mean"] > circuits[1]["common"]["mean"]
    assert circuits[0]["saliency_captured"]["mean"] > circuits[1]["saliency_captured"]["mean"]

    # A module tells the sample that it was made for.
    module = tmp_path / "m.tacq"
    flags = ["--bits", 2, "--method", "nearest", "-o", module]
    tools.run("tacq-compile", onnx_file(EXPORT), "--stats", calibrated("first"), *flags)
    assert inspect(tools, module, calibrated("next"))["drift"]["verdict"] == "keep"
    moved = inspect(tools, module, calibrated("backwards"))
    assert moved["drift"]["verdict"] == "calibrate again" and "circuits" not in moved
    tools.run("tacq-compile", onnx_file(EXPORT), *flags)
    for files, says in (((module, calibrated("next")),
                         ["m.tacq", "does not tell the sample", "--stats"]),
                        ((calibrated("first"), calibrated("few")),
                         ["few.stats", "5 samples", "8 would do"])):
        errors = tools.run("tacq-calibrate", "inspect", *files, status=3).stderr
        assert errors.count("error: ") == 1 and all(text in errors for text in says), errors


def test_drift_from_two_tasks(tools, onnx_file, calibrated, tmp_path):
    """Samples of one of them are not like the mixture, and fit nevertheless."""
    merged, module = tmp_path / "merged.stats", tmp_path / "m.tacq"
    tools.run("tacq-calibrate", "merge", calibrated("first"), calibrated("backwards"), "-o", merged)
    tools.run("tacq-compile", onnx_file(EXPORT), "--stats", merged, "--bits", 2, "--method",
              "nearest", "-o", module)
    hashes = [inspect(tools, calibrated(name))["covered"][0]["data_hash"]
              for name in ("first", "backwards")]
    for known in (merged, module):
        for name, fitting in (("next", hashes[0]), ("backwards", hashes[1]), ("sorted", None)):
            drift = inspect(tools, known, calibrated(name))["drift"]
            assert drift["samples"] == [2 * SAMPLES, SAMPLES]
            assert {task["data_hash"]: task["samples"] for task in drift["tasks"]} == {
                data: [SAMPLES, SAMPLES] for data in hashes}
            assert [task["data_hash"] for task in drift["tasks"] if task["fits"]] == [
                data for data in hashes if data == fitting]
            assert drift["verdict"] == ("keep" if fitting else "calibrate again")
    assert inspect(tools, module, calibrated("next"))["drift"]["probability"] <= 0.01
    text = tools.run("tacq-calibrate", "inspect", module, calibrated("next")).stdout
    assert f"verdict: keep; the new samples fit the task of data {hashes[0]}\n" in text
    # The module is what is known, in whatever place it is named.
    turned = inspect(tools, calibrated("next"), module)["drift"]
    assert turned["verdict"] == "keep" and turned["samples"] == [SAMPLES, 2 * SAMPLES]
    tools.run("tacq-dump", module, "--report", tmp_path / "r.html", "--stats", calibrated("next"),
              "--stats", calibrated("sorted"))
    page = (tmp_path / "r.html").read_text()
    assert f"of data <bdi>{hashes[0]}</bdi>: keep" in page
    assert "another task: calibrate again" in page


def test_drift_of_samples_too_few_for_circuits(tools, calibrated):
    for files, verdict in (((calibrated("first"), calibrated("eight")), "keep"),
                           ((calibrated("eight"), calibrated("sorted")), "calibrate again")):
        result = tools.run("tacq-calibrate", "inspect", *files, "--json")
        found = json.loads(result.stdout)
        assert found["circuits"] is None and found["drift"]["verdict"] == verdict
        assert result.stderr.count("\n") == 1 and result.stderr.startswith("note: ")
        assert all(text in result.stderr for text in ("eight.stats", "8 samples", "16 would do"))


def test_error_rates_are_those_of_the_tool(tools, calibrated):
    """tools/dev/drift-errors.py has the same test."""
    script = exports.load_script("tools/dev/drift-errors.py")
    first, other = (script.signatures(calibrated(name)) for name in ("first", "backwards"))
    assert first.shape == (SAMPLES, script.SIZE)
    found = inspect(tools, calibrated("first"), calibrated("backwards"))["drift"]
    rows = np.concatenate([first, other])
    assert script.distance(rows, len(first)) == pytest.approx(found["distance"], rel=1e-9)
