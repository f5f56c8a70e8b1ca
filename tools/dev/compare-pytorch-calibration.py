#!/usr/bin/env python3
"""Seconds of tacq-calibrate beside PyTorch doing the same, in alternation on one machine.

  compare-pytorch-calibration.py MODEL.onnx FOLDER DATA.jsonl [--threads 2] [--samples 128] [--runs 3]

FOLDER holds the Llama's config.json and model.safetensors (fp16). PyTorch runs forward and backward
of each sequence in fp32 and sums up |gradient| and x xᵀ of all linear layers but the head. The best
run of each counts; tacq-calibrate's includes the compilation of the model, PyTorch's no import. The
largest relative difference of the sums of |gradient| is printed with them.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

CALIBRATE = pathlib.Path(__file__).resolve().parents[2] / "build" / "bin" / "tacq-calibrate"
# The layers of a block, and those whose input the ones behind them share.
LAYERS = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
FIRST = ["self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"]


class Llama:
    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        content = (folder / "model.safetensors").read_bytes()
        begin = 8 + int.from_bytes(content[:8], "little")
        self.weights = {}
        for name, entry in json.loads(content[8:begin]).items():
            if name != "__metadata__":
                first, last = (begin + offset for offset in entry["data_offsets"])
                array = np.frombuffer(content[first:last], np.float16).reshape(entry["shape"])
                self.weights[name] = torch.tensor(array.astype(np.float32))
        self.linears = [f"model.layers.{i}.{layer}"
                        for i in range(self.config["num_hidden_layers"]) for layer in LAYERS]
        for name in self.linears:
            self.weights[name + ".weight"].requires_grad_(True)
        self.inputs = {}

    def linear(self, x, name):
        self.inputs[name] = x.detach()
        return F.linear(x, self.weights[name + ".weight"])

    def norm(self, x, name):
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights[name + ".weight"]

    def logits(self, tokens):
        heads, pairs = (self.config[key] for key in ["num_attention_heads", "num_key_value_heads"])
        size = self.config["hidden_size"] // heads
        theta = self.config["rope_parameters"]["rope_theta"]
        angles = (torch.arange(len(tokens))[:, None]
                  / theta ** (torch.arange(0, size, 2) / size)).repeat(1, 2)
        cos, sin = angles.cos(), angles.sin()

        def split(x, count, rotated):
            x = x.view(-1, count, size).transpose(0, 1)
            if not rotated:
                return x
            a, b = x.chunk(2, -1)
            return x * cos + torch.cat([-b, a], -1) * sin

        x = self.weights["model.embed_tokens.weight"][tokens]
        for i in range(self.config["num_hidden_layers"]):
            block = f"model.layers.{i}."
            h = self.norm(x, block + "input_layernorm")
            q = split(self.linear(h, block + "self_attn.q_proj"), heads, True)
            k = split(self.linear(h, block + "self_attn.k_proj"), pairs, True)
            v = split(self.linear(h, block + "self_attn.v_proj"), pairs, False)
            k, v = (y.repeat_interleave(heads // pairs, 0) for y in (k, v))
            o = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
            x = x + self.linear(o.transpose(0, 1).flatten(1), block + "self_attn.o_proj")
            h = self.norm(x, block + "post_attention_layernorm")
            gate = F.silu(self.linear(h, block + "mlp.gate_proj"))
            x = x + self.linear(gate * self.linear(h, block + "mlp.up_proj"),
                                block + "mlp.down_proj")
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return self.norm(x, "model.norm") @ head.T

    def calibrate(self, samples):
        sums = {name: torch.zeros_like(self.weights[name + ".weight"]) for name in self.linears}
        hessians = {}
        for tokens in map(torch.tensor, samples):
            F.cross_entropy(self.logits(tokens)[:-1], tokens[1:]).backward()
            with torch.no_grad():
                for name in self.linears:
                    gradient = self.weights[name + ".weight"].grad
                    sums[name] += gradient.abs()
                    gradient.zero_()
                    if name.split(".", 3)[3] not in FIRST:
                        continue
                    x = self.inputs[name]
                    if name not in hessians:
                        hessians[name] = torch.zeros(x.shape[1], x.shape[1])
                    hessians[name].addmm_(x.T, x)
        return np.array([sums[name].double().sum().item() for name in self.linears])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = arguments.data.read_text().splitlines()[:arguments.samples]
    samples = [json.loads(line)["tokens"] for line in lines]
    llama = Llama(arguments.folder)
    best = {"tacq": float("inf"), "pytorch": float("inf")}
    with tempfile.TemporaryDirectory() as folder:
        data, stats = pathlib.Path(folder, "data.jsonl"), pathlib.Path(folder, "model.stats")
        data.write_text("".join(json.dumps({"tokens": tokens}) + "\n" for tokens in samples))
        for _ in range(arguments.runs):
            start = time.time()
            sums = llama.calibrate(samples)
            best["pytorch"] = min(best["pytorch"], time.time() - start)
            start = time.time()
            subprocess.run([CALIBRATE, arguments.model, "--data", data, "-o", stats, "--threads",
                            str(arguments.threads)], check=True, stderr=subprocess.DEVNULL)
            best["tacq"] = min(best["tacq"], time.time() - start)
        result = json.loads(subprocess.run([CALIBRATE, "inspect", stats, "--json"], check=True,
                                           capture_output=True, text=True).stdout)
    ours = np.array([tensor["abs_gradient_sum"] for tensor in result["tensors"]])
    json.dump({"threads": arguments.threads, "samples": len(samples),
               "tacq_seconds": best["tacq"], "pytorch_seconds": best["pytorch"],
               "pytorch_over_tacq": best["pytorch"] / best["tacq"],
               "largest_difference": float(np.abs(ours / sums - 1).max())}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
