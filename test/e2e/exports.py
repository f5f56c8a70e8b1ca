"""The exports that the end-to-end tests compile, with weights, below a folder of the build."""
import importlib.util
import json
import pathlib
import shutil

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = pathlib.Path(__file__).resolve().parents[2]
TINY = ROOT / "models" / "tiny"
GRAPHS = ROOT / "test" / "data" / "exports"

NAMES = ("dynamo_past_opset18", "dynamo_plain_opset23", "legacy_past_opset17",
         "small_past_opset18_fp16")
CACHED = tuple(name for name in NAMES if "past" in name)


def load_script(name):
    """A script of the project as a module."""
    path = ROOT / name
    spec = importlib.util.spec_from_file_location(path.stem.replace("-", "_"), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _legacy(path):
    """The TorchScript export has the weights inside, transposed where it multiplies by them."""
    sources = {t.name: numpy_helper.to_array(t)
               for t in onnx.load(TINY / "dynamo_past_opset18.onnx").graph.initializer}
    model = onnx.load(GRAPHS / "legacy_past_opset17.onnx")
    rules = json.loads((GRAPHS / "legacy_past_opset17.weights.json").read_text())
    for tensor in model.graph.initializer:
        rule = rules.get(tensor.name)
        if rule:
            value = sources[rule["source"]]
            value = value.T if rule["transposed"] else value
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
    onnx.save(model, path)


def _small(path):
    """Random weights of a size at which activations neither vanish nor overflow fp16."""
    random = np.random.default_rng(38)
    model = onnx.load(GRAPHS / "small_past_opset18_fp16.onnx", load_external_data=False)
    data = path.parent / (path.name + ".data")
    with open(data, "wb") as stream:
        for tensor in model.graph.initializer:
            if tensor.data_location != onnx.TensorProto.EXTERNAL:
                continue
            dims = tuple(tensor.dims)
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            if len(dims) == 1:
                value = 1 + 0.1 * random.standard_normal(dims)
            else:
                value = random.standard_normal(dims) / np.sqrt(dims[-1])
            raw = value.astype(dtype).tobytes()
            del tensor.external_data[:]
            for key, text in (("location", data.name), ("offset", str(stream.tell())),
                              ("length", str(len(raw)))):
                tensor.external_data.add(key=key, value=text)
            stream.write(raw)
    onnx.save(model, path)


def export(name, folder):
    """Path of the export's .onnx file in `folder`, which is filled when it has none."""
    path = pathlib.Path(folder) / f"{name}.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "legacy_past_opset17":
        _legacy(path)
    elif name == "small_past_opset18_fp16":
        _small(path)
    else:
        shutil.copy(TINY / "dynamo.onnx.data", path.parent / "dynamo.onnx.data")
        shutil.copy(TINY / f"{name}.onnx", path)
    return path


def with_weights(model_path, weights, path):
    """A dynamo export with other values, [out, in], for its linear weights, by the names of their
    parameters: that of the node that reads the weight, since the exporter made the initializers' up.
    """
    model = onnx.load(model_path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    readers = {node.name: node for node in model.graph.node}
    for name, value in weights.items():
        node = readers["node_" + name.removesuffix(".weight")]
        tensor = next(tensors[n] for n in node.input if n in tensors)
        assert tuple(tensor.dims) == value.shape[::-1]  # the exporter transposes them
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value.T, np.float32),
                                                tensor.name))
    onnx.save(model, path)
    return path
