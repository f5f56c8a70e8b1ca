"""test/bench/compare-gpu.py: everything but the measuring, on a software device."""
import json
import os
import subprocess
import sys

import pytest

import exports
from test_vulkan import ICD

SCRIPT = exports.ROOT / "test" / "bench" / "compare-gpu.py"
pytestmark = pytest.mark.skipif(not ICD.exists(), reason="there is no software Vulkan device")
# What the peer's script prints, of two shapes and two types, and of its kernels.
PEER = """echo '{"shape": "32,4096,14336,32,8,32000", "type": "Q2_K", "prompt": 512, "tok_s": 1}'
echo '{"shape": "32,4096,14336,32,8,32000", "type": "Q2_K", "prompt": 0, "tok_s": 300.0}'
echo '{"shape": "32,4096,14336,32,8,32000", "type": "Q4_0", "prompt": 512, "tok_s": 10000}'
echo '{"shape": "22,2048,5632,32,4,32000", "type": "Q2_K", "prompt": 0, "tok_s": 600}'
echo '{"shape": "22,2048,5632,32,4,32000", "type": "Q4_0", "prompt": 0, "tok_s": 2}'
echo '  MUL_MAT(type_a=q2_K,type_b=f32,m=4096,n=1,k=14336,bs=[1,1],nr=[1,1]): 9000 runs - 13.10 us/run'
echo '  MUL_MAT(type_a=q3_K,type_b=f32,m=4096,n=1,k=14336,bs=[1,1],nr=[1,1]): 9000 runs - 27.20 us/run'
echo '  MUL_MAT(type_a=q2_K,type_b=f32,m=4096,n=512,k=14336,bs=[1,1],nr=[1,1]): 90 runs - 999.0 us/run'
"""
EXPECTED = {"matvec-2bit": 13.1, "matvec-2bit bandwidth": None, "matvec-2bit overlapping": None,
            "matvec-3bit": 27.2, "matvec-3bit bandwidth": None, "matvec-3bit overlapping": None,
            "matvec-2bit-uniform": 13.1, "matvec-2bit-uniform bandwidth": None,
            "matvec-2bit-uniform overlapping": None, "matvec-3bit-uniform": 27.2,
            "matvec-3bit-uniform bandwidth": None, "matvec-3bit-uniform overlapping": None,
            "decode-1.1b": 600, "decode-7.2b": 300, "decode-1.1b-uniform": 600,
            "decode-7.2b-uniform": 300, "prefill-7.2b": 10000}


def run(tools, folder, *arguments):
    environment = dict(os.environ, VK_ICD_FILENAMES=str(ICD), XDG_CACHE_HOME=str(folder / "cache"),
                       TMPDIR=str(folder))
    result = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], text=True,
                            capture_output=True, timeout=300, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def fake_peer(folder):
    """A script and a folder with the parts of it that are called directly."""
    script, peer, programs = folder / "peer.sh", folder / "peer", folder / "llama-vulkan" / "bin"
    peer.mkdir()
    programs.mkdir(parents=True)
    script.write_text(PEER)
    (peer / "random_blocks_gguf.py").write_text("import sys\nopen(sys.argv[3], 'w').close()\n")
    bench = programs / "llama-bench"
    bench.write_text("#!/bin/sh\nsleep 0.2\necho '{}'\n")
    bench.chmod(0o755)
    return script, peer


def test_all_rows(tools, tmp_path):
    modules = tmp_path / "modules"
    run(tools, tmp_path, "prepare", modules, "--build", tools.build, "--profile", "lavapipe",
        "--small")
    assert sorted(path.name for path in modules.iterdir()) == [
        f"{name}.tacq" for name in ("1.1b-uniform", "1.1b", "7.2b-uniform", "7.2b",
                                    "matvec-2bit-uniform", "matvec-2bit", "matvec-3bit-uniform",
                                    "matvec-3bit")]
    common = ("run", modules, "--bin", tools.build / "bin", "--small")
    rows = json.loads(run(tools, tmp_path, *common, "--json", "--llama", *fake_peer(tmp_path)))
    found = {row["row"]: row for row in rows}
    first = found.pop("first-token-1.1b")
    assert 0.2 < first["peer"] < 10 and first["ratio"] == first["tacq"] / first["peer"]
    assert {name: row["peer"] for name, row in found.items()} == EXPECTED
    for row in rows:
        assert row["tacq"] > 0
    product, decode = found["matvec-2bit"], found["decode-7.2b"]
    assert product["ratio"] == 13.1 / product["tacq"] and product["reach"] == 1.7
    assert decode["ratio"] == decode["tacq"] / 300 and decode["reach"] == 2.5
    for name in ("matvec-2bit", "matvec-2bit-uniform"):
        assert found[f"{name} bandwidth"]["reach"] == 0.7


def test_table(capsys):
    script = exports.load_script(SCRIPT)
    script.print_table(script.compare({"matvec-2bit": 10.0, "decode-7.2b": 600.0,
                                       "first-token-1.1b": 0.1}, {"matvec-2bit": 13.0}))
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| matvec-2bit, us | 10 | 13 | 1.3 | ≥ 1.7 |",
        "| decode-7.2b, tok/s | 600 | – | – | ≥ 2.5 |",
        "| first-token-1.1b, s | 0.1 | – | – | ≤ 0.7 |"]
