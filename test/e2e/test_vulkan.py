"""The vulkan target on a device: the same results as the cpu target.

The device is the one whose driver VK_ICD_FILENAMES names, or the software device.
"""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

import exports
import spirv
from cases import CaseFile
from test_node_cases import ARCHIVE, FOLDER, LIST, add_case

ICD = pathlib.Path("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json")
DRIVER = os.environ.get("VK_ICD_FILENAMES")
pytestmark = pytest.mark.skipif(not DRIVER and not ICD.exists(),
                                reason="there is no software Vulkan device")
EXPORT = "dynamo_past_opset18"
TARGETS = spirv.TARGETS + ",cpu=host"
# Products of integers: where a rounding falls on the other side, a whole step differs, of 8 bits or
# of 16, which these small weights have if nothing is said. "many" has panels with more slots than a
# workgroup has in shared memory at once.
INT8 = ["--activations", "int8"]
FORMATS = {"plain": ([], 1e-4), "slots": (["--bits", 2, *INT8], 0.6),
           "many": (["--bits", 2, "--circuit", "12%"], 5e-3),
           "groups": (["--bits", 2, "--group", 32], 5e-3),
           "uniform": (["--bits", 2, "--circuit-layout", "uniform", *INT8], 0.6),
           "list": (["--bits", 4, "--circuit-layout", "scattered"], 5e-3),
           "codes": (["--bits", 3, "--group", 64, "--circuit", 0, *INT8], 0.6),
           "mixed": (["--plan", "vulkan-plan.json"], 5e-3),
           "exact": (["--plan", "vulkan-plan.json", "--activations", "f32"], 1e-3),
           "exact-groups": (["--bits", 3, "--group", 64, "--circuit", "1%", "--circuit-layout",
                             "scattered", "--activations", "f32"], 1e-3)}

# Of the root mean square of logits, of how many prompts the texts are compared, and the share that
# is the same: docs/guides/vulkan.md has figures of many prompts.
TEXTS = {"plain": (1e-5, 5, 1), "slots": (0.012, 2, 0.96), "groups": (2e-4, 6, 1),
         "codes": (0.012, 4, 0.96), "mixed": (2e-4, 2, 1), "exact": (1e-5, 3, 1)}


@pytest.fixture(scope="module", autouse=True)
def device(work):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VK_ICD_FILENAMES", DRIVER or str(ICD))
        patch.setenv("XDG_CACHE_HOME", str(work / "cache"))
        yield


@pytest.fixture(scope="module")
def statistics(tools, work, onnx_file):
    line = (exports.TINY / "math_calib.jsonl").read_text().splitlines()[0]
    sample, path = work / "vulkan-sample.jsonl", work / "vulkan.stats"
    sample.write_text(json.dumps({"tokens": json.loads(line)["tokens"][:64]}) + "\n")
    tools.run("tacq-calibrate", onnx_file(EXPORT), "--data", sample, "-o", path)
    return path


@pytest.fixture(scope="module")
def mixed_plan(tools, work, onnx_file, statistics):
    """Neighbouring weights, those of gate and up among them, in different formats."""
    path = work / "vulkan-plan.json"
    tools.run("tacq-plan", onnx_file(EXPORT), "--stats", statistics, "--budget", "4bpw", "-o", path)
    plan = json.loads(path.read_text())
    formats = [{"bits": 2, "group": 0, "codebook": True, "circuit": 0},
               {"bits": 3, "group": 0, "codebook": False, "circuit": 0},
               {"bits": 2, "group": 0, "codebook": True, "circuit": 0.01},
               {"bits": 4, "group": 64, "codebook": False, "circuit": 0},
               {"bits": 3, "group": 0, "codebook": True, "circuit": 0.02}]
    for i, tensor in enumerate(plan["tensors"]):
        tensor.update(formats[i % len(formats)])
    path.write_text(json.dumps(plan))
    return path


@pytest.fixture(scope="module")
def modules(tools, work, onnx_file, statistics, mixed_plan):
    made = {}
    for name, (flags, _) in FORMATS.items():
        made[name] = work / f"vulkan-{name}.tacq"
        flags = [work / each if str(each).endswith(".json") else each for each in flags]
        more = ["--stats", statistics, "--method", "nearest", *flags] if flags else []
        tools.run("tacq-compile", onnx_file(EXPORT), *more, "--target", TARGETS, "-o", made[name])
    return made


