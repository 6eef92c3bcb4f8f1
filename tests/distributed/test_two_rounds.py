"""The certificate of two rounds: the radius is that of the picks, the bound below the best there is."""

import itertools

import numpy as np
import pytest
import torch

from autoal import distributed, ops


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def radius_of(pool, picks):
    return np.sqrt(np.square(pool[:, None].astype(float) - pool[picks].astype(float)).sum(2).min(1).max())


@pytest.mark.parametrize("sizes", [[900], [100, 800], [0, 3, 897], [300, 300, 0, 300]])
def test_certificate(world, sizes):
    pool = normal(900, 5)
    answers = world.call(len(sizes), "two_rounds", pool=pool, sizes=sizes, options={"k": 40})
    for indices, radius, lower, traffic, _ in answers:
        np.testing.assert_array_equal(indices, answers[0][0])
        assert len(set(indices.tolist())) == 40
        assert radius == pytest.approx(radius_of(pool, indices), rel=1e-5)
        exact = float(ops.kcenter_greedy(pool, 40, return_radius=True)[1][-1])
        assert 0 < lower <= exact and radius <= 4 * exact and radius / lower < 4
        assert traffic.collectives <= 3
    assert (len(sizes) > 1) == bool(traffic.collectives)


def test_no_choice_is_below_the_bound():
    for seed in range(20):
        pool = normal(11, 2, seed)
        for k in (1, 2, 3):
            answer = distributed.kcenter_two_rounds(pool, k, seed=seed)
            best = min(radius_of(pool, list(rows)) for rows in itertools.combinations(range(11), k))
            assert answer.lower_bound <= best * (1 + 1e-6) <= answer.radius * (1 + 2e-6)
            assert f"{k} picks, radius" in answer.certificate and "times the best" in answer.certificate


def test_cosine(world):
    pool = normal(600, 6) * np.logspace(-2, 2, 600, dtype=np.float32)[:, None]
    unit = pool / np.linalg.norm(pool, axis=1, keepdims=True)
    options = {"k": 30, "metric": "cosine"}
    for indices, radius, lower, *_ in world.call(3, "two_rounds", pool=pool, sizes=[100, 0, 500], options=options):
        assert radius == pytest.approx((1 - unit @ unit[indices].T).min(1).max(), abs=1e-5)
        assert 0 < lower < radius


def test_copies_and_sizes(world):
    pool = np.repeat(normal(5, 3), 20, axis=0)
    for indices, radius, lower, _, told in world.call(2, "two_rounds", pool=pool, sizes=[50, 50], options={"k": 8}):
        assert len(set(indices.tolist())) == 8 and (radius, lower) == (0, 0)
        assert len(told) == 1 and "3 of 8 picks are copies" in told[0]
    assert len(distributed.kcenter_two_rounds(torch.ones(3, 2), 0).indices) == 0
    for error in world.call(2, "two_rounds", pool=pool, sizes=[50, 50], options={"k": 101}):
        assert "k must be between 0 and 100" in str(error)
