#!/usr/bin/env python3
"""Prints modules of one model side by side: compare-modules.py FOLDER NAME...

For each NAME, FOLDER holds NAME.tacq, NAME.score (of score.py), NAME.eval.json (of tacq-eval),
NAME.bench.json (of tacq-bench) and NAME.dump.json (of tacq-dump).
"""
import json
import pathlib
import sys


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def row(folder, name):
    evaluation = read(folder / f"{name}.eval.json")
    speeds = {bool(test["n_gen"]): test["avg_ts"] for test in read(folder / f"{name}.bench.json")}
    tensors = read(folder / f"{name}.dump.json")["tensors"]
    # The projections are what is quantized; without any, all matrices but the embedding.
    mixed = [tensor for tensor in tensors if tensor["scheme"] != "dense"]
    linears = mixed or [tensor for tensor in tensors if len(tensor["shape"]) == 2][1:]
    bits = 8 * sum(tensor["bytes"] for tensor in linears)
    return [name, (folder / f"{name}.score").read_text().split(" exact")[0],
            f"{evaluation['loss']:.4f}", f"{evaluation.get('kl_divergence', 0):.4f}",
            f"{bits / sum(tensor['elements'] for tensor in linears):.3f}",
            f"{(folder / f'{name}.tacq').stat().st_size / 1e6:.2f}",
            f"{speeds[False]:.0f}", f"{speeds[True]:.0f}"]


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    rows = [["module", "exact", "loss", "KL", "bpw", "MB", "prefill t/s", "decode t/s"]]
    rows += [row(folder, name) for name in sys.argv[2:]]
    widths = [max(len(line[i]) for line in rows) for i in range(len(rows[0]))]
    for line in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths)))


if __name__ == "__main__":
    main()