def test_shaders_are_valid(tools, modules):
    for name in FORMATS:
        checks = spirv.ShaderChecks(tools.jobs)
        assert checks.check([modules[name]]) > 10 * len(spirv.PROFILES)
        # Codes are multiplied four at a time; many rows of 8 bits are multiplied as matrices.
        integers = name != "plain" and not name.startswith("exact")
        asked = ({6018} if integers else set()) | ({6022} if "int8" in FORMATS[name][0] else set())
        assert asked <= checks.used["nvidia-hopper"]


def inputs(past, count):
    random = np.random.default_rng(3)
    result = {"input_ids": random.integers(0, 256, (1, count)),
              "attention_mask": np.ones((1, past + count), np.int64),
              "position_ids": np.arange(past, past + count)[None]}
    for layer in range(6):
        for kind in ("key", "value"):
            shape = (1, 4, past, 32)
            result[f"past_key_values.{layer}.{kind}"] = random.standard_normal(shape, np.float32)
    return result


@pytest.mark.parametrize("name", FORMATS)
def test_logits_are_those_of_the_cpu(tools, work, modules, name):
    folder = work / "vulkan-tensors"
    folder.mkdir(exist_ok=True)
    flags = []
    for key, array in inputs(5, 7).items():
        np.save(folder / f"{key}.npy", array)
        flags += ["--input", f"{key}=@{folder / key}.npy"]
    logits = {}
    for device in ("cpu", "vulkan:0", "vulkan:0,staged"):
        path, token = folder / "logits.npy", folder / "token.npy"
        tools.run("tacq-run", modules[name], "--device", device, *flags, "--output",
                  f"logits=@{path}", "--output", f"next_token=@{token}")
        logits[device] = np.load(path)
        # The device chooses as the host would.
        assert np.load(token).tolist() == [[int(logits[device][0, -1].argmax())]]
    np.testing.assert_array_equal(logits["vulkan:0,staged"], logits["vulkan:0"])
    assert np.abs(logits["cpu"]).max() > 5
    np.testing.assert_allclose(logits["vulkan:0"], logits["cpu"], rtol=0, atol=FORMATS[name][1])


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_that_of_the_cpu(tools, modules, name):
    """What tools/dev/compare-devices.py does for many prompts and whole answers."""
    tolerance, count, share = TEXTS[name]
    result = subprocess.run(
        [sys.executable, str(exports.ROOT / "tools/dev/compare-devices.py"), str(modules[name]),
         "--tools", str(tools.build / "bin"), "--prompts",
         str(exports.TINY / "math_prompts.jsonl"), "--limit", str(count),
         "--max-new", "6", "--logits", "1", "--devices", "cpu,vulkan:0"],
        text=True, capture_output=True, check=True)
    found = json.loads(result.stdout)
    assert found["prompts"] == count and found["tokens"] == 6 * count
    assert found["same_texts"] >= share * count
    logits = found["logits"]
    assert 5 < logits["rms"] < 10
    assert 0 < logits["rms_difference"] < tolerance * logits["rms"]
    assert logits["largest_difference"] < FORMATS[name][1]


def test_operators(tools, work):
    """Some of the node tests that pass on the cpu."""
    import tarfile
    folder = work / "node"
    if not (folder / "done").exists():
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(work)
        (folder / "done").touch()
    cases = CaseFile(work / "vulkan-cases")
    for name in LIST.read_text().split()[5::22]:
        add_case(cases, folder / name)
    # Those whose shaders would need functions of f64, too.
    for name in ("test_pow_types_int64_float32", "test_flexattention_double_expanded_ver26",
                 "test_reduce_log_sum_exp_empty_set_expanded"):
        add_case(cases, folder / name)
    results = cases.run(tools, "--target", "vulkan=generic", "--device", "vulkan:0,staged")
    assert len(results) > 60
    assert not {name: r for name, r in results.items() if r["status"] != "PASS"}


