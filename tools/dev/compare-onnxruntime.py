#!/usr/bin/env python3
"""Tokens per second of a module beside ONNX Runtime, in alternation on one machine.

  compare-onnxruntime.py MODEL.onnx MODULE.tacq [--prompt 512] [--decode 64] [--threads 2]

Both start from an empty cache for the prompt; decoding starts from an empty cache, too. ONNX Runtime
keeps its caches as its own values, so that nothing is copied to NumPy between steps. The best sample
of each counts.
"""
import argparse
import json
import pathlib
import subprocess
import time

import numpy as np
import onnxruntime

BENCH = pathlib.Path(__file__).resolve().parents[2] / "build" / "bin" / "tacq-bench"


class OnnxRuntime:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options,
                                                    providers=["CPUExecutionProvider"])
        self.inputs = {i.name: i for i in self.session.get_inputs()}
        self.outputs = [o.name for o in self.session.get_outputs()]

    def empty_cache(self):
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        cache = {}
        for name, info in self.inputs.items():
            if name.startswith("past_key_values"):
                dtype = np.float16 if "float16" in info.type else np.float32
                cache[name] = value(np.zeros((1, info.shape[1], 0, info.shape[3]), dtype))
        return cache

    def step(self, tokens, past, cache):
        feed = {"input_ids": tokens[None],
                "attention_mask": np.ones((1, past + len(tokens)), np.int64),
                "position_ids": np.arange(past, past + len(tokens))[None]}
        feed = {n: onnxruntime.OrtValue.ortvalue_from_numpy(v) for n, v in feed.items()
                if n in self.inputs}
        results = self.session.run_with_ort_values(self.outputs, {**feed, **cache})
        named = dict(zip(self.outputs, results))
        return {n: named[n.replace("past_key_values", "present")] for n in cache}

    def prompt_speed(self, count):
        tokens = np.arange(count, dtype=np.int64) % 250
        cache = self.empty_cache()
        start = time.perf_counter()
        self.step(tokens, 0, cache)
        return count / (time.perf_counter() - start)

    def decode_speed(self, count):
        cache = self.empty_cache()
        start = time.perf_counter()
        for past in range(count):
            cache = self.step(np.array([past % 250], np.int64), past, cache)
        return count / (time.perf_counter() - start)


def tacq(module, prompt, decode, threads):
    text = subprocess.run([BENCH, module, "--prompt", str(prompt), "--decode", str(decode),
                           "--threads", str(threads), "--repetitions", "1", "--json"], check=True,
                          capture_output=True, text=True).stdout
    return [row["avg_ts"] for row in json.loads(text)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("module")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    peer = OnnxRuntime(args.model, args.threads)
    peer.prompt_speed(args.prompt)
    peer.decode_speed(args.decode)
    samples = []
    for _ in range(args.rounds):
        samples.append((peer.prompt_speed(args.prompt), peer.decode_speed(args.decode),
                        *tacq(args.module, args.prompt, args.decode, args.threads)))
    best = np.array(samples).max(0)
    print(f"{'':20} {'ONNX Runtime':>14} {'TACQ':>14} {'ratio':>8}")
    for name, other, own in ((f"pp{args.prompt}", best[0], best[2]),
                             (f"tg{args.decode}", best[1], best[3])):
        print(f"{name:20} {other:14.1f} {own:14.1f} {own / other:8.2f}")


if __name__ == "__main__":
    main()
