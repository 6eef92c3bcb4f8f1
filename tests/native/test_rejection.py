"""D^2 sampling by rejection: the law of plain passes, whatever is stale, and the same draws for any thread count."""

import numpy as np
import pytest
from laws import check_law, enumerate_law, squared_distances
from scipy.stats import chi2_contingency

from autoal import _core
from autoal.ops.native import LAZY, PLAIN

cpu = _core.cpu


@pytest.fixture(autouse=True)
def settings_are_put_back():
    isa, threads = cpu.isa(), cpu.num_threads()
    yield
    cpu.set_isa(isa)
    cpu.set_num_threads(threads)


def at(array):
    return array.ctypes.data


def kmeanspp(x, k, seed, passes=LAZY, first=-1, dtype=0, tick=None):
    picks, filled = np.empty(k, np.int64), np.empty(1, np.int64)
    cpu.kmeanspp(_core.Matrix(at(x), *x.shape, dtype), first, k, seed, passes, at(picks), at(filled), tick)
    return picks.tolist(), int(filled[0])


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize(
    "x",
    [
        [[0, 0], [0, 1], [3, 0], [3, 2], [-2, 4], [0, 0]],
        [[0], [1e-3], [2e-3], [100], [101], [1e4]],  # one row has nearly all the weight at first
        [[5, 5, 5], [5, 5, 5], [1, 0, 0], [0, 1, 0], [0, 0, 1], [9, 9, 9]],
    ],
)
def test_the_enumerated_law(x):
    x = np.array(x, np.float32)
    picks = [kmeanspp(x, 3, seed)[0] for seed in range(20_000)]
    check_law(picks, enumerate_law(squared_distances(x), np.full(6, 1 / 6)))


def clusters():
    """40 tight clusters of very different sizes and spreads: stale weights are far off once they are found."""
    rng = np.random.default_rng(5)
    which = rng.choice(40, 1500, p=rng.dirichlet(np.full(40, 0.5)))
    return which, (30 * normal(40, 8)[which] + rng.random((1500, 1)) ** 3 * normal(1500, 8, 1)).astype(np.float32)


@pytest.mark.parametrize("k", [2, 25, 90, 400])
def test_late_picks_have_the_law_of_plain_passes(k):
    """By chi-squared: which rows the last pick, and its cluster, fall on, under the two ways of sampling."""
    which, x = clusters()
    draws = 1500 if k < 400 else 300
    counts = np.zeros((2, 40))
    spread = np.zeros((2, 3))
    norm = np.linalg.norm(x, axis=1)
    level = np.searchsorted(np.quantile(norm, [0.5, 0.9]), norm)
    for way, passes in enumerate((PLAIN, LAZY)):
        for seed in range(draws):
            last = kmeanspp(x, k, seed + 10_000 * way, passes)[0][-1]
            counts[way, which[last]] += 1
            spread[way, level[last]] += 1
    seen = counts.sum(0) >= 10
    table = np.column_stack([counts[:, seen], counts[:, ~seen].sum(1)])
    assert chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 1e-4
    assert chi2_contingency(spread[:, spread.sum(0) > 0]).pvalue > 1e-4


@pytest.mark.parametrize("isa", cpu.isas())
def test_threads_change_nothing(isa):
    cpu.set_isa(isa)
    _, x = clusters()
    results = []
    for threads in (1, 2, 5):
        cpu.set_num_threads(threads)
        results.append(kmeanspp(x, 500, 3))
    assert results[0] == results[1] == results[2]


def test_instruction_sets_change_nothing_on_a_lattice():
    x = np.random.default_rng(3).integers(-8, 9, (4000, 33)).astype(np.float32)
    results = []
    for isa in cpu.isas():
        cpu.set_isa(isa)
        results.append(kmeanspp(x, 300, 1))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("dtype", [1, 2])
def test_halves(dtype):
    x = np.round(normal(2000, 33) * 64) / 64
    half = x.astype(np.float16) if dtype == 1 else (x.view(np.uint32) >> 16).astype(np.uint16)
    back = half.astype(np.float32) if dtype == 1 else (half.astype(np.uint32) << 16).view(np.float32)
    assert kmeanspp(half, 150, 4, dtype=dtype) == kmeanspp(back, 150, 4)


@pytest.mark.parametrize("n, k", [(1, 1), (2, 2), (64, 64), (65, 65), (4096, 10), (4097, 4097)])
def test_sizes(n, k):
    picks, filled = kmeanspp(normal(n, 3), k, 7)
    assert len(set(picks)) == k and filled == 0 and min(picks) >= 0 and max(picks) < n


def test_copies_fill_up_in_order():
    x = normal(50, 4)[np.random.default_rng(0).integers(0, 50, 3000)]
    for first in (-1, 17):
        picks, filled = kmeanspp(x, 200, 2, first=first)
        different = len(np.unique(x, axis=0))
        assert filled == 200 - different and len(set(picks)) == 200
        assert len(np.unique(x[picks[:different]], axis=0)) == different
        assert picks[different:] == np.setdiff1d(np.arange(3000), picks[:different])[:filled].tolist()
        assert first < 0 or picks[0] == first
    assert kmeanspp(np.ones((2000, 3), np.float32), 40, 0, first=5)[0] == [5, *(i for i in range(40) if i != 5)][:40]


def test_nearly_all_weights_vanish():
    """A few far rows, then a plateau of copies with a million times less weight, then nothing."""
    x = np.zeros((5000, 2), np.float32)
    x[:5] = 1e6 * np.arange(1, 11).reshape(5, 2)
    x[5:105, 0] = 1e-3 * np.arange(100)
    picks, filled = kmeanspp(x, 120, 1)
    assert filled == 120 - 105 and set(range(5)) < set(picks[:8])


def test_progress_is_told_in_order():
    told = []
    kmeanspp(normal(200_000, 64), 4000, 0, tick=told.append)
    assert told == sorted(told) and all(0 <= number <= 4000 for number in told)
