"""Forms of operators that the backend node tests leave out: older opsets, which have attributes
where newer ones have operands, dynamic sizes, and integer arithmetic, against ONNX Runtime."""
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cases import CaseFile

RANDOM = np.random.default_rng(5)
F = RANDOM.standard_normal((3, 4, 5)).astype(np.float32)
G = RANDOM.standard_normal((4, 5)).astype(np.float32)
I = RANDOM.integers(-20, 20, (3, 4)).astype(np.int64)
J = np.where(RANDOM.integers(0, 2, (3, 4)), 3, -4).astype(np.int64)
IMAGE = RANDOM.standard_normal((2, 4, 6, 4)).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


def case(name, opset, op, inputs, constants=(), outputs=1, dims=None, **attributes):
    """One node. `inputs` are the model's, the `constants` follow them as operands (None: absent);
    `dims` gives the inputs other dimensions, by default each its own names."""
    return {"name": name, "opset": opset, "op": op, "inputs": inputs, "constants": constants,
            "outputs": outputs, "dims": dims, "attributes": attributes}


CASES = [
    case("slice9", 9, "Slice", [F], starts=[1, -3], ends=[1000, -1], axes=[0, 2]),
    case("slice9_no_axes", 9, "Slice", [F], starts=[0, 1], ends=[2, 3]),
    case("slice_to_end", 13, "Slice", [F], [ints(1), ints(2**63 - 1), ints(-1)]),
    case("slice_backwards", 13, "Slice", [F],
         [ints(-1), ints(-(2**63)), ints(1), ints(-2)]),
    case("slice_last", 13, "Slice", [F], [ints(-2), ints(2**31 - 1), ints(1)]),
    case("slice_more_than_there_is", 13, "Slice", [F], [ints(-9), ints(9), ints(1)]),
    case("slice_empty", 13, "Slice", [F], [ints(3), ints(1), ints(1)]),
    case("slice_steps", 13, "Slice", [F], [ints(0, 4), ints(3, 0), ints(1, 2), ints(2, -3)]),
    case("slice_i32", 13, "Slice", [F], [np.int32([1]), np.int32([3]), np.int32([-2])]),
    case("split2", 11, "Split", [G], outputs=2, axis=1, split=[2, 3]),
    case("split2_equal", 11, "Split", [IMAGE], outputs=3, axis=2),
    case("split13", 13, "Split", [G], [ints(1, 3)], outputs=2),
    case("split18_uneven", 18, "Split", [G], outputs=2, axis=1, num_outputs=2),
    case("squeeze11", 11, "Squeeze", [F[:1]], axes=[0], dims=[[1, "b", "c"]]),
    case("squeeze11_all", 11, "Squeeze", [F[:1]], dims=[[1, 4, 5]]),
    case("squeeze13_negative", 13, "Squeeze", [F[:, :, :1]], [ints(-1)]),
    case("unsqueeze11", 11, "Unsqueeze", [G], axes=[0, -1]),
    case("unsqueeze13", 13, "Unsqueeze", [G], [ints(3, 0)]),
    case("reshape_rest", 13, "Reshape", [F], [ints(0, -1)]),
    case("reshape_split", 13, "Reshape", [IMAGE], [ints(0, 2, -1, 3, 4)]),
    case("flatten_negative", 13, "Flatten", [F], axis=-1),
    case("flatten_all", 13, "Flatten", [F], axis=3),
    case("transpose_default", 13, "Transpose", [F]),
    case("pad2", 10, "Pad", [G], pads=[1, 0, 2, 1], value=1.5),
    case("pad2_reflect", 10, "Pad", [G], mode="reflect", pads=[2, 1, 1, 3]),
    case("pad11_value", 11, "Pad", [G], [ints(0, -1, 1, 2), np.float32(2)]),
    case("pad18_axes", 18, "Pad", [F], [ints(1, 2), np.float32(-1), ints(-2)]),
    case("pad18_edge", 18, "Pad", [F], [ints(1, 2, 0, 0, 3, 1)], mode="edge"),
    case("pad19_wrap", 19, "Pad", [F], [ints(1, 2, 0, 0, 3, 1)], mode="wrap"),
    case("pad_int", 13, "Pad", [I], [ints(1, 0, 0, 1)]),
    case("clip6", 6, "Clip", [F], min=-0.5, max=0.25),
    case("clip11_max", 12, "Clip", [F], [None, np.float32(0.25)]),
    case("clip_int", 13, "Clip", [I], [np.int64(-3), np.int64(7)]),
    case("dropout7", 7, "Dropout", [F], ratio=0.3),
    case("dropout12", 12, "Dropout", [F], outputs=2),
    case("topk1", 9, "TopK", [F], outputs=2, axis=1, k=2),
    case("topk11_smallest", 11, "TopK", [I], [ints(3)], outputs=2, largest=0),
    case("topk11_ties", 11, "TopK", [J], [ints(4)], outputs=2, axis=-1),
    case("argmax11", 11, "ArgMax", [F], axis=1),
    case("argmax12_last", 12, "ArgMax", [J], axis=1, select_last_index=1, keepdims=0),
    case("argmin_unsigned", 13, "ArgMin", [F.astype(np.int32)], axis=-1),
    case("scatter9", 9, "Scatter", [F, np.int64([[[0, 2]]]), np.float32([[[7, 8]]])], axis=2),
    case("scatter_elements_mul", 16, "ScatterElements",
         [F, np.int64([[[0, 2, 2]]]), np.float32([[[7, 8, 3]]])], axis=2, reduction="mul"),
    case("scatter_nd_slices", 16, "ScatterND", [F, np.int64([[2], [0]]), F[:2] * 2],
         dims=[["a", "b", "c"], ["k", 1], ["k", "b", "c"]]),
    case("scatter_nd_add", 16, "ScatterND",
         [F, np.int64([[2, 1], [0, 3], [2, 1]]), F[0, :3]], reduction="add",
         dims=[["a", "b", "c"], ["k", 2], ["k", "c"]]),
    case("gather_negative", 13, "Gather", [F, np.int64([[-1, 0], [2, 1]])], axis=1),
    case("gather_nd_batch", 13, "GatherND", [F, np.int64([[1], [0], [-1]])], batch_dims=1,
         dims=[["a", "b", "c"], ["a", 1]]),
    case("gather_elements", 13, "GatherElements", [F, np.int64([[[4], [-1]]])], axis=2),
    case("one_hot", 11, "OneHot", [I], [ints(6), np.float32([-1, 2])], axis=1),
    case("add7_broadcast", 7, "Add", [F, G]),
    case("mod_int", 13, "Mod", [I, J]),
    case("mod_fmod_int", 13, "Mod", [I, J], fmod=1),
    case("mod_unsigned", 13, "Mod", [np.abs(I).astype(np.uint32), np.abs(J).astype(np.uint32)]),
    case("mod_float", 13, "Mod", [F, F * 0.3 + 2], fmod=1),
    case("div_int", 14, "Div", [I, J]),
    case("div_i32_min", 14, "Div", [np.int32([-7, 7, -8]), np.int32([2, -2, 3])]),
    case("pow_int_int", 15, "Pow", [I, np.abs(J)]),
    case("pow_float_int", 15, "Pow", [F, J[0, :1].astype(np.int32)]),
    case("pow_cube", 15, "Pow", [F], [np.float32(3)]),
    case("max_int", 13, "Max", [I, J, np.int64([[0]])]),
    case("min_unsigned", 13, "Min", [np.uint64([1, 2**63 + 5]), np.uint64([2**63, 7])]),
    case("less_unsigned", 13, "Less", [np.uint32([1, 2**31 + 5]), np.uint32([2**31, 7])]),
    case("shift_left", 11, "BitShift", [np.uint8([1, 200, 7]), np.uint8([7, 1, 3])],
         direction="LEFT"),
    case("cast_float_to_u8", 13, "Cast", [np.float32([0.2, 254.9, 17])], to=TensorProto.UINT8),
    case("cast_int_to_bool", 13, "Cast", [I], to=TensorProto.BOOL),
    case("cast_double_to_half", 13, "Cast", [F.astype(np.float64)], to=TensorProto.FLOAT16),
    case("cast_half_to_int", 13, "Cast", [(F * 9).astype(np.float16)], to=TensorProto.INT32),
    case("where_broadcast", 16, "Where", [G > 0, F, np.float32([[2]])]),
    case("prelu_channel", 16, "PRelu", [F, np.float32(np.full((4, 1), 0.3))]),
    case("shrink_int", 9, "Shrink", [I.astype(np.int32)], lambd=3.5, bias=1.0),
    case("concat_three", 13, "Concat", [F, F * 2, F[:, :1]], axis=1),
    case("tile", 13, "Tile", [G], [ints(2, 3)]),
    case("expand_both_ways", 13, "Expand", [F[:, :1]], [ints(2, 1, 4, 1)]),
    case("depth_to_space_crd", 13, "DepthToSpace", [IMAGE], blocksize=2, mode="CRD"),
    case("space_to_depth", 13, "SpaceToDepth", [IMAGE], blocksize=2),
    case("reverse_sequence", 10, "ReverseSequence", [G, ints(1, 3, 0, 5)], batch_axis=0,
         time_axis=1),
    case("trilu_lower", 14, "Trilu", [F], [np.int64(1)], upper=0),
    case("round_half_even", 11, "Round", [np.float32([0.5, 1.5, -2.5, 2.4999])]),
    case("is_inf_negative", 10, "IsInf", [np.float32([np.inf, -np.inf, np.nan, 1])],
         detect_positive=0),
    case("range_down", 11, "Range", [], [np.int64(7), np.int64(-4), np.int64(-3)]),
    case("eye_like", 9, "EyeLike", [G], k=1),
    case("selu", 6, "Selu", [F]),
    case("softplus_wide", 1, "Softplus", [np.float32([-30, -1, 0, 1, 30, 100])]),
    case("sigmoid_wide", 13, "Sigmoid", [np.float32([-90, -20, 0, 20, 90])]),
    case("tanh_small", 13, "Tanh", [np.float32([1e-6, -1e-3, 0.3, 5, -20])]),
    case("erf", 13, "Erf", [np.float32([1e-6, -1e-3, 0.3, 1, -2, 5])]),
    case("log_wide", 13, "Log", [np.float32([1e-30, 1e-3, 1, 1.0001, 7, 1e30])]),
    case("exp_wide", 13, "Exp", [np.float32([-100, -87, -1, 0, 1, 88])]),
    case("sin_large", 7, "Sin", [np.float32([-1000, -3, 0.1, 3, 1000])]),
]
FLOAT_FUNCTIONS = ["Abs", "Acos", "Asin", "Atan", "Atanh", "Ceil", "Cos", "Elu", "Floor",
                   "HardSigmoid", "LeakyRelu", "Neg", "Relu", "Sign", "Sinh", "Cosh", "Asinh",
                   "Softsign", "Tan", "ThresholdedRelu", "Celu", "Mish", "HardSwish"]
