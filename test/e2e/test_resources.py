"""Limits on memory, size and time."""
import json
import os
import subprocess
import sys
import time

import pytest

import exports

MIB = 1 << 20


# A child's peak begins with that of the process that forks it, and this one is large by now.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss * 1024)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def peak_of(command):
    """Peak resident memory of a child in bytes, and its wall time."""
    start = time.monotonic()
    result = subprocess.run([sys.executable, "-c", MEASURE, *map(str, command)],
                            capture_output=True, text=True, check=True)
    return int(result.stdout), time.monotonic() - start



def test_compile(tools, onnx_file, tmp_path):
    """`small` for two targets: at most 60 s and 2.5 times its weights + 300 MB."""
    path = onnx_file("small_past_opset18_fp16")
    weights = (path.parent / (path.name + ".data")).stat().st_size
    peak, seconds = peak_of([tools.path("tacq-compile"), path, "--target",
                             "cpu=x86-64-v3,cpu=x86-64-v4", "-o", tmp_path / "m.tacq"])
    assert peak <= 2.5 * weights + 300e6
    assert seconds <= 60


@pytest.mark.parametrize("name", ["dynamo_past_opset18", "small_past_opset18_fp16"])
def test_run(tools, module, tmp_path, name):
    """At most the weights, the cache, the activations and 20 MB."""
    prompts = tmp_path / "p.jsonl"
    prompts.write_text(json.dumps({"tokens": list(range(64))}) + "\n")
    path = module(name)
    dump = json.loads(tools.run("tacq-dump", path, "--json").stdout)
    result = tools.run("tacq-run", path, "--generate", "--prompts", prompts, "--max-new", 32,
                       "--capacity", 128, "--stats", "--device", "cpu:threads=2", "--output",
                       tmp_path / "o.jsonl")
    counters = {key: int(value) for key, value in
                (line.split(": ") for line in result.stderr.splitlines()
                 if line.count(": ") == 1 and line.split(": ")[1].isdigit())}
    allowed = (dump["totals"]["bytes"] + counters["bytes_state"] + counters["bytes_transient"] +
               counters["bytes_output"] + 20e6)
    assert counters["peak_resident_bytes"] <= allowed


def test_runtime_library_size(tools, tmp_path):
    library = next((tools.build / "lib").glob("libtacq*runtime*.so"))
    subprocess.run(["llvm-strip-19", str(library.resolve()), "-o", tmp_path / "r.so"], check=True)
    assert (tmp_path / "r.so").stat().st_size <= MIB


def test_same_bytes_out(tools, onnx_file, tmp_path):
    files = []
    for number in range(2):
        files.append(tmp_path / f"{number}.tacq")
        tools.run("tacq-compile", onnx_file("dynamo_past_opset18"), "--target", "cpu=x86-64-v3",
                  "-o", files[-1])
    assert files[0].read_bytes() == files[1].read_bytes()
