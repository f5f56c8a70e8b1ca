#!/usr/bin/env python3
"""What codes of about 2 and 3 bits lose, on random numbers and on a calibrated model's weights.

    compare-codes.py --gaussian
    compare-codes.py MODEL.onnx TASK.stats [--every 3] [--only PREFIX] [--rotate]
    compare-codes.py MODEL.onnx [--every 3] [--only PREFIX]
    compare-codes.py --loops

Prints for each code its bits per weight in a row of 2,048 columns, all bytes counted, and what it
loses: the mean squared error of normal numbers of variance 1; or, of every third matrix of the
model, the mean squared error relative to the mean square, the error of the layers' results, and the
second-order prediction of the loss increase that tacq-plan makes, once rounded to nearest and once
with the errors of columns compensated in later ones (GPTQ). Codes are fitted to the weights by the
diagonal of the Hessian, and fixed before compensation; nothing is tuned. Without statistics there
are the errors of weights alone, of 256 rows of each matrix. --rotate multiplies inputs
by random signs and a Hadamard matrix first. --loops prints what 256 weights take in a product with one
row on AVX-512, by llvm-mca.
"""
import argparse
import json
import os
import pathlib
import re
import struct
import subprocess
import tempfile

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

COLUMNS = 2048  # that metadata of rows are divided by
RANDOM = np.random.default_rng(1)


# ---- codes

class Affine:
    """Uniform levels s c - m of groups. `scale` bits and `least` bits of s and m, times an f16 of
    the row each; without them s is f16 and m / s an integer of the code, in a byte."""

    width = 1

    def __init__(self, bits, group, scale=0, least=0):
        self.bits, self.group, self.scale, self.least = bits, group, scale, least
        self.name = f"{bits} bits, groups of {group}" if group else f"{bits} bits, rows"
        if scale:
            self.name += f", scale {scale} and least {least} bits"

    def size(self):
        if self.scale:
            return self.bits + (self.scale + self.least) / self.group + 32 / COLUMNS
        return self.bits + 24 / (self.group or COLUMNS)

    def fit(self, weight, importance):
        rows, columns = weight.shape
        group = self.group or columns
        w = weight.reshape(rows, -1, group)
        h = importance.reshape(1, -1, group)
        top = 2 ** self.bits - 1
        best = np.full(w.shape[:2], np.inf)
        self.s, self.m = np.ones(w.shape[:2]), np.zeros(w.shape[:2])
        for clip in np.linspace(0.4, 1, 13):
            low, high = np.minimum(w.min(-1), 0) * clip, np.maximum(w.max(-1), 0) * clip
            s = np.maximum((high - low) / top, 1e-12)
            m = low if self.scale else -np.rint(-low / s) * s
            codes = np.clip(np.rint((w - m[..., None]) / s[..., None]), 0, top)
            error = (h * (codes * s[..., None] + m[..., None] - w) ** 2).sum(-1)
            better = error < best
            best = np.where(better, error, best)
            self.s, self.m = np.where(better, s, self.s), np.where(better, m, self.m)
        if self.scale:
            self.s = quantize_metadata(self.s, self.scale)
            self.m = -quantize_metadata(-self.m, self.least)
        self.group_columns = group

    def quantize(self, block, column):
        g = column // self.group_columns
        s, m = self.s[:, g, None], self.m[:, g, None]
        return np.clip(np.rint((block - m) / s), 0, 2 ** self.bits - 1) * s + m


def quantize_metadata(values, bits):
    """Non-negative numbers of a row as integers times a scale of the row."""
    unit = values.max(-1, keepdims=True) / (2 ** bits - 1)
    unit = np.where(unit > 0, unit, 1)
    return np.maximum(np.rint(values / unit), 1 if bits > 4 else 0) * unit


