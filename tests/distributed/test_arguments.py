"""What is wrong on one rank, or differs between ranks, is told on all of them, and none waits."""

import numpy as np
import pytest
import torch

from autoal import distributed


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def errors(world, options, pool=None, sizes=(10, 20, 30), ranks=3):
    pool = normal(60, 4) if pool is None else pool
    answers = world.call(ranks, "kcenter", pool=pool, sizes=list(sizes), options=options)
    assert all(isinstance(answer, Exception) for answer in answers), answers
    return [f"{type(answer).__name__}: {answer}" for answer in answers]


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"k": 6}, "k must be the same on all ranks; rank 0 has 5, rank 1 has 6"),
        ({"metric": "cosine"}, "metric must be the same on all ranks; rank 0 has 'l2', rank 1 has 'cosine'"),
        ({"seed": 3}, "seed must be the same on all ranks; rank 0 has 0, rank 1 has 3"),
        ({"first": 3}, "first must be the same on all ranks; rank 0 has None, rank 1 has 3"),
        ({"labeled": [3]}, "labeled must be the same on all ranks; rank 0 has 'none', rank 1 has '1 rows"),
        ({"shard": normal(20, 5)}, "columns must be the same on all ranks; rank 0 has 4, rank 1 has 5"),
        ({"shard": torch.ones(20, 4).half()}, "dtype must be the same on all ranks; rank 0 has 'float32', rank 1 has"),
        ({"checkpoint": "x.json"}, "checkpoint (given or not) must be the same on all ranks"),
    ],
)
def test_ranks_disagree(world, others, message):
    told = errors(world, [{"k": 5}, {"k": 5, **others}, {"k": 5}])
    assert all(message in each for each in told), told


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": -1}, "ValueError: k must be at least 0; got -1"),
        ({"k": 1.5}, "TypeError: k must be an integer"),
        ({"shard": np.zeros((3, 4), np.int32)}, "TypeError: shard must be [N, D] float"),
        ({"shard": np.zeros((3, 0), np.float32)}, "ValueError: shard must be [N, D] with at least one column"),
        ({"metric": "euclid"}, "ValueError: unknown metric 'euclid'"),
        ({"labeled": [1, 1]}, "ValueError: labeled must not repeat an index"),
    ],
)
def test_wrong_on_one_rank(world, wrong, message):
    told = errors(world, [{"k": 5}, {"k": 5}, {"k": 5, **wrong}])
    assert message in told[2]
    assert all("ValueError: rank 2: " + message.split(": ", 1)[1] in each for each in told[:2]), told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 61}, "k must be between 0 and 60, the rows that can be picked; got 61"),
        ({"k": 60, "labeled": [59]}, "k must be between 0 and 59, the rows that can be picked; got 60"),
        ({"k": 5, "labeled": [60]}, "labeled must lie in [0, 60), the rows of the pool; got 60"),
        ({"k": 5, "first": 60}, "first must be between 0 and 59, the rows of the pool; got 60"),
        ({"k": 5, "first": 3, "labeled": [3]}, "first must be a row that is not labeled; row 3 is"),
    ],
)
def test_wrong_for_the_pool(world, options, message):
    told = errors(world, options)
    assert all(message in each for each in told), told


def test_rows_that_cannot_be_used_are_named_by_their_place_in_the_pool(world):
    pool = normal(60, 4)
    pool[[12, 45], 1] = np.nan
    pool[33, 2] = -np.inf
    told = errors(world, {"k": 5}, pool)
    assert all(
        "shard holds NaN or Inf in rows 12, 33, 45 of the pool: repair them on their rank" in each for each in told
    )
    pool = normal(60, 4)
    pool[41] = 1e19
    told = errors(world, {"k": 5}, pool)
    assert all("shard is too large in row 41 of the pool: squared distances overflow" in each for each in told)


def test_after_an_error_the_group_still_works(world):
    errors(world, {"k": 61})
    answers = world.call(3, "kcenter", pool=normal(60, 4), sizes=[10, 20, 30], options={"k": 5})
    assert all(len(answer[0]) == 5 for answer in answers)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"timeout": 0}, ValueError, "timeout must be above 0"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"group": object()}, ValueError, "group needs torch.distributed to be initialised"),
        ({"checkpoint_seconds": -1}, ValueError, "checkpoint_seconds must be"),
    ],
)
def test_of_one_rank(options, error, message):
    with pytest.raises(error, match=message):
        distributed.kcenter_greedy(normal(10, 2), 3, **options)


def test_tensors_of_other_devices_are_refused():
    with pytest.raises(ValueError, match=r"shard must be in the host's memory.* got a tensor on meta: pass shard\.cpu"):
        distributed.kcenter_greedy(torch.empty(5, 2, device="meta"), 3)
