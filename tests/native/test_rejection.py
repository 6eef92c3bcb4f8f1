"""D^2 sampling by rejection: the law of plain passes, whatever is stale, and the same draws for any thread count."""

import time

import numpy as np
import pytest
from laws import check_law, enumerate_law, squared_distances
from scipy.stats import chi2_contingency

from autoal import _core
from autoal.ops.native import LAZY, PLAIN

cpu = _core.cpu


def at(array):
    return array.ctypes.data


def kmeanspp(x, k, seed, passes=LAZY, first=-1, dtype=0, tick=None, excluded=()):
    picks, filled, excluded = np.empty(k, np.int64), np.empty(1, np.int64), np.asarray(excluded, np.int64)
    pool = _core.Matrix(at(x), *x.shape, dtype), at(excluded), len(excluded)
    cpu.kmeanspp(*pool, first, k, seed, passes, at(picks), at(filled), tick)
    return picks.tolist(), int(filled[0])


def badge(p, h, k, seed, passes=LAZY, kind=1, excluded=()):
    picks, filled, bad = np.empty(k, np.int64), np.empty(1, np.int64), np.empty(1, np.int64)
    outputs, embeddings = _core.Matrix(at(p), *p.shape, 0), _core.Matrix(at(h), *h.shape, 0)
    excluded = np.asarray(excluded, np.int64)
    pool = outputs, kind, 1e-3, embeddings, at(excluded), len(excluded)
    cpu.gradient_kmeanspp(*pool, k, seed, passes, at(picks), at(filled), at(bad), None)
    assert bad[0] == len(p)
    return picks.tolist(), int(filled[0])


def gradients(p, h):
    """[N, C * D] float64."""
    a = p.astype(np.float64)
    a[np.arange(len(p)), p.argmax(1)] -= 1
    return (a[:, :, None] * h[:, None, :].astype(np.float64)).reshape(len(p), -1)


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


def check_same_law(last_pick, draws, *groups):
    """Chi-squared: how often the last pick falls into each of the groups [N], by plain passes and by rejection."""
    picks = [[last_pick(seed + 10_000 * way, way) for seed in range(draws)] for way in (PLAIN, LAZY)]
    for group in groups:
        counts = np.array([np.bincount(group[rows], minlength=group.max() + 1) for rows in picks])
        often = counts.sum(0) >= 10
        table = np.column_stack([counts[:, often], counts[:, ~often].sum(1)])
        assert chi2_contingency(table[:, table.sum(0) > 0]).pvalue > 1e-4


@pytest.mark.parametrize("k", [2, 25, 90, 400])
def test_late_picks_have_the_law_of_plain_passes(k):
    """By chi-squared: which rows the last pick, and its cluster, fall on, under the two ways of sampling."""
    which, x = clusters()
    draws = 1500 if k < 400 else 300
    norm = np.linalg.norm(x, axis=1)
    level = np.searchsorted(np.quantile(norm, [0.5, 0.9]), norm)
    check_same_law(lambda seed, passes: kmeanspp(x, k, seed, passes)[0][-1], draws, which, level)


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


def compared(sampler, *arguments):
    """Pairs of rows that a call compares."""
    cpu.take_counts()
    sampler(*arguments)
    return sum(cpu.take_counts())


def test_a_row_that_was_left_alone_goes_on_where_it_was_left():
    """Copies until nothing else is left: each meets half of the centers until its own, and none of them twice."""
    x = normal(1000, 16)[np.random.default_rng(0).integers(0, 1000, 20_000)]
    assert sum(compared(kmeanspp, x, 1010, seed) for seed in range(3)) < 3 * 0.6 * 20_000 * 1000
    logits = 3 * normal(1000, 5, 1)[np.random.default_rng(0).integers(0, 1000, 20_000)]
    assert sum(compared(badge, logits, x, 1010, seed, LAZY, 0) for seed in range(3)) < 3 * 0.7 * 20_000 * 1000


