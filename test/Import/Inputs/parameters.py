"""Lists the parameters of a model as `tacq-translate --list-parameters` should: by ONNX's own
reader, with SHA-256 of the elements."""

import hashlib
import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper as nh

path = sys.argv[1]
model = onnx.load(path)
tensors = {t.name: nh.to_array(t, os.path.dirname(path)) for t in model.graph.initializer}
listed = []
used = [name for node in model.graph.node for name in node.input]
for node in model.graph.node:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR:
            name = node.output[0] if node.op_type == "Constant" else f"{node.name}.{attribute.name}"
            tensors[name] = nh.to_array(attribute.t)
for name, array in tensors.items():
    limit = 1024 if array.dtype.kind in "iub" else 64
    if array.size <= limit:
        continue
    element = {"f": "f", "i": "i", "u": "ui"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    # "main" is the function's name.
    symbol = name + "_1" if name == "main" else name
    shape = "".join(f"{d}x" for d in array.shape)
    # Parameters come in the order of their first use; a tensor attribute's at its node.
    order = used.index(name) if name in used else len(used)
    listed.append((name != "table", order, f"{symbol} tensor<{shape}{element}> {array.nbytes} {digest}"))
for line in sorted(listed):
    print(line[2])
