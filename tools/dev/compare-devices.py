#!/usr/bin/env python3
"""Compares what a language model says on two devices: the texts that it generates from the prompts of
a file, token by token, and the logits behind each of some prompts.

  tools/dev/compare-devices.py m.tacq --prompts prompts.jsonl --limit 100
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

BUILD = pathlib.Path(__file__).resolve().parents[2] / "build"
FLOATS = {"f32": np.float32, "f16": np.float16}


def run(tools, *arguments):
    result = subprocess.run([str(tools / arguments[0]), *map(str, arguments[1:])], text=True,
                            capture_output=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{arguments[0]} failed:\n{result.stderr[-2000:]}")
    return result.stdout


def texts(tools, options, prompts, folder, device):
    path = folder / "texts.jsonl"
    stop = ["--stop", options.stop] if options.stop is not None else []
    run(tools, "tacq-run", options.module, "--device", device, "--generate", "--prompts", prompts,
        "--max-new", options.max_new, *stop, "--output", path)
    return [json.loads(line)["tokens"] for line in path.read_text().splitlines()]


def prefill(tools, module, folder):
    """A function of a prompt and a device that gives the logits of all its positions."""
    inputs = json.loads(run(tools, "tacq-dump", module, "--json"))["inputs"]

    def logits(tokens, device):
        flags = []
        for each in inputs:
            name, shape = each["name"], each["shape"]
            if name == "input_ids":
                value = np.array([tokens], np.int64)
            elif name == "position_ids":
                value = np.arange(len(tokens), dtype=np.int64)[None]
            elif name == "attention_mask":
                value = np.ones((1, len(tokens)), np.int64)
            else:  # an empty cache
                extents = [n if isinstance(n, int) else 1 if axis == 0 else 0
                           for axis, n in enumerate(shape)]
                value = np.zeros(extents, FLOATS[each["type"]])
            path = folder / f"{len(flags)}.npy"
            np.save(path, value)
            flags += ["--input", f"{name}=@{path}"]
        run(tools, "tacq-run", module, "--device", device, *flags, "--output",
            f"logits=@{folder / 'logits.npy'}")
        return np.load(folder / "logits.npy").astype(np.float64)
    return logits


def compare_logits(tools, options, prompts, folder):
    """The largest difference, and the root mean square of differences and of logits."""
    logits = prefill(tools, options.module, folder)
    largest, squares, references, count = 0.0, 0.0, 0.0, 0
    for tokens in prompts:
        first, second = (logits(tokens, device) for device in options.devices)
        largest = max(largest, float(np.abs(first - second).max()))
        squares += float(((first - second) ** 2).sum())
        references += float((first ** 2).sum())
        count += first.size
    return largest, (squares / count) ** 0.5, (references / count) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("module", metavar="M.tacq")
    parser.add_argument("--prompts", required=True, metavar="P.jsonl", help='{"tokens": […]} a line')
    parser.add_argument("--devices", default="cpu,vulkan:0", type=lambda text: text.split(","),
                        help="two of them (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="of the prompts, only the first ones")
    parser.add_argument("--logits", type=int, default=5,
                        help="prompts whose logits are compared (default: %(default)s)")
    parser.add_argument("--max-new", type=int, default=100)
    parser.add_argument("--stop", type=int, help="the token that ends a text")
    parser.add_argument("--tools", type=pathlib.Path, default=BUILD / "bin", help="their folder")
    options = parser.parse_args()
    if len(options.devices) != 2:
        parser.error("--devices takes two devices")
    lines = pathlib.Path(options.prompts).read_text(encoding="utf-8").splitlines()[:options.limit]
    prompts = [json.loads(line)["tokens"] for line in lines]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = folder / "prompts.jsonl"
        path.write_text("".join(json.dumps({"tokens": tokens}) + "\n" for tokens in prompts))
        first, second = (texts(options.tools, options, path, folder, device)
                         for device in options.devices)
        largest, rms, reference = compare_logits(options.tools, options, prompts[:options.logits],
                                                 folder)
    same = sum(a == b for a, b in zip(first, second))
    print(json.dumps({"prompts": len(prompts), "same_texts": same, "tokens": sum(map(len, first)),
                      "logits": {"largest_difference": largest, "rms_difference": rms,
                                 "rms": reference}}))


if __name__ == "__main__":
    main()