class Levels:
    """Levels of each row, integers times an f16; in groups times a scale of few bits, too."""

    width = 1

    def __init__(self, bits, group=0, scale=0, shared=False):
        self.bits, self.group, self.scale, self.shared = bits, group, scale, shared
        self.name = f"{bits} bits, levels of {'tensors' if shared else 'rows'}"
        if group:
            self.name += f", groups of {group} with scales of {scale} bits"

    def size(self):
        own = 0 if self.shared else 8 * 2 ** self.bits
        return self.bits + (16 + own) / COLUMNS + (self.scale / self.group if self.group else 0)

    def fit(self, weight, importance):
        rows, columns = weight.shape
        group = self.group or columns
        w = weight.reshape(rows, -1, group)
        h = np.broadcast_to(importance.reshape(1, -1, group), w.shape)
        s = np.sqrt((h * w * w).sum(-1) / h.sum(-1)) + 1e-12
        for _ in range(4 if self.group else 1):
            if self.group:
                s = quantize_metadata(s, self.scale)
                s = np.where(s > 0, s, s.max(-1, keepdims=True) / (2 ** self.scale - 1))
            x = (w / s[..., None]).reshape(1 if self.shared else rows, -1)
            hx = (h * s[..., None] ** 2).reshape(x.shape)
            levels = lloyd(x, hx, 2 ** self.bits)
            nearest = np.abs(x[..., None] - levels[:, None, :]).argmin(-1)
            q = np.take_along_axis(levels, nearest, 1).reshape(w.shape)
            if self.group:
                s = np.maximum((h * q * w).sum(-1) / np.maximum((h * q * q).sum(-1), 1e-30), 1e-12)
        if self.group:
            s = quantize_metadata(s, self.scale)
            s = np.where(s > 0, s, s.max(-1, keepdims=True) / (2 ** self.scale - 1))
        unit = np.abs(levels).max(-1, keepdims=True) / 127
        self.levels = np.broadcast_to(np.rint(levels / unit) * unit, (rows, 2 ** self.bits))
        self.s, self.group_columns = s, group

    def quantize(self, block, column):
        s = self.s[:, column // self.group_columns, None]
        nearest = np.abs((block / s)[..., None] - self.levels[:, None, :]).argmin(-1)
        return np.take_along_axis(self.levels, nearest, 1) * s


def lloyd(x, h, count, steps=20):
    """Levels of each row of x that minimize the error weighted by h."""
    order = np.argsort(x, 1)
    at = ((np.arange(count) + 0.5) / count * x.shape[1]).astype(int)
    levels = np.take_along_axis(x, order[:, at], 1)
    for _ in range(steps):
        nearest = np.abs(x[..., None] - levels[:, None, :]).argmin(-1)
        for level in range(count):
            mask = h * (nearest == level)
            total = mask.sum(1)
            levels[:, level] = np.where(total > 0, (mask * x).sum(1) / np.maximum(total, 1e-30),
                                        levels[:, level])
    return levels


class Vectors:
    """Vectors of `width` weights from a table of the tensor with integers of 8 bits, times an f16
    of the row; in groups times a scale of few bits, too. `signs`: the table has magnitudes, and
    the code a sign for each weight."""

    def __init__(self, width, entries, group=0, scale=0, signs=False):
        self.width, self.entries, self.group = width, entries, group
        self.scale, self.signs = scale, signs
        self.name = f"vectors of {width}, {entries} " + ("magnitudes and signs" if signs
                                                        else "entries")
        if group:
            self.name += f", groups of {group} with scales of {scale} bits"

    def size(self):
        return (np.log2(self.entries) / self.width + self.signs + 16 / COLUMNS +
                (self.scale / self.group if self.group else 0))

    def fit(self, weight, importance):
        rows, columns = weight.shape
        group = self.group or columns
        w = weight.reshape(rows, -1, group)
        h = importance.reshape(1, -1, group)
        s = np.sqrt((h * w * w).sum(-1) / h.sum(-1)) + 1e-12
        if self.group:
            s = np.maximum(quantize_metadata(s, self.scale), s.max() * 1e-3)
        x = (w / s[..., None]).reshape(-1, self.width)
        hx = np.broadcast_to(h * s[..., None] ** 2, w.shape).reshape(-1, self.width)
        some = RANDOM.permutation(len(x))[:16384]
        x, hx = x[some], hx[some] / hx.mean()
        if self.signs:
            x = np.abs(x)
        table = x[RANDOM.permutation(len(x))[:self.entries]].copy()
        for _ in range(25):
            nearest = self.nearest(x, hx, table)
            for d in range(self.width):
                total = np.bincount(nearest, hx[:, d], self.entries)
                mean = np.bincount(nearest, hx[:, d] * x[:, d], self.entries)
                table[:, d] = np.where(total > 0, mean / np.maximum(total, 1e-30), table[:, d])
        unit = np.abs(table).max() / 127
        self.table = np.rint(table / unit) * unit
        self.s, self.group_columns, self.importance = s, group, importance

    @staticmethod
    def nearest(x, h, table):
        found = np.empty(len(x), np.int64)
        for i in range(0, len(x), 4096):
            part, weights = x[i:i + 4096], h[i:i + 4096]
            cost = weights @ (table * table).T - 2 * (weights * part) @ table.T
            found[i:i + 4096] = cost.argmin(1)
        return found

    def quantize(self, block, column):
        s = self.s[:, column // self.group_columns, None]
        x = block / s
        h = np.broadcast_to(self.importance[column:column + self.width], x.shape)
        q = self.table[self.nearest(np.abs(x) if self.signs else x, h / h.mean(), self.table)]
        return (np.where(x < 0, -q, q) if self.signs else q) * s


class Trellis:
    """2 bits a weight shift a register of `state` bits, whose content names a normal number; tiles
    of 16 x 16 weights are sequences, and rows have an f16."""

    width, tile = 16, 16

    def __init__(self, state, bits=2):
        self.state, self.bits = state, bits
        self.name = f"trellis of {bits} bits, {2 ** state} states"
        self.table = np.random.default_rng(7).standard_normal(2 ** state).astype(np.float32)

    def size(self):
        return self.bits + self.state / self.tile ** 2 + 16 / COLUMNS

    def fit(self, weight, importance):
        self.s = np.sqrt((importance * weight ** 2).sum(1) / importance.sum())[:, None]
        self.importance = importance

    def quantize(self, block, column):
        rows = block.shape[0]
        x = (block / self.s).reshape(rows // self.tile, -1).astype(np.float32)
        h = self.importance[column:column + self.width]
        h = np.tile(h / h.mean(), self.tile).astype(np.float32)
        return self.decode_best(x, h).reshape(block.shape) * self.s

    def decode_best(self, x, h):
        sequences, length = x.shape
        step, states = 2 ** self.bits, 2 ** self.state
        cost = np.zeros((sequences, states), np.float32)
        came = np.empty((length, sequences, states // step), np.uint8)
        for t in range(length):
            if t:
                before = cost.reshape(sequences, step, states // step)
                came[t] = before.argmin(1)
                cost = np.repeat(before.min(1), step, 1)
            cost = cost + h[t] * (x[:, t, None] - self.table) ** 2
        at = cost.argmin(1)
        chosen = np.empty((sequences, length), np.float32)
        for t in reversed(range(length)):
            chosen[:, t] = self.table[at]
            at = at // step
            if t:
                at = at + came[t, np.arange(sequences), at].astype(np.int64) * (states // step)
        return chosen


def all_codes():
    codes = []
    for bits in (2, 3):
        codes += [Affine(bits, 0), Levels(bits)]
        codes += [Affine(bits, group) for group in (128, 64, 32)]
        for group in (64, 32, 16):
            codes += [Affine(bits, group, 6, 6), Affine(bits, group, 4, 4)]
        codes += [Levels(bits, group, 4) for group in (64, 32, 16)]
        codes += [Levels(bits, 32, 6), Levels(bits, 32, 4, shared=True)]
    codes += [Vectors(2, 16), Vectors(2, 16, 32, 4), Vectors(4, 256), Vectors(4, 256, 32, 4),
              Vectors(4, 16, signs=True), Vectors(4, 16, 32, 4, signs=True), Trellis(8),
              Trellis(12)]
    codes += [Vectors(2, 64), Vectors(2, 64, 32, 4), Vectors(4, 256, signs=True)]
    return codes


# ---- what they lose

def plain(code, weight):
    """Rounded to nearest."""
    return np.concatenate([code.quantize(weight[:, at:at + code.width], at)
                           for at in range(0, weight.shape[1], code.width)], 1)


def compensated(code, weight, hessian, reach=None):
    """Errors of columns are taken up by later ones. `reach` sees what the columns from some on have
    become before they are quantized."""
    damped = hessian + 0.01 * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    w, q = weight.copy(), np.empty_like(weight)
    for at in range(0, w.shape[1], code.width):
        end = at + code.width
        if reach:
            reach(w, at)
        q[:, at:end] = code.quantize(w[:, at:end], at)
        error = (w[:, at:end] - q[:, at:end]) @ np.linalg.inv(upper[at:end, at:end])
        w[:, end:] -= error @ upper[at:end, end:]
    return q


def gaussian():
    weight = RANDOM.standard_normal((256, COLUMNS))
    print("| code | bpw | mean squared error | at this size no code has less than |\n|---|---|---|---|")
    for code in all_codes():
        code.fit(weight, np.ones(COLUMNS))
        error = ((plain(code, weight) - weight) ** 2).mean() / (weight ** 2).mean()
        print(f"| {code.name} | {code.size():.3f} | {error:.4f} | {4 ** -code.size():.4f} |",
              flush=True)


def loops():
    """Of the loops in code-loops.cpp, for two processors."""
    source = pathlib.Path(__file__).with_name("code-loops.cpp")
    processors = ("sapphirerapids", "znver4")
    rows = {}
    for processor in processors:
        with tempfile.NamedTemporaryFile(suffix=".s") as assembly:
            subprocess.run(["clang++-19", "-std=c++17", "-O2", f"-march={processor}",
                            "-fno-unroll-loops", "-S", source, "-o", assembly.name], check=True)
            text = subprocess.run(["llvm-mca-19", f"-mcpu={processor}", "-iterations=100",
                                   assembly.name], check=True, capture_output=True,
                                  text=True).stdout
        for name, instructions, cycles in re.findall(
                r"Code Region - (\w+)\n.*?Instructions: +(\d+).*?Block RThroughput: +([\d.]+)", text,
                re.DOTALL):
            rows.setdefault(name, []).extend([f"{int(instructions) / 100:g}", cycles])
    print("| loop | " + " | ".join(f"{p}: instructions | cycles of its ports" for p in processors)
          + " |\n|---|---|---|---|---|")
    for name, cells in rows.items():
        print(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")


class Matrix:
    """A weight, the second moments of its input, and the curvature of the loss by its results."""

    def __init__(self, weight, gradient, hessian, tokens, samples):
        self.weight = weight.astype(np.float64)
        self.gradient, self.hessian = gradient, hessian / tokens
        squares = np.pi / 2 * (gradient / samples) ** 2
        self.curvature = tokens / samples * squares.sum(1) / np.trace(self.hessian)

    def rotated(self):
        size = 256
        hadamard = np.ones((1, 1))
        while len(hadamard) < size:
            hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
        signs = RANDOM.choice([-1.0, 1.0], self.weight.shape[1])
        blocks = np.kron(np.eye(len(signs) // size), hadamard / np.sqrt(size))
        turn = signs[:, None] * blocks
        self.weight = self.weight @ turn
        self.hessian = turn.T @ self.hessian @ turn

    def losses(self, quantized):
        d = quantized - self.weight
        by_row = ((d @ self.hessian) * d).sum(1)
        whole = ((self.weight @ self.hessian) * self.weight).sum()
        return (d ** 2).mean() / (self.weight ** 2).mean(), by_row.sum() / whole, \
            0.5 * (self.curvature * by_row).sum()


def weights_alone(model_path, every, only):
    """Mean squared errors of a model that is not calibrated; embeddings are left out."""
    import onnx
    from onnx import numpy_helper
    found = [t for t in onnx.load(model_path).graph.initializer
             if len(t.dims) == 2 and 64 <= min(t.dims) and max(t.dims) <= 16384]
    parts = []
    for tensor in found[::every]:
        value = numpy_helper.to_array(tensor).astype(np.float64)
        if "embed" not in tensor.name and np.any(value):
            parts.append(value[:256])
    print(f"{len(parts)} matrices\n\n| code | bpw | error of weights |\n|---|---|---|")
    for code in all_codes():
        if not code.name.startswith(only):
            continue
        errors = []
        for weight in parts:
            if getattr(code, "group", 0) and weight.shape[1] % code.group:
                break
            code.fit(weight, np.ones(weight.shape[1]))
            errors.append(((plain(code, weight) - weight) ** 2).mean() / (weight ** 2).mean())
        else:
            print(f"| {code.name} | {code.size():.3f} | {np.mean(errors):.4f} |", flush=True)


def matrices(model_path, statistics_path, every):
    """Yields the model's calibrated matrices."""
    import onnx
    from onnx import numpy_helper
    parameters = [numpy_helper.to_array(t) for t in onnx.load(model_path).graph.initializer]
    content = statistics_path.read_bytes()
    size = struct.unpack_from("<Q", content, 24)[0]
    metadata = json.loads(content[64:64 + size])
    sums = np.frombuffer(content, np.float64, offset=(64 + size + 63) // 64 * 64)
    at = 0

    def take(count):
        nonlocal at
        begin, at = at, at + (count + 7) // 8 * 8
        return sums[begin:begin + count]

    shapes = [(tensor["rows"], tensor["columns"]) for tensor in metadata["tensors"]]
    gradients = [take(rows * columns).reshape(rows, columns) for rows, columns in shapes]
    weights = []
    for rows, columns in shapes:
        sketched = min(rows, 4)
        take(metadata["folds"] * sketched * columns)
        row = take(sketched * columns)[:columns].astype(np.float32)
        # Names are the tool's: by one of its rows, a weight is found in whatever order it is stored.
        weights.append(next(
            value for parameter in parameters for value in (parameter, parameter.T)
            if value.shape == (rows, columns) and np.array_equal(value[rows // (2 * sketched)], row)))
    hessians = []
    for entry in metadata["inputs"]:
        n = entry["columns"]
        full = np.zeros((n, n))
        full[np.tril_indices(n)] = take(n * (n + 1) // 2)
        hessians.append((full + np.tril(full, -1).T, entry["tokens"]))
    samples = sum(r["end"] - r["begin"] for ranges in metadata["covered"].values() for r in ranges)
    for i, tensor in enumerate(metadata["tensors"]):
        if i % every == 0 and not tensor["head"]:
            hessian, tokens = hessians[tensor["input"]]
            yield Matrix(weights[i], gradients[i], hessian, tokens, samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=pathlib.Path)
    parser.add_argument("statistics", nargs="?", type=pathlib.Path)
    parser.add_argument("--gaussian", action="store_true")
    parser.add_argument("--loops", action="store_true")
    parser.add_argument("--rotate", action="store_true")
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--only", default="", help="codes whose names begin with this")
    options = parser.parse_args()
    if options.gaussian or options.loops:
        gaussian() if options.gaussian else loops()
        return
    if not options.model:
        parser.error("give a model, --gaussian or --loops")
    if not options.statistics:
        weights_alone(options.model, options.every, options.only)
        return
    chosen = list(matrices(options.model, options.statistics, options.every))
    if options.rotate:
        for matrix in chosen:
            matrix.rotated()
    print("| code | bpw | error of weights | of results | predicted loss | of results, compensated "
          "| predicted loss, compensated |\n|---|---|---|---|---|---|---|")
    for code in all_codes():
        if not code.name.startswith(options.only):
            continue
        total = np.zeros(6)
        for matrix in chosen:
            code.fit(matrix.weight, np.diag(matrix.hessian))
            total[:3] += matrix.losses(plain(code, matrix.weight))
            total[3:] += matrix.losses(compensated(code, matrix.weight, matrix.hessian))
        mean = total / len(chosen)
        print(f"| {code.name} | {code.size():.3f} | {mean[0]:.4f} | {mean[1]:.4f} | {total[2]:.5f} "
              f"| {mean[4]:.4f} | {total[5]:.5f} |", flush=True)


if __name__ == "__main__":
    main()