def test_a_pool_with_nothing_left_is_soon_known_as_such():
    """Two different rows take two passes, and proposals as dear as half of one, not as all that there is to know."""
    x = np.zeros((400_000, 2), np.float32)
    x[::3] = 1
    assert kmeanspp(x, 30, 1)[1] == 28
    took = {PLAIN: [], LAZY: []}
    for passes in [PLAIN, LAZY] * 7:
        start = time.process_time()
        kmeanspp(x, 30, 1, passes)
        took[passes].append(time.process_time() - start)
    assert min(took[LAZY]) < 2 * min(took[PLAIN])


def test_nearly_all_weights_vanish():
    """A few far rows, then a plateau of copies with a million times less weight, then nothing."""
    x = np.zeros((5000, 2), np.float32)
    x[:5] = 1e6 * np.arange(1, 11).reshape(5, 2)
    x[5:105, 0] = 1e-3 * np.arange(100)
    picks, filled = kmeanspp(x, 120, 1)
    assert filled == 120 - 105 and set(range(5)) < set(picks[:8])


def test_progress_is_told_in_order():
    told = []
    kmeanspp(normal(1_000_000, 32), 20_000, 0, tick=told.append)
    assert told and told == sorted(told) and all(0 <= number <= 20_000 for number in told)


DYADIC = np.array([[4, 2, 2], [2, 4, 2], [0, 0, 8], [3, 3, 2], [7, 1, 0], [4, 2, 2]], np.float32) / 8


def test_the_enumerated_law_of_gradients():
    h = np.array([[1, 0], [0, 2], [3, 3], [1, -1], [-2, 1], [1, 0]], np.float32)
    g = gradients(DYADIC, h)
    first = np.zeros(6)
    first[np.square(g).sum(1).argmax()] = 1
    picks = [badge(DYADIC, h, 3, seed)[0] for seed in range(20_000)]
    check_law(picks, enumerate_law(squared_distances(g), first))


@pytest.mark.parametrize("certainty", [1, 30])
@pytest.mark.parametrize("c, k", [(2, 60), (12, 25), (12, 300)])
def test_late_gradients_have_the_law_of_plain_passes(c, k, certainty):
    """A certain model leaves most gradients near zero: proposals are mostly rejected."""
    which, x = clusters()
    logits = certainty * normal(1500, c, 3) + normal(40, c, 4)[which]
    draws = 1000 if k < 300 else 300
    sizes = np.exp(logits - logits.max(1, keepdims=True)).sum(1)
    level = np.searchsorted(np.quantile(sizes, [0.3, 0.6, 0.9]), sizes)
    check_same_law(lambda seed, passes: badge(logits, x, k, seed, passes, kind=0)[0][-1], draws, which, level)


@pytest.mark.parametrize("isa", cpu.isas())
def test_threads_change_nothing_of_gradients(isa):
    cpu.set_isa(isa)
    logits, h = 3 * normal(3000, 20, 1), normal(3000, 41, 2)
    results = []
    for threads in (1, 2, 5):
        cpu.set_num_threads(threads)
        results.append(badge(logits, h, 400, 3, kind=0))
    assert results[0] == results[1] == results[2] and len(set(results[0][0])) == 400


def test_instruction_sets_change_no_gradients_on_a_lattice():
    rng = np.random.default_rng(0)
    p = rng.multinomial(8, [0.2] * 5, 3000).astype(np.float32) / 8
    h = rng.integers(-4, 5, (3000, 21)).astype(np.float32)
    results = []
    for isa in cpu.isas():
        cpu.set_isa(isa)
        results.append(badge(p, h, 300, 1))
    assert all(result == results[0] for result in results)


def test_copies_of_gradients_fill_up_in_order():
    rng = np.random.default_rng(1)
    copies = rng.integers(0, 60, 2500)
    logits, h = 2 * normal(60, 7, 1)[copies], normal(60, 9, 2)[copies]
    picks, filled = badge(logits, h, 100, 5, kind=0)
    assert filled == 40 and len(set(copies[picks[:60]])) == 60
    assert picks[60:] == np.setdiff1d(np.arange(2500), picks[:60])[:40].tolist()
    certain = np.zeros((2500, 3), np.float32)
    certain[:, 0] = 1
    assert badge(certain, h, 50, 0) == (list(range(50)), 50), "no gradient is left"
