#!/usr/bin/env python3
"""How well tacq-plan's predictions rank random plans: Spearman's rank correlation of the predicted
and the measured increase of the loss.

    rank-plans.py MODEL.onnx --stats S.stats --dev DEV.jsonl [--data D.jsonl] [--plans 30]

Each plan takes a format and a circuit for each weight at random, from what tacq-plan --candidates
lists up to 5 bits per weight; how often wide formats are drawn differs from plan to plan. Prints a
line for each plan, and the correlation. --save FILE.json keeps plans and measurements, and --reuse
FILE.json takes them from there, to see what other predictions make of the same plans; plans with
options that tacq-plan no longer lists are left out.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

import numpy as np

BIN = pathlib.Path(__file__).resolve().parents[2] / "build" / "bin"


def ranks(values):
    """Of equal values the mean rank."""
    values = np.asarray(values)
    return np.array([(values < v).sum() + ((values == v).sum() - 1) / 2 for v in values])


def spearman(a, b):
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def draw(tensors, elements, random):
    """An option for each tensor. The narrowest are drawn more often with a larger tilt."""
    tilt = random.uniform(0, 3)
    chosen = []
    for tensor in tensors:
        options = [o for o in tensor["options"] if 8 * o["bytes"] <= 5 * elements[tensor["name"]]]
        widths = np.array([8 * o["bytes"] / elements[tensor["name"]] for o in options])
        weights = np.exp(-tilt * (widths - widths.min()))
        chosen.append(options[random.choice(len(options), p=weights / weights.sum())])
    return chosen


def run(tool, *arguments):
    return subprocess.run([str(BIN / tool), *map(str, arguments)], check=True,
                          capture_output=True, text=True).stdout


def loss_of(module, dev):
    return json.loads(run("tacq-eval", module, "--data", dev, "--json"))["loss"]


def key(option):
    return option["bits"], option["group"], option["codebook"], option["circuit"]


def reuse(kept, tensors):
    losses = {tensor["name"]: {key(o): o["predicted_loss"] for o in tensor["options"]}
              for tensor in tensors}
    predicted, measured = [], []
    for plan in kept:
        found = [losses[tensor["name"]].get(key(tensor)) for tensor in plan["tensors"]]
        if None in found:
            continue
        predicted.append(sum(found))
        measured.append(plan["measured"])
        print(f"predicted {predicted[-1]:+.5f}  measured {measured[-1]:+.5f}")
    print(f"Spearman {spearman(predicted, measured):.3f} of {len(predicted)} plans")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--stats", required=True)
    parser.add_argument("--dev", required=True, help="what losses are measured on")
    parser.add_argument("--data", help="the sample, for tacq-plan's probes")
    parser.add_argument("--budget", default="2.5bpw")
    parser.add_argument("--plans", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--save", type=pathlib.Path)
    parser.add_argument("--reuse", type=pathlib.Path)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = ["--data", options.data] if options.data else []
        run("tacq-plan", options.model, "--stats", options.stats, *data, "--budget",
            options.budget, "--candidates", folder / "candidates.json", "-o",
            folder / "plan.json", "--threads", options.threads, "--quiet")
        tensors = json.loads((folder / "candidates.json").read_text())
        if options.reuse:
            reuse(json.loads(options.reuse.read_text()), tensors)
            return
        elements = {tensor["name"]: tensor["options"][-1]["bytes"] / 2 for tensor in tensors}
        module = folder / "module.tacq"
        run("tacq-compile", options.model, "--dense", "f16", "-o", module)
        base = loss_of(module, options.dev)
        predicted, measured, kept = [], [], []
        for i in range(options.plans):
            chosen = draw(tensors, elements, random)
            plan = {"version": 1, "circuit_layout": "slots", "circuit": 0, "tensors": [
                {"name": tensor["name"], "bits": option["bits"], "group": option["group"],
                 "codebook": option["codebook"], "circuit": option["circuit"]}
                for tensor, option in zip(tensors, chosen)]}
            (folder / "random.json").write_text(json.dumps(plan))
            run("tacq-compile", options.model, "--stats", options.stats, "--plan",
                folder / "random.json", "--threads", options.threads, "-o", module)
            predicted.append(sum(option["predicted_loss"] for option in chosen))
            measured.append(loss_of(module, options.dev) - base)
            bits = 8 * sum(option["bytes"] for option in chosen) / sum(elements.values())
            print(f"{i + 1:3} {bits:6.3f} bpw  predicted {predicted[-1]:+.5f}  "
                  f"measured {measured[-1]:+.5f}", flush=True)
            kept.append({"tensors": plan["tensors"], "measured": measured[-1]})
            if options.save:
                options.save.write_text(json.dumps(kept))
        print(f"Spearman {spearman(predicted, measured):.3f}")


if __name__ == "__main__":
    main()
