"""Who is measured: TACQ's tools, the hand-written probes, llama.cpp and ONNX Runtime."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKE_LLAMA = ROOT / "tools" / "dev" / "make-llama.py"


class CannotMeasure(Exception):
    """One sentence on what is missing."""


def run(command, **options):
    command = [str(part) for part in command]
    try:
        result = subprocess.run(command, capture_output=True, text=True, **options)
    except OSError as error:
        raise CannotMeasure(f"{command[0]} does not run: {error.strerror}") from error
    if result.returncode != 0:
        last = (result.stderr.strip() or result.stdout.strip()).split("\n")[-1]
        raise CannotMeasure(f"{pathlib.Path(command[0]).name} failed: {last}")
    return result


#===--- Probes -------------------------------------------------------------===#

PROBE_LINE = re.compile(r"^(?P<name>.*?):?\s+[\d.]+ us\s+(?P<speed>[\d.]+) Gw/s", re.M)


def parse_probe(text):
    """10^9 weights per second by the probe's own name of the variant, all samples."""
    samples = {}
    for match in PROBE_LINE.finditer(text):
        samples.setdefault(match["name"].strip(), []).append(float(match["speed"]))
    return samples


class Probes:
    def __init__(self, folder, work):
        self.folder, self.work, self.built = folder, work, {}

    def samples(self, probe, variant):
        if probe not in self.built:
            source, program = self.folder / f"{probe}.cpp", self.work / probe
            if not source.exists():
                raise CannotMeasure(f"there is no {source}; name the folder with --probes")
            known = (name for name in ("g++", "clang++", "clang++-19") if shutil.which(name))
            compiler = os.environ.get("CXX") or next(known, "g++")
            run([compiler, "-O3", "-march=native", "-std=c++17", source, "-o", program])
            self.built[probe] = program
        found = parse_probe(run([self.built[probe]]).stdout)
        if variant not in found:
            raise CannotMeasure(f"{probe} prints no line '{variant}'")
        return found[variant]


#===--- TACQ ---------------------------------------------------------------===#

class Tacq:
    def __init__(self, build, work):
        self.bin, self.work, self.made = build / "bin", work, {}

    def kernel(self, *flags):
        text = run([self.bin / "tacq-bench", "--kernel", *flags, "--json"]).stdout
        return json.loads(text)[0]

    def shapes(self):
        """The presets of make-llama.py."""
        return json.loads(run([sys.executable, MAKE_LLAMA, "--print-presets"]).stdout)

    def model(self, preset, kind):
        path = self.work / f"{preset}-{kind}.onnx"
        key = (preset, kind)
        if key not in self.made:
            # The data are written before the graph: a graph tells that both are whole.
            if not path.exists() or path.stat().st_mtime < MAKE_LLAMA.stat().st_mtime:
                path.unlink(missing_ok=True)
                print(f"making {path.name}", file=sys.stderr)
                run([sys.executable, MAKE_LLAMA, path, "--preset", preset, "--type", kind])
            self.made[key] = path
        return self.made[key]

    def module(self, name, preset, kind, *flags):
        if name not in self.made:
            path, compiler = self.work / f"{name}.tacq", self.bin / "tacq-compile"
            newest = max(p.stat().st_mtime for p in (self.model(preset, kind),
                                                     compiler.resolve(),
                                                     *self.bin.parent.glob("lib/libTACQ*.so")))
            if not path.exists() or path.stat().st_mtime < newest:
                print(f"compiling {path.name}", file=sys.stderr)
                run([compiler, self.model(preset, kind), *flags, "--quiet", "-o", path])
            self.made[name] = path
        return self.made[name]

    def speed(self, module, prompt, decode, threads):
        """Tokens per second of one run after one to warm up."""
        text = run([self.bin / "tacq-bench", module, "--prompt", prompt, "--decode", decode,
                    "--threads", threads, "--repetitions", 1, "--json"]).stdout
        return json.loads(text)[0]["samples_ts"]

    def memory(self, module):
        """Peak resident bytes of tacq-run, and of what it must hold."""
        prompts = self.work / "prompts.jsonl"
        prompts.write_text(json.dumps({"tokens": list(range(64))}) + "\n")
        result = run([self.bin / "tacq-run", module, "--generate", "--prompts", prompts,
                      "--max-new", 32, "--capacity", 128, "--stats", "--output",
                      self.work / "generated.jsonl"])
        counters = dict(re.findall(r"^(\w+): (\d+)$", result.stderr, re.M))
        held = module.stat().st_size + sum(int(counters[name]) for name in
                                           ("bytes_state", "bytes_transient", "bytes_output"))
        return int(counters["peak_resident_bytes"]), held


#===--- llama.cpp ----------------------------------------------------------===#

class Llama:
    """llama_bench.sh, which builds llama.cpp and its models when they are first asked for."""

    def __init__(self, script, work, shapes):
        self.script, self.work, self.shapes = script, work, shapes

    def config(self, preset):
        path = self.work / preset / "config.json"
        path.parent.mkdir(exist_ok=True)
        shape = self.shapes[preset]
        text = json.dumps({"vocab_size": shape["vocabulary"], "hidden_size": shape["hidden"],
                           "intermediate_size": shape["intermediate"],
                           "num_hidden_layers": shape["layers"],
                           "num_attention_heads": shape["heads"],
                           "num_key_value_heads": shape["kv_heads"],
                           "tie_word_embeddings": shape["tied"]})
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return path

    def speeds(self, preset, kind, threads):
        """Samples of tokens per second: of a prompt of 512, of 64 tokens."""
        if not self.script.exists():
            raise CannotMeasure(f"there is no {self.script}; name the script with --llama")
        text = run([self.script, "--config", self.config(preset), "--types", kind, "--threads",
                    threads, "--runs", 1]).stdout
        return parse_llama(text)


def parse_llama(text):
    prompt, decode = [], []
    for entry in json.loads(text):
        if entry["n_prompt"]:
            prompt += entry["samples_ts"]
        else:
            decode += entry["samples_ts"]
    return prompt, decode


#===--- ONNX Runtime -------------------------------------------------------===#

ONNX_RUNTIME = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("peer", sys.argv[1])
peer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(peer)
session = peer.OnnxRuntime(sys.argv[2], int(sys.argv[3]))
session.prompt_speed(512)
print(json.dumps([session.prompt_speed(512)]))
"""


def onnx_runtime_speed(model, threads):
    """A process of its own, whose threads do not spin while another is measured."""
    return json.loads(run([sys.executable, "-c", ONNX_RUNTIME,
                           ROOT / "tools" / "dev" / "compare-onnxruntime.py", model,
                           threads]).stdout)


#===--- BLAS ---------------------------------------------------------------===#

BLAS = """
import sys, time
import numpy as np
m, k, n = map(int, sys.argv[1:])
x, w = (np.random.default_rng(1).random(shape, np.float32) for shape in ((n, k), (m, k)))
seconds = []
for _ in range(15):
    start = time.perf_counter()
    x @ w.T
    seconds.append(time.perf_counter() - start)
print(m * k * n / min(seconds) / 1e9)
"""


def blas_speed(m, k, n):
    """10^9 multiply-adds per second of numpy's BLAS on f32 numbers, one thread, in the best run, as
    tacq-bench says it."""
    one = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")}
    return float(run([sys.executable, "-c", BLAS, m, k, n], env=os.environ | one).stdout)