CASES += [case(f"{op.lower()}_f64" if double else op.lower(), 18, op,
               [np.linspace(-0.97, 0.97, 41, dtype=np.float64 if double else np.float32)])
          for op in FLOAT_FUNCTIONS for double in (False, True)
          if not double or op in ("Abs", "Ceil", "Floor", "Neg", "Sign", "Relu")]


def make_model(c):
    constants = list(c["constants"])
    names, infos, initializers = [], [], []
    for i, array in enumerate(c["inputs"]):
        names.append(f"x{i}")
        dims = c["dims"][i] if c["dims"] else [f"x{i}_{axis}" for axis in range(array.ndim)]
        infos.append(helper.make_tensor_value_info(
            names[-1], helper.np_dtype_to_tensor_dtype(array.dtype), dims))
    for i, array in enumerate(constants):
        names.append("" if array is None else f"c{i}")
        if array is not None:
            initializers.append(numpy_helper.from_array(np.asarray(array), names[-1]))
    outputs = [f"y{i}" for i in range(c["outputs"])]
    node = helper.make_node(c["op"], names, outputs, name="node", **c["attributes"])
    graph = helper.make_graph([node], "form", infos,
                              [onnx.ValueInfoProto(name=name) for name in outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", c["opset"])],
                              ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    for output in inferred.graph.output:
        output.type.tensor_type.ClearField("shape")
    return inferred


@pytest.fixture(scope="module")
def results(tools, work):
    folder = work / "operator-forms"
    (folder / "models").mkdir(parents=True, exist_ok=True)
    cases = CaseFile(folder)
    onnxruntime.set_default_logger_severity(4)
    for c in CASES:
        model = make_model(c)
        session = onnxruntime.InferenceSession(model.SerializeToString(),
                                               providers=["CPUExecutionProvider"])
        feed = {f"x{i}": array for i, array in enumerate(c["inputs"])}
        names = [output.name for output in session.get_outputs()]
        path = folder / "models" / f"{c['name']}.onnx"
        onnx.save(model, path)
        cases.add(c["name"], path, [(list(feed.items()), list(zip(names, session.run(names, feed))))],
                  rtol=1e-5, atol=1e-7)
    return cases.run(tools)


@pytest.mark.parametrize("name", [c["name"] for c in CASES])
def test_form(results, name):
    assert results[name]["status"] == "PASS", results[name]["message"]
