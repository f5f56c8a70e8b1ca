#!/usr/bin/env python3
"""Writes an ONNX model of many matrices with random weights that are all multiplied with one vector.

    make-matvec.py MODEL.onnx --outputs 4096 --inputs 14336 --copies 16 [--seed 0]

The result is the sum of the products. A run reads all matrices once, so that each is cold where
together they are larger than the caches: a run's time over the number of copies is that of a product.
Needs numpy and onnx.
"""
import argparse
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper


def make(path, outputs, inputs, copies, seed):
    bits = np.random.PCG64(seed)
    # f16 numbers of both signs from 2^-7 to 2^-6: raw bits are the same in all versions of numpy.
    sign, exponent, mantissa = 0x8000, 0x2000, 0x03FF
    data = path.with_suffix(".onnx.data")
    tensors, nodes, size = [], [], outputs * inputs * 2
    with open(data, "wb") as stream:
        for i in range(copies):
            raw = bits.random_raw((outputs * inputs + 3) // 4).astype("<u8").view("<u2")
            half = (raw[:outputs * inputs] & (sign | mantissa)) | exponent
            stream.write(half.tobytes())
            tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT16,
                                 dims=(inputs, outputs), data_location=TensorProto.EXTERNAL)
            for key, value in (("location", data.name), ("offset", i * size), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            tensors.append(tensor)
            nodes.append(helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"], name=f"product{i}"))
    nodes.append(helper.make_node("Sum", [f"y{i}" for i in range(copies)], ["y"], name="sum"))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, outputs])
    graph = helper.make_graph(nodes, "matvec", [x], [y], tensors)
    path.write_bytes(helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=pathlib.Path)
    for name, default in (("outputs", 4096), ("inputs", 14336), ("copies", 16), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    make(options.model, options.outputs, options.inputs, options.copies, options.seed)


if __name__ == "__main__":
    main()
