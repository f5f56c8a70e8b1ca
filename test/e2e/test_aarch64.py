"""One module for x86 and AArch64: the runtime is cross-compiled and run by qemu-user."""
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import exports

EXPORT = "dynamo_past_opset18"
TARGETS = ["aarch64", "aarch64-v8.2+dotprod", "aarch64-v8.2+dotprod+i8mm"]
# Processors of the emulator, and the best target that each can run.
PROCESSORS = {"cortex-a53": TARGETS[0], "cortex-a76": TARGETS[1], "max": TARGETS[2]}
FORMATS = {
    "half": ["--dense", "f16"],
    "slots": ["--bits", 2, "--group", 64],
    "scattered": ["--bits", 3, "--circuit-layout", "scattered", "--activations", "int8"],
    "codebook": ["--bits", 2, "--codebook"],
}


@pytest.fixture(scope="session")
def arm_build(work):
    """The tools for AArch64. Kernels are compiled already: what is built need not be fast."""
    build = work / "aarch64"
    for program in ("aarch64-linux-gnu-g++", "qemu-aarch64", "ninja"):
        assert shutil.which(program), f"{program} is missing; run tools/setup/install.sh"
    toolchain = exports.ROOT / "cmake" / "toolchains" / "aarch64-linux-gnu.cmake"
    subprocess.run(["cmake", "-S", exports.ROOT, "-B", build, "-G", "Ninja", "-Wno-dev",
                    "-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O0",
                    "-DTACQ_BUILD_COMPILER=OFF", "-DTACQ_BUILD_TESTS=OFF",
                    f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"], check=True, capture_output=True)
    subprocess.run(["ninja", "-C", build, "tacq-run", "TACQRuntime"], check=True,
                   capture_output=True)
    return build


@pytest.fixture(scope="session")
def run_arm(arm_build):
    """run_arm(PROCESSOR, ARGUMENT...): tacq-run on an emulated processor."""
    def run(processor, *arguments, status=0):
        result = subprocess.run(["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", "-cpu", processor,
                                 arm_build / "bin" / "tacq-run", *map(str, arguments)], text=True,
                                capture_output=True, timeout=300)
        assert result.returncode == status, result.stderr[-2000:]
        return result
    return run


@pytest.fixture(scope="session")
def modules(tools, work, onnx_file, statistics):
    """modules(FORMAT): path of a module with code for both, compiled once."""
    done = {}

    def compiled(name):
        if name not in done:
            path = work / "modules" / f"aarch64-{name}.tacq"
            path.parent.mkdir(exist_ok=True)
            quantized = ["--stats", statistics] if "--bits" in FORMATS[name] else []
            tools.run("tacq-compile", onnx_file(EXPORT), *quantized, *FORMATS[name], "--target",
                      ",".join(f"cpu={target}" for target in ["host", *TARGETS]), "-o", path)
            done[name] = path
        return done[name]

    return compiled


@pytest.fixture(scope="session")
def tokens(work):
    path = work / "aarch64-ids.npy"
    line = (exports.TINY / "math_dev.jsonl").read_text().splitlines()[0]
    np.save(path, np.array([json.loads(line)["tokens"][:11]], np.int64))
    return path


def probabilities(path):
    logits = np.load(path).astype(np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.parametrize("name", FORMATS)
def test_results_agree_with_those_of_x86(tools, run_arm, modules, tokens, tmp_path, name):
    module = modules(name)
    tools.run("tacq-run", module, "--input", f"input_ids=@{tokens}", "--output",
              f"logits=@{tmp_path / 'x86.npy'}")
    expected = probabilities(tmp_path / "x86.npy")
    for processor in PROCESSORS:
        output = tmp_path / f"{processor}.npy"
        # Without the instructions of another target, or the emulator stops at one.
        run_arm(processor, module, "--device", "cpu:threads=1", "--input", f"input_ids=@{tokens}",
                "--output", f"logits=@{output}")
        if name == "half":
            # The default tolerances of tacq-run for f32.
            np.testing.assert_allclose(np.load(output), np.load(tmp_path / "x86.npy"), atol=2e-3,
                                       rtol=1e-4)
            continue
        # Sums in another order may round an activation to the next integer of 8 or 16 bits: a tenth
        # of what their rounding may cost at all (test_quantization.py).
        actual = probabilities(output)
        divergence = (expected * np.log(expected / actual)).sum(-1).mean()
        assert divergence < (0.002 if "int8" in FORMATS[name] else 1e-6), processor


def test_all_targets_share_the_weights(tools, modules):
    summary = json.loads(tools.run("tacq-dump", modules("slots"), "--json").stdout)
    weights = sum(tensor["bytes"] for tensor in summary["tensors"])
    sections = {section["name"]: section for section in summary["sections"]}
    # What is among the constants besides weights: small ones of the graph, alignment.
    assert 0 <= sections["data"]["constants_bytes"] - weights < 4096
    text = json.dumps(summary)
    for target in TARGETS:
        assert text.count(f'"{target}"') == 1


def test_code_for_other_processors(tools, run_arm, work, onnx_file, tokens):
    module = work / "modules" / "aarch64-only.tacq"
    tools.run("tacq-compile", onnx_file(EXPORT), "--target", f"cpu={TARGETS[2]}", "-o", module)
    arguments = [module, "--input", f"input_ids=@{tokens}"]
    message = run_arm("cortex-a53", *arguments, status=2).stderr
    assert f"'{TARGETS[2]}' needs dotprod, i8mm; the device is AArch64 processor" in message
    message = run_arm("cortex-a76", *arguments, status=2).stderr
    assert f"'{TARGETS[2]}' needs i8mm;" in message
    tools.fails("tacq-run", *arguments, status=2, says=["is of format elf64-aarch64",
                                                        "compile the model for this target"])


def test_npz_files_need_libzip(run_arm, modules, tmp_path):
    np.savez(tmp_path / "x.npz", input_ids=np.zeros((1, 2), np.int64))
    message = run_arm("max", modules("half"), "--input", f"@{tmp_path / 'x.npz'}", status=2).stderr
    assert "libzip" in message and "x.npz" in message


def test_instructions_of_a_product_with_one_row(tools):
    """The table of test/bench/README.md is what the script prints, and within its limit."""
    result = subprocess.run([sys.executable, exports.ROOT / "test" / "bench" / "aarch64-mca.py",
                             "--build", tools.build], text=True, capture_output=True)
    assert result.returncode == 0, result.stderr
    table = [line for line in result.stdout.splitlines() if line.startswith("|")]
    readme = (exports.ROOT / "test" / "bench" / "README.md").read_text()
    assert len(table) == 5
    assert "\n".join(table) in readme
