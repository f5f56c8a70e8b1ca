"""test/bench/compare.py: its arguments, what it reads from its peers, and its table."""
import json
import pathlib
import subprocess
import sys

import pytest

import exports

BENCH = exports.ROOT / "test" / "bench"
sys.path.insert(0, str(BENCH))
import compare  # noqa: E402
import peers  # noqa: E402
import table  # noqa: E402


def row(name):
    return table.selected([name])[0]


def test_rows_are_selected_by_the_beginning_of_their_names():
    assert table.selected([]) == list(table.ROWS)
    names = [r.name for r in table.selected(["decode-1.1b-3bit", "matmul"])]
    assert names == ["matmul", "matmul-vectors", "decode-1.1b-3bit-1t", "decode-1.1b-3bit-2t"]
    with pytest.raises(ValueError, match="no row 'nosuch'"):
        table.selected(["nosuch"])
    assert len({r.name for r in table.ROWS}) == len(table.ROWS)


def test_every_row_has_its_modules_and_peers():
    for r in table.ROWS:
        work, *rest = r.name.split("-")
        if work in ("decode", "prefill"):
            assert f"{rest[0]}-{rest[1]}" in compare.MODULES
    for preset, kind, _ in compare.MODULES.values():
        assert kind in ("f16", "f32")
        assert preset in ("small", "1.1b")


def test_medians_or_bests_decide():
    kernel = table.result(row("matvec-slots"), [1, 5, 3], [2, 4, 4])
    assert kernel["ratio"] == kernel["ratio_median"] == 3 / 4
    assert kernel["ratio_best"] == 5 / 4 and not kernel["reached"]
    model = table.result(row("decode-1.1b-2bit-1t"), [10, 48, 20], [10, 20, 1])
    assert model["ratio"] == model["ratio_best"] == 48 / 20
    assert model["reached"]  # 2.4, by the best samples
    memory = table.result(row("memory"), [109.0, 120.0], [100.0, 100.0])
    assert memory["best"] == 109 and memory["ratio"] == 1.145 and not memory["reached"]


def test_table():
    results = [table.result(row("matvec-slots"), [50.0, 60.0, 55.0], [50.0], "0.9 of reading"),
               table.result(row("decode-small-2bit-2t"), [1500.0], [838.0]),
               {"row": "matmul", "work": "w", "against": "a", "reach": 0.6,
                "error": "tacq-bench does not run: No such file or directory"}]
    lines = table.table(results).split("\n")
    assert len({line.count("|") for line in lines}) == 1
    assert "| 55 (60) | 50 (50) | **1.10** | 1.20 | ≥ 1 | reached; 0.9 of reading |" in lines[2]
    assert "| 1500 (1500) | 838 (838) | 1.79 | **1.79** | ≥ 2 | NOT REACHED |" in lines[3]
    assert "not measured: tacq-bench does not run" in lines[4]


PROBE = """2b g128                        350.0 us   47.9 Gw/s 13.48 GB/s 2.254 bpw relerr 1.0e-07
2b g128 + slots 0.47 %         400.2 us   41.9 Gw/s 12.00 GB/s 2.362 bpw relerr 1.2e-07
2b g128                        352.0 us   47.6 Gw/s 13.40 GB/s 2.254 bpw relerr 1.0e-07
AVX2 2b g128 8-row: 201.3 us 83.3 Gw/s 23.4 GB/s
"""

LLAMA = [{"n_prompt": 512, "n_gen": 0, "samples_ts": [53.1, 54.0]},
         {"n_prompt": 0, "n_gen": 64, "samples_ts": [14.4, 2.0]}]


def test_what_peers_print():
    samples = peers.parse_probe(PROBE)
    assert samples["2b g128"] == [47.9, 47.6]
    assert samples["2b g128 + slots 0.47 %"] == [41.9]
    assert samples["AVX2 2b g128 8-row"] == [83.3]
    assert peers.parse_llama(json.dumps(LLAMA)) == ([53.1, 54.0], [14.4, 2.0])


class Llama:
    """Counts its runs; Q4_0 reads fastest, Q2_K decodes fastest."""
    runs = 0

    def speeds(self, preset, kind, threads):
        Llama.runs += 1
        if kind == "IQ2_XXS":
            raise peers.CannotMeasure("llama_bench.sh failed")
        return {"Q2_K:pure": ([50.0], [15.0]), "Q4_0": ([60.0], [11.0])}[kind]


def test_models_take_the_fastest_peer(tmp_path, monkeypatch):
    """Rounds alternate, and the rows of one model share llama-bench's runs."""
    monkeypatch.setattr(peers.Tacq, "shapes", lambda self: {})
    module = tmp_path / "m.tacq"
    module.write_bytes(b"")
    monkeypatch.setattr(peers.Tacq, "module", lambda *_: module)
    monkeypatch.setattr(peers.Tacq, "speed", lambda *_: [120.0])
    options = compare.arguments(["--rounds", "2", "--work", str(tmp_path)])
    comparison = compare.Comparison(options)
    comparison.llama = Llama()
    prefill = comparison.measure(row("prefill-1.1b-2bit-1t"))
    assert prefill[:2] == ([120.0, 120.0], [60.0, 60.0]) and "Q4_0;" in prefill[2]
    assert prefill[2].endswith("; no IQ2_XXS")  # one that fails does not hide the others
    decode = comparison.measure(row("decode-1.1b-2bit-1t"))
    assert decode[1] == [15.0, 15.0]
    assert Llama.runs == 2 * 3


def compare_py(*arguments):
    return subprocess.run([sys.executable, BENCH / "compare.py", *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)


def test_arguments():
    assert compare_py("--list", "--only", "memory").stdout == "memory\n"
    for arguments, says in ((["--only", "nosuch"], "no row 'nosuch'"),
                            (["--rounds", 0], "--rounds must be positive")):
        result = compare_py(*arguments)
        assert result.returncode == 2 and says in result.stderr


def test_what_is_missing_is_said(tmp_path):
    """A row that cannot be measured says why, and the others go on."""
    result = compare_py("--only", "matvec-slots", "--only", "matmul", "--build", tmp_path,
                        "--probes", tmp_path / "nowhere", "--json")
    assert result.returncode == 1
    results = json.loads(result.stdout)
    assert [r["row"] for r in results] == ["matvec-slots", "matmul", "matmul-vectors"]
    assert all("tacq-bench does not run" in r["error"] for r in results)
    probes = peers.Probes(pathlib.Path("/nowhere"), tmp_path)
    with pytest.raises(peers.CannotMeasure, match="--probes"):
        probes.samples("gemv_slots", "2b g128")
