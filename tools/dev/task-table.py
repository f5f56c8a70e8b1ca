#!/usr/bin/env python3
"""Scores, losses and sizes of quantized modules of one model, side by side.

  task-table.py MODEL.onnx DATA --tasks math,sql --out FOLDER [--only NAME,...] [--prompts 300]

DATA has TASK_calib.jsonl, TASK_prompts.jsonl, TASK_answers.jsonl and TASK_dev.jsonl for each task.
For each task the model is calibrated on its own sample, compiled in each format, and scored: exact
matches of generated answers, loss on the answers. What is in FOLDER already is not made again.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = ROOT / "build" / "bin"
sys.path.insert(0, str(pathlib.Path(__file__).parent))
from score import read_lines, score  # noqa: E402

FORMATS = {
    "f16": None,
    "gptq-2": ["--bits", "2", "--circuit", "0"],
    "tacq-2": ["--bits", "2", "--circuit", "0.35%", "--circuit-layout", "scattered"],
    "slots-2": ["--bits", "2", "--circuit", "0.35%"],
    "uniform-2": ["--bits", "2", "--circuit", "0.35%", "--circuit-layout", "uniform"],
    "tacq-2-g64": ["--bits", "2", "--group", "64", "--circuit", "0.35%", "--circuit-layout",
                   "scattered"],
    "slots-2-g64": ["--bits", "2", "--group", "64", "--circuit", "0.35%"],
    "codebook-2": ["--bits", "2", "--codebook", "--circuit", "0"],
    "codebook-slots-2": ["--bits", "2", "--codebook", "--circuit", "0.35%"],
    "gptq-3": ["--bits", "3", "--circuit", "0"],
    "tacq-3": ["--bits", "3", "--circuit", "0.35%", "--circuit-layout", "scattered"],
    "slots-3": ["--bits", "3", "--circuit", "0.35%"],
}


def run(tool, *arguments):
    command = [str(BIN / tool), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{result.stderr[-2000:]}")
    return result.stdout


def made(path, make):
    if not path.exists():
        make()
    return path


def measure(model, data, task, name, out, prompts):
    folder = out / task
    folder.mkdir(parents=True, exist_ok=True)
    calib = data / f"{task}_calib.jsonl"
    module = folder / f"{name}.tacq"
    start = time.time()
    if FORMATS[name] is None:
        made(module, lambda: run("tacq-compile", model, "--dense", "f16", "-o", module))
    else:
        stats = made(folder / "stats", lambda: run("tacq-calibrate", model, "--data", calib, "-o",
                                                   folder / "stats"))
        start = time.time()
        made(module, lambda: run("tacq-compile", model, "--stats", stats, "--data", calib,
                                 *FORMATS[name], "-o", module))
    seconds = time.time() - start
    lines = (data / f"{task}_prompts.jsonl").read_text().splitlines()[:prompts]
    chosen = folder / "prompts.jsonl"
    chosen.write_text("\n".join(lines) + "\n")
    generated = folder / f"{name}.jsonl"
    run("tacq-run", module, "--generate", "--prompts", chosen, "--max-new", 100, "--stop", 10,
        "--output", generated)
    answers = read_lines(data / f"{task}_answers.jsonl")[:prompts]
    right = score(read_lines(generated), answers)
    evaluation = json.loads(run("tacq-eval", module, "--data", data / f"{task}_dev.jsonl", "--json"))
    tensors = [tensor for tensor in json.loads(run("tacq-dump", module, "--json"))["tensors"]
               if tensor["scheme"] == "mixed"]
    bits = (8 * sum(tensor["bytes"] for tensor in tensors)
            / max(1, sum(tensor["elements"] for tensor in tensors)))
    return [task, name, f"{100 * right / len(answers):.1f} %", f"{evaluation['loss']:.4f}",
            f"{bits or 16:.3f}", str(module.stat().st_size), f"{seconds:.0f} s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--tasks", default="math,sql")
    parser.add_argument("--only", default=",".join(FORMATS))
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()
    print(f"{'task':6} {'format':18} {'exact':>8} {'loss':>8} {'bpw':>7} {'bytes':>10} {'made in':>8}")
    for task in args.tasks.split(","):
        for name in args.only.split(","):
            task_, *cells = measure(args.model, args.data, task, name, args.out, args.prompts)
            print(f"{task_:6} {cells[0]:18} {cells[1]:>8} {cells[2]:>8} {cells[3]:>7} "
                  f"{cells[4]:>10} {cells[5]:>8}", flush=True)


if __name__ == "__main__":
    main()
