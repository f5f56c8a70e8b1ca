"""An application outside of the tree, as docs/guides/integrating.md describes it."""
import json
import subprocess

import exports

SAMPLE = exports.ROOT / "test" / "out-of-tree"


def run(*command, **options):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert result.returncode == 0, f"{command}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result.stdout


def install(tools, prefix):
    run("cmake", "--install", tools.build, "--prefix", prefix, "--component", "runtime")


def test_sample_generates_the_same_tokens(tools, module, tmp_path):
    install(tools, tmp_path / "prefix")
    run("cmake", "-S", SAMPLE, "-B", tmp_path / "build", "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}", "-DCMAKE_C_COMPILER=clang-19")
    run("cmake", "--build", tmp_path / "build")
    prompt = json.loads((exports.TINY / "math_prompts.jsonl").read_text().splitlines()[0])["tokens"]
    (tmp_path / "p.jsonl").write_text(json.dumps({"tokens": prompt}) + "\n")
    path = module("dynamo_past_opset18")
    tokens = run(tmp_path / "build" / "next-token", path, 12, *prompt).split()
    expected = json.loads(tools.run("tacq-run", path, "--generate", "--prompts",
                                    tmp_path / "p.jsonl", "--max-new", 12).stdout)["tokens"]
    assert [int(t) for t in tokens] == expected


def test_guide_shows_the_sample(tools):
    guide = (exports.ROOT / "docs/guides/integrating.md").read_text()
    assert (SAMPLE / "CMakeLists.txt").read_text().split("\n", 3)[3].strip() in guide


def test_every_installed_header_compiles_alone(tools, tmp_path):
    """The C API as C11, the C++ headers that need no further library as C++17."""
    install(tools, tmp_path / "prefix")
    include = tmp_path / "prefix" / "include"
    for header, language in (("tacq/runtime.h", "c"), ("tacq/kernel_abi.h", "c"),
                             ("tacq/driver.h", "c"), ("tacq/Error.h", "c++"),
                             ("tacq/ModuleFormat.h", "c++"), ("tacq/Npy.h", "c++")):
        source = tmp_path / ("x.c" if language == "c" else "x.cpp")
        source.write_text(f"#include <{header}>\n")
        run("clang-19", "-x", language, "-std=" + ("c11" if language == "c" else "c++17"),
            "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", source)


def test_runtime_alone_builds_without_llvm(tools, tmp_path):
    """-DTACQ_BUILD_COMPILER=OFF configures and builds the library with no LLVM to be found."""
    run("cmake", "-S", exports.ROOT, "-B", tmp_path, "-G", "Ninja", "-DTACQ_BUILD_COMPILER=OFF",
        "-DTACQ_BUILD_TESTS=OFF", "-DCMAKE_DISABLE_FIND_PACKAGE_LLVM=ON",
        "-DCMAKE_DISABLE_FIND_PACKAGE_MLIR=ON", "-DCMAKE_BUILD_TYPE=None",
        "-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19")
    run("cmake", "--build", tmp_path, "-j", tools.jobs, "--target", "TACQRuntime")
    library = next((tmp_path / "lib").glob("libtacq_runtime.so"))
    needed = run("readelf", "-d", library)
    assert "LLVM" not in needed and "MLIR" not in needed
