#!/usr/bin/env python3
"""TACQ's Vulkan target beside llama.cpp's Vulkan backend on one GPU.

    compare-gpu.py prepare FOLDER [--build build] [--profile nvidia-hopper] [--small]
    compare-gpu.py run FOLDER [--bin build/bin] [--device vulkan:0] [--llama llama_vulkan.sh PEER]
                   [--json] [--small]

`prepare` makes the modules of random weights, where there is the compiler; `run` needs none of it,
and prints a Markdown table, or with --json the list of its rows. --llama names the script that runs
the peer and the folder that it has prepared; without it there are our figures alone. --small makes
everything so small that a software device does it in seconds: it shows that all of it works, and
measures nothing. README.md says what is measured.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKE_LLAMA = ROOT / "tools/dev/make-llama.py"
METHOD = ("--method", "nearest", "--no-clip", "--circuit-from", "random")
FORMAT = ("--group", "128", "--circuit", "0.35%", "--circuit-layout")
# What a file's name has behind the work, and how the circuit lies.
LAYOUTS = {"": "slots", "-uniform": "uniform"}
SHAPES = {"1.1b": "22,2048,5632,32,4,32000", "7.2b": "32,4096,14336,32,8,32000"}
MATRIX = ("--m", "4096", "--k", "14336")
SMALL_MATRIX = ("--m", "64", "--k", "256")
SMALL_SHAPE = ("--layers", "1", "--hidden", "128", "--intermediate", "256", "--heads", "2",
               "--kv-heads", "1", "--vocabulary", "320")
# What the work is, the peer's type, and by what factor it is to be faster.
ROWS = {"matvec-2bit": ("q2_K", 1.7), "matvec-3bit": ("q3_K", 2.5), "decode-7.2b": ("Q2_K", 2.5),
        "decode-1.1b": ("Q2_K", 3.5), "prefill-7.2b": ("Q4_0", 1.3),
        "matvec-2bit bandwidth": ("", 0.7), "first-token-1.1b": ("Q2_K", 0.7)}


def run(*command, **options):
    result = subprocess.run([str(each) for each in command], capture_output=True, text=True,
                            **options)
    if result.returncode != 0:
        sys.exit(f"{pathlib.Path(str(command[0])).name} failed:\n{result.stderr[-2000:]}")
    return result


def prepare(options):
    folder, compiler = options.folder, options.build / "bin/tacq-compile"
    folder.mkdir(parents=True, exist_ok=True)
    target = ("--target", f"vulkan={options.profile}", "--quiet")
    matrix = SMALL_MATRIX if options.small else MATRIX
    for bits in (2, 3):
        for suffix, layout in LAYOUTS.items():
            run(options.build / "bin/tacq-bench", "--kernel", "matvec", *matrix, "--bits", bits,
                *FORMAT, layout, "--device", "vulkan", "--target", f"vulkan={options.profile}",
                "--save", folder / f"matvec-{bits}bit{suffix}.tacq")
    for preset in SHAPES:
        model = folder / f"{preset}.onnx"
        shape = SMALL_SHAPE if options.small else ()
        run(sys.executable, MAKE_LLAMA, model, "--preset", preset, *shape, "--type", "f16")
        for suffix, layout in LAYOUTS.items():
            run(compiler, model, *METHOD, *FORMAT, layout, "--bits", 2, "--head-bits", 2, *target,
                "-o", folder / f"{preset}{suffix}.tacq")
    for path in folder.glob("*.onnx*"):
        path.unlink()


def matvec(options, module):
    """What tacq-bench finds of one product; its time behind others is what a model has."""
    # Weights are rotated through so many bytes, which no cache holds.
    rotated = "200K" if options.small else "1G"
    text = run(options.bin / "tacq-bench", module, "--rotate", rotated, "--device", options.device,
               "--json").stdout
    return json.loads(text)[0]


def tokens_per_second(options, preset, prompt, decode):
    text = run(options.bin / "tacq-bench", options.folder / f"{preset}.tacq", "--device",
               options.device, "--prompt", prompt, "--decode", decode, "--json").stdout
    return json.loads(text)[0]["avg_ts"]


def first_line_seconds(*command, **options):
    """From the start of the process to the first line that it prints, of the best of four runs; one
    more comes before, which fills the caches of pipelines."""
    seconds = []
    for _ in range(5):
        start = time.monotonic()
        with subprocess.Popen([str(each) for each in command], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, **options) as process:
            line = process.stdout.readline()
            seconds.append(time.monotonic() - start)
            process.communicate()
        if process.returncode != 0 or not line.startswith("{"):
            sys.exit(f"{pathlib.Path(str(command[0])).name} printed no result")
    return min(seconds[1:])


def first_token_seconds(options):
    prompts = options.folder / "prompt.jsonl"
    prompts.write_text('{"tokens":[1]}\n')
    return first_line_seconds(options.bin / "tacq-run", options.folder / "1.1b.tacq", "--generate",
                              "--prompts", prompts, "--max-new", 1, "--capacity", 128, "--device",
                              options.device)


def peer_first_token_seconds(folder):
    """Of the peer's own benchmark with one token and no run before it, from what its script left."""
    work = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "llama-vulkan"
    model = work / "first.gguf"
    run(sys.executable, pathlib.Path(folder) / "random_blocks_gguf.py", SHAPES["1.1b"], "Q2_K", model,
        env=dict(os.environ, PYTHONPATH=str(work / "site")))
    seconds = first_line_seconds(work / "bin/llama-bench", "-m", model, "-ngl", 99, "-p", 0, "-n", 1,
                                 "-r", 1, "--no-warmup", "-o", "jsonl")
    model.unlink()
    return seconds


