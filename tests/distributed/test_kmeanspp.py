"""D^2 sampling over ranks: the same picks for any number of ranks, and the law of plain passes."""

import numpy as np
import pytest
import torch
from laws import check_law, enumerate_law, squared_distances
from ranks import sizes_of
from scipy.stats import chi2_contingency

from autoal import distributed, ops
from autoal.distributed import arrivals
from autoal.distributed.arrivals import Sampler
from autoal.distributed.ranks import Ranks
from autoal.distributed.shard import Shard
from autoal.ops import reference


def alone(x, k, seed, first=None):
    """Picks, without what surrounds the sampler."""
    first = int(reference.uniform(seed, 0) * len(x)) if first is None else first
    sampler = Sampler(Shard(torch.from_numpy(x), None, np.array([0, len(x)]), 0), Ranks(), first, k, seed)
    sampler.run(None)
    return sampler.picks


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def family(name, n=5000, d=12):
    rng, x = np.random.default_rng(1), normal(n, d)
    if name == "clusters":
        return (normal(40, d)[rng.integers(0, 40, n)] * 100 + 0.01 * x).astype(np.float32)
    if name == "copies":
        return x[rng.integers(0, 60, n)]
    if name == "heavy":
        return (x / rng.random((n, 1)) ** 2).astype(np.float32)
    return x


@pytest.mark.parametrize("name", ["gaussian", "clusters", "copies", "heavy"])
def test_any_number_of_ranks_makes_the_same_picks(world, name):
    pool = family(name)
    wanted = None
    for sizes in ([5000], sizes_of(5000, 2), [0, 4999, 1], sizes_of(5000, 4)):
        options = {"k": 200, "seed": 3}
        answers = world.call(len(sizes), "kmeanspp", pool=pool, sizes=sizes, options=options)
        for answer in answers:
            wanted = answer[0] if wanted is None else wanted
            np.testing.assert_array_equal(answer[0], wanted)
            assert bool(answer[2]) == (name == "copies"), "a warning of copies, where there are"
    assert len(set(wanted.tolist())) == 200
    assert len(sizes) == 4 and answer[1].collectives < 200


@pytest.mark.parametrize("size", [2, arrivals.SMALLEST])  # all picks in one window, or windows between them
def test_the_law_of_triples(monkeypatch, size):
    monkeypatch.setattr(arrivals, "SMALLEST", size)
    monkeypatch.setattr(arrivals, "LARGEST", size)
    x = np.array([[0, 0], [1, 0], [0, 2], [3, 3], [3, 3], [-4, 1], [0, 0.5]], np.float32)
    law = enumerate_law(squared_distances(x), np.full(7, 1 / 7))
    check_law([alone(x, 3, seed) for seed in range(1500)], law)


def test_a_gap_that_was_looked_at_is_not_used_again(monkeypatch):
    """That no arrival came any more says something of it; the law would be off by too little to be seen in picks."""
    window, seen = Sampler._window, []

    def watched(self, found):
        window(self, found)
        ids, place = np.unique(found["id"], return_inverse=True)
        last = np.full(len(ids), -1)
        np.maximum.at(last, place, found["number"])
        np.testing.assert_array_equal(self._number[ids], last + 2)
        seen.append(int((np.bincount(place) > 1).sum()))

    monkeypatch.setattr(Sampler, "_window", watched)
    alone(family("heavy"), 200, 0)
    assert len(seen) > 3 and max(seen) > 0, "rows with several arrivals were to be among them"


def test_late_picks_have_the_law_of_plain_passes():
    """Of many picks, most of which fall into large clusters: stale weights, windows with several arrivals of a row."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(12), [400, 200, 100, 50, 25, 12, 6, 3, 2, 2, 2, 2])
    x = (4 * rng.standard_normal((12, 3))[cluster] + rng.standard_normal((len(cluster), 3))).astype(np.float32)
    counts = np.zeros((2, 12))
    for seed in range(300):
        for side, picks in enumerate((alone(x, 60, seed), ops.kmeanspp(x, 60, seed=seed))):
            np.add.at(counts[side], cluster[np.asarray(picks[40:])], 1)
    assert chi2_contingency(counts[:, counts.min(0) > 5]).pvalue > 1e-3


def test_a_pool_that_runs_empty():
    x = np.round(normal(3000, 2) * 4)
    different = len(np.unique(x, axis=0))
    picks = alone(x, different, 1)
    assert len(np.unique(x[picks], axis=0)) == different
    with pytest.warns(ops.DuplicatesWarning, match=f"7 of {different + 7} picks are copies"):
        answer = distributed.kmeanspp(x, different + 7, seed=1)
    assert answer.indices[:different].tolist() == picks
    assert sorted(set(range(3000)) - set(picks))[:7] == answer.indices[different:].tolist()


def test_the_first_pick():
    x = normal(500, 3)
    assert distributed.kmeanspp(x, 5, first=77).indices[0] == 77
    assert distributed.kmeanspp(x, 5, seed=9).indices[0] == ops.kmeanspp(x, 1, seed=9)[0]
    assert len(distributed.kmeanspp(x, 0).indices) == 0
    assert distributed.kmeanspp(torch.from_numpy(x), 5).indices.dtype == torch.int64
    with pytest.raises(ValueError, match="first must be between 0 and 499"):
        distributed.kmeanspp(x, 5, first=500)


def test_errors_reach_all_ranks(world):
    pool = normal(60, 4)
    for options, message in (({"k": 61}, "k must be between 0 and 60"), ([{"k": 1}, {"k": 2}], "k must be the same")):
        for error in world.call(2, "kmeanspp", pool=pool, sizes=[20, 40], options=options):
            assert isinstance(error, ValueError) and message in str(error)
