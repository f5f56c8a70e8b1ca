#!/usr/bin/env python3
"""How often the test for drift is wrong, on mixtures of the samples of several statistics.

    drift-errors.py TASK.stats OTHER.stats ... [--kept 32] [--sizes 8,16,32,64] [--draws 400]

For each task and each size n, what a module keeps are the signatures of `kept` samples of the task;
new samples are n others of the same task, of which a part comes from one of the other tasks. Prints
in how many of the draws "calibrate again" is the verdict: errors where the part is 0, detections
where it is not. The test is that of compiler/lib/Calibrate/TaskDrift.cpp, in numpy.
"""
import argparse
import json
import pathlib
import struct

import numpy as np

SIZE, LEVEL, PERMUTATIONS = 32, 0.01, 999


def signatures(path):
    """One row for each sample, from the metadata behind the file's header of 64 bytes."""
    with open(path, "rb") as file:
        header = file.read(64)
        size = struct.unpack_from("<Q", header, 24)[0]
        metadata = json.loads(file.read(size))
    rows = [number for ranges in metadata["covered"].values() for part in ranges
            for number in part["signatures"]]
    return np.array(rows).reshape(-1, SIZE)


def distance(rows, first):
    """rows [..., samples, SIZE]; the first ones are one set."""
    a, b = rows[..., :first, :], rows[..., first:, :]
    error = a.var(-2, ddof=1) / a.shape[-2] + b.var(-2, ddof=1) / b.shape[-2]
    gap = (a.mean(-2) - b.mean(-2)) ** 2
    return np.where(error > 1e-12, gap / np.maximum(error, 1e-12), 0).mean(-1)


def drifted(a, b, random):
    rows = np.concatenate([a, b])
    found = distance(rows, len(a))
    orders = random.permuted(np.tile(np.arange(len(rows)), (PERMUTATIONS, 1)), axis=1)
    larger = (distance(rows[orders], len(a)) >= found).sum()
    return (larger + 1) / (PERMUTATIONS + 1) <= LEVEL


def rate(task, other, kept, size, part, draws, random):
    count = 0
    for _ in range(draws):
        order = random.permutation(len(task))
        mixed = round(part * size)
        new = [task[order[kept:kept + size - mixed]]]
        if mixed:
            new.append(other[random.permutation(len(other))[:mixed]])
        count += drifted(task[order[:kept]], np.concatenate(new), random)
    return count / draws


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("statistics", nargs="+", type=pathlib.Path)
    parser.add_argument("--kept", type=int, default=32)
    parser.add_argument("--sizes", default="8,16,32,64")
    parser.add_argument("--draws", type=int, default=400)
    options = parser.parse_args()
    tasks = {path.stem: signatures(path) for path in options.statistics}
    random = np.random.default_rng(1)
    parts = (0, 0.125, 0.25, 0.5, 1)
    print("| task | mixed with | samples | " + " | ".join(f"{100 * p:g} %" for p in parts) + " |")
    print("|---" * (3 + len(parts)) + "|")
    for name, task in tasks.items():
        for other in tasks:
            for size in map(int, options.sizes.split(",")):
                if other == name or options.kept + size > len(task):
                    continue
                rates = [rate(task, tasks[other], options.kept, size, part, options.draws, random)
                         for part in parts]
                print(f"| {name} | {other} | {size} | "
                      + " | ".join(f"{100 * r:.1f} %" for r in rates) + " |", flush=True)


if __name__ == "__main__":
    main()
