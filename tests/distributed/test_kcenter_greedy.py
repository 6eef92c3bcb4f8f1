"""k-center over ranks makes the picks of ``ops.kcenter_greedy`` on the pool as a whole, to the last bit."""

import warnings

import numpy as np
import pytest
import torch
from ranks import sizes_of

from autoal import distributed, ops
from autoal.distributed import traversal


def whole(pool, k, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ops.kcenter_greedy(pool, k, return_radius=True, **options)


def check(world, pool, k, *, ranks=(1, 2, 3, 4), sizes=None, **options):
    """On so many ranks, with parts of unequal size; gives the traffic of the last."""
    picks, radius = whole(pool, k, **options)
    for n in ranks:
        parts = sizes or sizes_of(len(pool), n)
        answers = world.call(n, "kcenter", pool=pool, sizes=parts, options={"k": k, **options})
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            np.testing.assert_array_equal(answer[0], picks)
            np.testing.assert_array_equal(answer[1], radius)
    return answers[0][2]


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def family(name, n=6000, d=24):
    rng, x = np.random.default_rng(1), normal(n, d)
    if name == "clusters, in order":
        return (normal(40, d)[np.arange(n) * 40 // n] * 100 + 0.01 * x).astype(np.float32)
    if name == "copies":
        return x[rng.integers(0, 60, n)]
    if name == "codes":
        return (x[:, :8] > 0).astype(np.float32)
    if name == "heavy":
        return (x / rng.random((n, 1)) ** 2).astype(np.float32)
    return x


@pytest.mark.parametrize("name", ["gaussian", "clusters, in order", "copies", "codes", "heavy"])
def test_families(world, name):
    traffic = check(world, family(name), 150)
    assert traffic.collectives and traffic.rows_sent


def test_lattice_with_more_picks_than_candidates(world, lattice):
    check(world, lattice(5000, 5).numpy(), 2 * traversal.CANDIDATES)


def test_labeled_rows_and_a_first_pick(world):
    pool = normal(5000, 33)
    labeled = np.random.default_rng(2).choice(5000, 700, replace=False)
    check(world, pool, 200, labeled=labeled)
    free = int(np.setdiff1d(np.arange(5000), labeled)[77])
    check(world, pool, 200, labeled=labeled, first=free, ranks=(3,))
    check(world, pool, 20, first=4999, ranks=(4,))
    check(world, pool, 20, seed=5, ranks=(4,))


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_cosine_and_dtypes(world, dtype):
    pool = (normal(4000, 40) * np.logspace(-1, 1, 4000)[:, None]).astype(dtype)
    pool[17] = 0
    check(world, pool, 150, metric="cosine", ranks=(1, 3))


def test_tensors_come_back_as_tensors(world):
    pool = torch.from_numpy(normal(3000, 20)).bfloat16()
    picks, radius = ops.kcenter_greedy(pool, 100, return_radius=True)
    for answer in world.call(2, "kcenter", pool=pool, sizes=[1000, 2000], options={"k": 100}):
        assert torch.equal(answer[0], picks) and torch.equal(answer[1], radius)


@pytest.mark.parametrize("sizes", [[0, 0, 3000, 0], [1, 2998, 0, 1], [0, 1500, 1500, 0]])
def test_empty_shards(world, sizes):
    check(world, normal(3000, 7), 60, ranks=(4,), sizes=sizes)


def test_all_rows(world):
    check(world, normal(300, 5), 300, ranks=(1, 4))
    check(world, normal(300, 5), 290, labeled=np.arange(10), ranks=(3,))
    check(world, np.ones((2, 3), np.float32), 2, ranks=(4,))
    check(world, np.empty((0, 3), np.float32), 0, ranks=(2,))
    check(world, normal(50, 3), 0, ranks=(2,))


def test_copies_are_taken_last_and_said_so(world):
    pool = normal(50, 4)[np.arange(2000) % 50]
    picks, _ = whole(pool, 300, labeled=[1500])
    answers = world.call(3, "kcenter", pool=pool, sizes=[900, 0, 1100], options={"k": 300, "labeled": [1500]})
    for answer in answers:
        np.testing.assert_array_equal(answer[0], picks)
        assert any("251 of 300 picks are copies" in warning for warning in answer[3])


def test_few_collectives(world):
    """999 plain passes take 999 collectives at least."""
    traffic = check(world, family("gaussian", 20_000, 48), 1000, ranks=(4,))
    assert traffic.collectives <= 40, traffic
    assert traffic.rows_sent <= 20 * traversal.CANDIDATES


def test_alone_without_a_group():
    pool = normal(3000, 12)
    answer = distributed.kcenter_greedy(pool, 100)
    picks, radius = whole(pool, 100)
    np.testing.assert_array_equal(answer.indices, picks)
    np.testing.assert_array_equal(answer.radius, radius)
    assert answer.traffic.collectives == 0


def test_progress():
    told = []
    distributed.kcenter_greedy(normal(3000, 12), 100, progress=told.append)
    assert told[-1] == 100 and told == sorted(told)
