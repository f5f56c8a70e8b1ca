"""tools/dev/measure-layout.py, from which docs/Rationale.md has its figures, against what is known."""

import numpy as np
import pytest

import exports

SCRIPT = exports.ROOT / "tools" / "dev" / "measure-layout.py"


@pytest.fixture(scope="module")
def script():
    return exports.load_script("tools/dev/measure-layout.py")


def test_slots_of_tiles(script):
    """A panel's slot is worth the sum of its rows' next best entries of a tile."""
    saliency = np.zeros((32, 256), np.float32)
    saliency[0, 5], saliency[0, 7], saliency[3, 9], saliency[20, 200] = 4, 1, 2, 8
    worth = script.worths(script.slots_of(saliency))
    assert worth.shape == (2, 2, script.MOST)
    assert worth[0, 0, :3].tolist() == [6, 1, 0] and worth[1, 1, 0] == 8
    # Rows that are stored elsewhere take their entries along.
    order = np.arange(32)
    order[[3, 20]] = 20, 3
    worth = script.worths(script.slots_of(saliency), order)
    assert worth[0, 0, 0] == 4 and worth[0, 1, 0] == 8 and worth[1, 0, 0] == 2


def test_bytes_are_spent_where_they_keep_most(script):
    """One tensor: all slots that the budget pays for, and its tables; the rest at the same price."""
    worth = np.array([[[9.0, 4.0, 1.0]]])
    layout = script.Layout([((16, 128), worth, 0)])
    tables, slot = 1 * (1 + 4) + 4, 3 * 16
    assert layout.choose(5 / slot) == (tables + slot, 9.0, 1)
    assert layout.choose(0.5 / slot) == (tables + 3 * slot, 14.0, 3)
    assert layout.bytes_for(13.0) == pytest.approx(tables + 2 * slot, abs=1)


def test_clusters_find_rows_that_belong_together(script):
    """16 rows with an entry in one tile and 16 with one in another, mixed up: a slot for each."""
    random = np.random.default_rng(2)
    saliency = np.zeros((32, 256), np.float32)
    mixed = random.permutation(32)
    saliency[mixed[:16], 3], saliency[mixed[16:], 130] = 1, 1
    best = script.slots_of(saliency)
    order = script.cluster(best, 8.0, np.arange(32))
    assert sorted(order) == list(range(32))
    worth = script.worths(best, order)[:, :, 0]
    assert sorted(worth.ravel().tolist()) == [0, 0, 16, 16]
    assert script.worths(best)[:, :, 0].max() < 16


def test_quantizer_compensates(script):
    """With correlated inputs, what is left of a result is less than of rounding to the same levels."""
    random = np.random.default_rng(5)
    x = random.standard_normal((512, 8)) @ random.standard_normal((8, 128))
    x += 0.1 * random.standard_normal(x.shape)
    weight, hessian = random.standard_normal((16, 128)), x.T @ x / len(x)
    levels = script.affine_levels(weight)
    nearest = np.abs(weight[:, :, None] - levels[:, None]).argmin(2)
    plain = np.take_along_axis(levels, nearest, 1)
    found = script.gptq(weight, hessian, 128)

    def left(q):
        return np.einsum("ri,ij,rj", q - weight, hessian, q - weight)
    assert left(found) < 0.5 * left(plain)