def double_exp(path):
    """y = x * exp(sum(x + x)) of f64: of its kernels, one has no shader."""
    import onnx
    from onnx import TensorProto, helper
    x, y = (helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["n", 3]) for n in "xy")
    nodes = [helper.make_node("Add", ["x", "x"], ["t"], name="my_add"),
             helper.make_node("ReduceSum", ["t"], ["s"], name="my_sum"),
             helper.make_node("Exp", ["s"], ["e"], name="my_exp"),
             helper.make_node("Mul", ["x", "e"], ["y"], name="my_product")]
    graph = helper.make_graph(nodes, "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


@pytest.mark.parametrize("more", [[], ["--target", "cpu=host"]])
def test_what_has_no_shader_runs_on_the_cpu(tools, work, more):
    model, module = work / "double.onnx", work / "double.tacq"
    double_exp(model)
    targets = ",".join(["vulkan=generic", "vulkan=lavapipe", *more[1:]])
    said = tools.run("tacq-compile", model, "--target", targets, "-o", module).stderr
    assert "Exp node 'my_exp'" in said
    assert "on the CPU beside vulkan=generic, vulkan=lavapipe: shaders have no function 'exp'" in said
    assert "my_sum" not in said
    summary = json.loads(tools.run("tacq-dump", module, "--json").stdout)
    generic, lavapipe, host = summary["executables"]
    line, = generic["host_dispatches"]
    assert lavapipe["host_dispatches"] == generic["host_dispatches"]
    assert line["op"] == "Exp" and line["node"] == "my_exp"
    assert line["kernel"] in generic["absent_kernels"] and line["kernel"] in host["kernels"]
    assert host["driver"] == ("cpu" if more else "host")
    assert bool(host["absent_kernels"]) == (not more)
    x = np.arange(-4, 2).reshape(2, 3) / 9
    np.save(work / "double-x.npy", x)
    for device in ("vulkan:0", "vulkan:0,staged,threads=2", *(["cpu"] if more else [])):
        tools.run("tacq-run", module, "--device", device, "--input", f"x=@{work / 'double-x.npy'}",
                  "--output", f"y=@{work / 'double-y.npy'}")
        np.testing.assert_allclose(np.load(work / "double-y.npy"), x * np.exp(2 * x.sum()),
                                   rtol=1e-12)
    if not more:
        tools.fails("tacq-run", module, "--device", "cpu", "--input",
                    f"x=@{work / 'double-x.npy'}", status=2, says="no code for the driver 'cpu'")


def test_an_unknown_profile(tools, work):
    double_exp(work / "double.onnx")
    tools.fails("tacq-compile", work / "double.onnx", "--target", "vulkan=toaster", "-o",
                work / "double.tacq", status=1, says="profiles are generic, lavapipe")


@pytest.fixture(scope="module")
def validated(work):
    """The environment of a process that the validation layer watches, and a function that takes
    what the process has printed: the layer has to be there, and to have nothing to say."""
    settings = work / "vk_layer_settings.txt"
    settings.write_text("".join(f"khronos_validation.{key} = {value}\n" for key, value in (
        ("report_flags", "error,warn,perf,info"), ("log_filename", "stdout"),
        ("debug_action", "VK_DBG_LAYER_ACTION_LOG_MSG"))))

    def check(text):
        messages = [line for line in text.splitlines() if "Validation " in line]
        # It says at first that it is there.
        others = [line for line in messages if "Validation Information" not in line]
        assert "createinstance-status-message" in text, "there is no validation layer"
        assert not others, others[:5]
    return dict(os.environ, VK_LAYER_SETTINGS_PATH=str(settings)), check


@pytest.mark.parametrize("name,device", [
    ("plain", "vulkan:0"), ("slots", "vulkan:0,staged"), ("uniform", "vulkan:0"),
    ("list", "vulkan:0,staged"), ("exact", "vulkan:0")])
def test_the_validation_layer_has_nothing_to_say(tools, work, modules, validated, name, device):
    environment, check = validated
    prompts = work / "vulkan-validated.jsonl"
    prompts.write_text(json.dumps({"tokens": list(range(32, 58))}) + "\n")
    result = tools.run("tacq-run", modules[name], "--device", device, "--validate", "--generate",
                       "--prompts", prompts, "--max-new", 3, "--output",
                       work / "vulkan-validated-out.jsonl", env=environment)
    check(result.stdout + result.stderr)


# The conformance suite, products and attention of many shapes, and sessions that fail.
@pytest.mark.parametrize("program,tests", [
    ("TACQConformanceTests", "*vulkan*"),
    ("TACQDriverTests", "VulkanDense*:VulkanProduct*:TileDecode*"),
    ("TACQRuntimeTests", "VulkanSessions*-*WorkThatGoesOn*")])
def test_the_layer_has_nothing_to_say_of(tools, validated, program, tests):
    environment, check = validated
    environment = dict(environment, VK_INSTANCE_LAYERS="VK_LAYER_KHRONOS_validation")
    result = tools.run(program, f"--gtest_filter={tests}", env=environment)
    assert "[  PASSED  ]" in result.stdout and "SKIPPED" not in result.stdout
    check(result.stdout + result.stderr)


def test_devices(tools, work, modules):
    listed = tools.run("tacq-run", "--list-devices").stdout
    assert "cpu " in listed and "vulkan:0" in listed and (DRIVER or "llvmpipe" in listed)
    tools.fails("tacq-run", modules["plain"], "--device", "vulkan:9", status=2,
                says="there is no device 'vulkan:9'")
    tools.fails("tacq-run", modules["plain"], "--device", "vulkan:fast", status=1,
                says="has no option 'fast'")
    nothing = dict(os.environ, VK_ICD_FILENAMES="/nonexistent")
    tools.fails("tacq-run", modules["plain"], "--device", "vulkan:0", status=2, says="vulkan",
                env=nothing)
    assert "vulkan" not in tools.run("tacq-run", "--list-devices", env=nothing).stdout
    # Drivers of GPUs that this machine does not have come with lavapipe's.
    for icd in ICD.parent.glob("radeon_icd*.json"):
        absent = dict(os.environ, VK_ICD_FILENAMES=str(icd))
        assert "cpu " in tools.run("tacq-run", "--list-devices", env=absent).stdout
        tools.fails("tacq-run", modules["plain"], "--device", "vulkan:7", status=2,
                    says="there is no device 'vulkan:7'", env=absent)


def test_the_code_that_runs_is_named(tools, work, onnx_file):
    path, prompts = work / "vulkan-two.tacq", work / "vulkan-two.jsonl"
    prompts.write_text('{"tokens":[81,58,32]}\n')
    tools.run("tacq-compile", onnx_file(EXPORT), "--target",
              "vulkan=generic,vulkan=lavapipe,vulkan=nvidia-hopper", "-o", path)
    run = ("tacq-run", path, "--device", "vulkan:0", "--generate", "--prompts", prompts,
           "--max-new", 1, "--output", work / "vulkan-two-out.jsonl")
    notes = tools.run(*run, "--stats").stderr
    assert "note: module" in notes and "on vulkan, the first of the highest rank" in notes
    if not DRIVER:
        assert "runs its code for 'lavapipe'" in notes and "'nvidia-hopper' needs " in notes
    assert "note: module" not in tools.run(*run).stderr


def test_a_broken_pipeline_cache_is_ignored(tools, work, modules):
    prompts = work / "vulkan-one.jsonl"
    prompts.write_text('{"tokens":[81,58,32]}\n')
    run = ("tacq-run", modules["plain"], "--generate", "--prompts", prompts, "--max-new", 1,
           "--output", work / "vulkan-one-out.jsonl")
    tools.run(*run, "--device", "vulkan:0")
    caches = list((work / "cache" / "tacq").glob("vulkan-*.bin"))
    assert caches
    for cache in caches:
        data = bytearray(cache.read_bytes())
        data[len(data) // 2] ^= 255
        cache.write_bytes(data)
    tools.run(*run, "--device", "vulkan:0")


@pytest.mark.parametrize("flags", [["--kernel", "matvec", "--circuit", "0.35%"],
                                   ["--kernel", "matmul", "--n", 3, "--bits", 16]])
def test_one_product_is_measured(tools, work, flags):
    shape = ["--m", 64, "--k", 256, "--group", 128]
    path = work / "product.tacq"
    target = "vulkan=generic" if DRIVER else "vulkan=lavapipe"
    tools.run("tacq-bench", *flags, *shape, "--device", "vulkan", "--target", target, "--save",
              path)
    copy_bytes = path.stat().st_size
    result = tools.run("tacq-bench", path, "--rotate", "200K", "--device", "vulkan:0", "--json")
    line, = json.loads(result.stdout)
    assert line["copies"] == 200000 // line["streamed_bytes"] > 1
    assert 64 * 256 * 2 / 8 < line["streamed_bytes"] < copy_bytes
    for key in ("microseconds", "overlapping_microseconds", "gb_per_s", "read_gb_per_s"):
        assert line[key] > 0


def test_products_that_cannot_be_measured(tools, modules):
    result = tools.run("tacq-bench", modules["plain"], "--rotate", "1M", "--device", "vulkan:0",
                       status=2)
    assert "what can be measured is a module of one product" in result.stderr
