"""Fixtures of the end-to-end tests: the built tools and the compiled exports."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import exports  # noqa: E402

SAMPLES = 20  # of the sets that `calibrated` makes

BUILD = pathlib.Path(os.environ.get("TACQ_BUILD", exports.ROOT / "build")).resolve()


class Tools:
    """Runs the project's command-line tools."""

    def __init__(self, build):
        self.build = build
        self.jobs = int(os.environ.get("TACQ_JOBS", "2"))

    def path(self, name):
        path = self.build / "bin" / name
        assert path.exists(), f"{path} is not built"
        return path

    def run(self, name, *arguments, status=0, timeout=300, **options):
        """Runs a tool and checks its exit status."""
        result = subprocess.run([str(self.path(name)), *map(str, arguments)], text=True,
                                capture_output=True, timeout=timeout, **options)
        assert result.returncode == status, (
            f"{name} {' '.join(map(str, arguments))}: exit status {result.returncode} instead of "
            f"{status}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}")
        return result

    def fails(self, name, *arguments, status, says=(), **options):
        """Runs a tool that must fail with one sentence that contains all of `says`."""
        result = self.run(name, *arguments, status=status, **options)
        errors = [line for line in result.stderr.splitlines() if f"{name}: error: " in line]
        assert len(errors) == 1, f"expected one error line:\n{result.stderr[-2000:]}"
        for text in [says] if isinstance(says, str) else says:
            assert text in result.stderr, f"{text!r} is not in: {result.stderr[-2000:]}"
        return result


@pytest.fixture(scope="session")
def tools():
    return Tools(BUILD)


@pytest.fixture(scope="session")
def work():
    """A folder of this process: pytest-xdist runs several."""
    folder = BUILD / "test" / "e2e" / os.environ.get("PYTEST_XDIST_WORKER", "")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def onnx_file(work):
    """onnx_file(NAME): path of an export."""
    return lambda name: exports.export(name, work / "exports")


@pytest.fixture(scope="session")
def module(tools, work, onnx_file):
    """module(NAME): path of the compiled export, compiled once for a run of the tests."""
    done = {}

    def compiled(name):
        if name not in done:
            path = work / "modules" / f"{name}.tacq"
            path.parent.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            tools.run("tacq-compile", onnx_file(name), "--target", "cpu=host", "-o", path)
            done[name] = path
        return done[name]

    return compiled


@pytest.fixture(scope="session")
def sample(work):
    """Some sequences of the task, cut short."""
    path = work / "sample.jsonl"
    lines = (exports.TINY / "math_calib.jsonl").read_text().splitlines()[:8]
    path.write_text("".join(json.dumps({"tokens": json.loads(line)["tokens"][:160]}) + "\n"
                            for line in lines))
    return path


@pytest.fixture(scope="session")
def statistics(tools, work, onnx_file, sample):
    """What tacq-calibrate finds in it."""
    path = work / "sample.stats"
    tools.run("tacq-calibrate", onnx_file("dynamo_past_opset18"), "--data", sample, "-o", path)
    return path


@pytest.fixture(scope="session")
def probed_plan(tools, work, onnx_file, statistics, sample):
    """A plan for 2.4 bits per weight with measurements, what tacq-plan printed, and the options of
    each weight."""
    path, options = work / "plan.json", work / "plan-options.json"
    result = tools.run("tacq-plan", onnx_file("dynamo_past_opset18"), "--stats", statistics,
                       "--data", sample, "--probes", 8, "--probe-samples", 2, "--budget", "2.4bpw",
                       "--candidates", options, "-o", path, timeout=600)
    return path, result.stdout, json.loads(options.read_text())


@pytest.fixture(scope="session")
def calibrated(tools, onnx_file, tmp_path_factory):
    """calibrated(NAME): statistics of the first or the next samples of the task, or of the first
    ones backwards or sorted, which are other tasks for a language model."""
    folder, done = tmp_path_factory.mktemp("samples"), {}
    lines = (exports.TINY / "math_calib.jsonl").read_text().splitlines()
    tokens = [json.loads(line)["tokens"][:64] for line in lines]
    sets = {"first": tokens[:SAMPLES], "next": tokens[SAMPLES:2 * SAMPLES],
            "backwards": [t[::-1] for t in tokens[:SAMPLES]],
            "sorted": [sorted(t) for t in tokens[:SAMPLES]],
            "eight": tokens[SAMPLES:SAMPLES + 8], "few": tokens[:5]}

    def path(name):
        if name not in done:
            data = folder / f"{name}.jsonl"
            data.write_text("".join(json.dumps({"tokens": t}) + "\n" for t in sets[name]))
            tools.run("tacq-calibrate", onnx_file("dynamo_past_opset18"), "--data", data, "-o",
                      folder / f"{name}.stats")
            done[name] = folder / f"{name}.stats"
        return done[name]

    return path
