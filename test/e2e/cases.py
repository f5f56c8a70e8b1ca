"""Runs many small models through tacq-case-runner, which compiles, runs and compares each of them
in a process of its own.

A case is a model file with named input and output tensors; the tensors of all cases lie one after
the other in one file of raw bytes.
"""
import json

import numpy as np

# NumPy's names of element types, and TACQ's.
TYPES = {"bool": "bool", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
         "uint8": "u8", "uint16": "u16", "uint32": "u32", "uint64": "u64", "float16": "f16",
         "bfloat16": "bf16", "float32": "f32", "float64": "f64"}


class CaseFile:
    """Writes cases.jsonl and cases.bin into a folder."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.list = open(folder / "cases.jsonl", "w", encoding="utf-8")
        self.data = open(folder / "cases.bin", "wb")
        self.count = 0

    def tensors(self, arrays):
        lines = []
        for name, array in arrays:
            if array is None:
                lines.append({"name": name, "type": "none", "dims": [], "offset": 0, "bytes": 0})
                continue
            array = np.asarray(array)
            raw = np.ascontiguousarray(array).tobytes()
            self.data.write(b"\0" * (-self.data.tell() % 64))
            lines.append({"name": name, "type": TYPES.get(array.dtype.name, "none"),
                          "dims": list(array.shape), "offset": self.data.tell(),
                          "bytes": len(raw)})
            self.data.write(raw)
        return lines

    def add(self, name, model, sets, rtol=1e-3, atol=1e-7):
        """`sets`: pairs of lists of (name, array or None for what is no tensor)."""
        line = {"name": name, "model": str(model), "rtol": rtol, "atol": atol,
                "sets": [{"inputs": self.tensors(i), "outputs": self.tensors(o)}
                         for i, o in sets]}
        self.list.write(json.dumps(line) + "\n")
        self.count += 1

    def run(self, tools, *flags):
        """Returns {name: {"status", "message", ...}}."""
        self.list.close()
        self.data.close()
        results = self.folder / "results.jsonl"
        tools.run("tacq-case-runner", self.folder / "cases.jsonl", "--data",
                  self.folder / "cases.bin", "--jobs", tools.jobs, "--output", results, *flags,
                  timeout=1800)
        lines = [json.loads(line) for line in results.read_text().splitlines()]
        assert len(lines) == self.count
        return {line["name"]: line for line in lines}