def ours(options):
    found = {}
    for path in sorted(options.folder.glob("matvec-*.tacq")):
        product = matvec(options, path)
        found[path.stem] = product["microseconds"]
        found[f"{path.stem} bandwidth"] = product["bandwidth_fraction"]
        found[f"{path.stem} overlapping"] = product["overlapping_microseconds"]
    decode, prefill = (4, 16) if options.small else (64, 512)
    for preset in SHAPES:
        for suffix in LAYOUTS:
            name = preset + suffix
            found[f"decode-{name}"] = tokens_per_second(options, name, 0, decode)
    found["prefill-7.2b"] = tokens_per_second(options, "7.2b", prefill, 0)
    found["first-token-1.1b"] = first_token_seconds(options)
    return found


def parse_peer(text):
    """By row, from the lines of JSON and those of llama.cpp's own kernel benchmark."""
    found = {}
    for line in text.splitlines():
        if line.startswith("{"):
            speed = json.loads(line)
            for preset, shape in SHAPES.items():
                kind = "prefill" if speed["prompt"] else "decode"
                row = f"{kind}-{preset}"
                if speed["shape"] == shape and ROWS.get(row, ("",))[0] == speed["type"]:
                    found[row] = speed["tok_s"]
        match = re.search(r"type_a=(\w+),.*n=1,.*?([\d.]+) us/run", line)
        for row, (kind, _) in ROWS.items():
            if match and match[1] == kind:
                found[row] = float(match[2])
    return found


def compare(mine, peer):
    rows = []
    for row, value in mine.items():
        work = row.replace("-uniform", "")
        _, reach = ROWS.get(work, ("", None))
        other = peer.get(work)
        # Times are better small, speeds large; the first token's is a share of the peer's.
        ratio = other and (other / value if row.startswith("matvec") else value / other)
        rows.append({"row": row, "tacq": value, "peer": other, "ratio": ratio, "reach": reach,
                     "unit": unit_of(row)})
    return rows


def unit_of(row):
    if row.endswith("bandwidth"):
        return "of reading"
    return "us" if row.startswith("matvec") else "s" if row.startswith("first") else "tok/s"


def print_table(rows):
    print("| work | TACQ | llama.cpp | times | to reach |")
    print("|---|---:|---:|---:|---:|")
    for row in rows:
        sign = "≤ " if row["row"].startswith("first") else "≥ "

        def number(key, text="{:.3g}"):
            return "–" if row[key] is None else text.format(row[key])
        print(f"| {row['row']}, {row['unit']} | {number('tacq', '{:.4g}')} | "
              f"{number('peer', '{:.4g}')} | {number('ratio')} | {number('reach', sign + '{:.3g}')} |")


def measure(options):
    mine, peer = ours(options), {}
    if options.llama:
        script, folder = options.llama
        environment = dict(os.environ, TYPES="Q2_K Q4_0")
        peer = parse_peer(run("bash", script, "run", folder, env=environment).stdout)
        peer["first-token-1.1b"] = peer_first_token_seconds(folder)
    rows = compare(mine, peer)
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        print_table(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    first = commands.add_parser("prepare")
    first.add_argument("folder", type=pathlib.Path)
    first.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    first.add_argument("--profile", default="nvidia-hopper")
    first.add_argument("--small", action="store_true")
    second = commands.add_parser("run")
    second.add_argument("folder", type=pathlib.Path)
    second.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/bin")
    second.add_argument("--device", default="vulkan:0")
    second.add_argument("--llama", nargs=2, metavar=("SCRIPT", "PEER"))
    second.add_argument("--json", action="store_true")
    second.add_argument("--small", action="store_true")
    options = parser.parse_args()
    prepare(options) if options.command == "prepare" else measure(options)


if __name__ == "__main__":
    main()
