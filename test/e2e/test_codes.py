"""tools/dev/compare-codes.py, from which docs/Rationale.md has its figures, against what is known."""
import itertools
import re
import subprocess
import sys

import numpy as np
import pytest

import exports

SCRIPT = exports.ROOT / "tools" / "dev" / "compare-codes.py"


@pytest.fixture(scope="module")
def script():
    return exports.load_script("tools/dev/compare-codes.py")


def error(script, code, rows=16, columns=4096):
    weight = np.random.default_rng(3).standard_normal((rows, columns))
    code.fit(weight, np.ones(columns))
    return ((script.plain(code, weight) - weight) ** 2).mean() / (weight ** 2).mean()


def test_errors_on_normal_numbers(script):
    """Lloyd and Max's quantizers of 4 and 8 levels, and the better of two numbers at once."""
    assert error(script, script.Levels(2)) == pytest.approx(0.1175, rel=0.03)
    assert error(script, script.Levels(3)) == pytest.approx(0.0345, rel=0.05)
    scalar = error(script, script.Levels(2, shared=True))
    assert error(script, script.Vectors(4, 256)) < error(script, script.Vectors(2, 16)) < scalar
    fine, coarse = (error(script, script.Affine(2, 32, bits, bits)) for bits in (6, 4))
    assert fine < coarse < error(script, script.Affine(2, 32))


def test_trellis_is_searched_to_the_end(script):
    """The best of all sequences of codes from all states."""
    trellis = script.Trellis(4)
    random = np.random.default_rng(4)
    x = random.standard_normal((2, 5)).astype(np.float32)
    h = random.uniform(0.5, 2, 5).astype(np.float32)
    chosen = trellis.decode_best(x, h)
    for target, found in zip(x, chosen):
        least = np.inf
        for state in range(16):
            for codes in itertools.product(range(4), repeat=4):
                states = [state]
                for code in codes:
                    states.append((states[-1] << 2 | code) & 15)
                least = min(least, (h * (target - trellis.table[states]) ** 2).sum())
        assert (h * (target - found) ** 2).sum() == pytest.approx(least, rel=1e-5)


def test_compensation_lowers_the_error_of_results(script):
    random = np.random.default_rng(5)
    inputs = random.standard_normal((256, 64)) @ random.standard_normal((64, 64))
    hessian = inputs.T @ inputs / len(inputs)
    weight = random.standard_normal((32, 64))
    for code in (script.Levels(2), script.Vectors(2, 16)):
        code.fit(weight, np.diag(hessian))
        losses = [(((q - weight) @ hessian) * (q - weight)).sum() for q in
                  (script.plain(code, weight), script.compensated(code, weight, hessian))]
        assert losses[1] < 0.7 * losses[0]


def test_table_of_loops():
    """What the page says of instructions is what llvm-mca counts."""
    result = subprocess.run([sys.executable, SCRIPT, "--loops"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    table = [line for line in result.stdout.splitlines() if re.match(r"\| (uniform|levels|vec)", line)]
    page = (exports.ROOT / "docs" / "Rationale.md").read_text()
    assert len(table) == 6 and "\n".join(table) in page
