"""The highest scores over ranks, against a sort of the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import distributed


def expected(scores, k):
    return np.lexsort((np.arange(len(scores)), -scores.astype(np.float32)))[:k]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 30), min_size=1, max_size=4), st.data())
def test_lattices_full_of_ties(world, seed, sizes, data):
    scores = np.random.default_rng(seed).integers(-2, 3, sum(sizes)).astype(np.float32)
    scores[:1] = -np.inf
    k = data.draw(st.integers(0, len(scores)))
    for answer in world.call(len(sizes), "top", scores=scores, sizes=sizes, k=[k] * 4):
        np.testing.assert_array_equal(answer[0], expected(scores, k))
        np.testing.assert_array_equal(answer[1], scores[expected(scores, k)])


def test_two_collectives(world):
    scores = np.random.default_rng(0).standard_normal(50_000)
    for answer in world.call(4, "top", scores=scores, sizes=[20_000, 0, 5, 29_995], k=[1000] * 4):
        np.testing.assert_array_equal(answer[0], expected(scores, 1000))
        assert answer[1].dtype == np.float32
        assert (answer[2].collectives, answer[2].bytes_sent) == (2, 4096 + 12 * 1000)


def test_tensors():
    answer = distributed.top_k(torch.tensor([1, 3, 2, 3]).bfloat16(), 3)
    assert answer.indices.tolist() == [1, 3, 2] and answer.scores.tolist() == [3, 3, 2]


def test_errors(world):
    scores = np.random.default_rng(0).standard_normal(60)
    for k, message in (([5, 6, 5], "k must be the same on all ranks"), ([61] * 3, "k must be between 0 and 60")):
        for error in world.call(3, "top", scores=scores, sizes=[10, 20, 30], k=k):
            assert isinstance(error, ValueError) and message in str(error)
    scores[[3, 40]] = np.nan
    for error in world.call(3, "top", scores=scores, sizes=[10, 20, 30], k=[5] * 3):
        assert "scores_shard holds NaN in rows 3, 40 of the pool" in str(error)
    with pytest.raises(TypeError, match=r"scores_shard must be \[N\] float, got \(3,\) int64"):
        distributed.top_k(np.arange(3), 1)


def test_different_functions_are_noticed(world):
    for error in world.call(2, "one_each", pool=np.ones((4, 2), np.float32)):
        assert "op must be the same on all ranks; rank 0 has 'top_k', rank 1 has 'kcenter_greedy'" in str(error)
