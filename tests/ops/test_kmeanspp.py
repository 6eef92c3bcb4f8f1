"""kmeanspp against the reference draw for draw, and against the enumerated D^2 law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import check_law, enumerate_law, squared_distances
from scipy.stats import chisquare

from autoal import ops
from autoal.ops import native, reference

DRAWS = 6000


def test_the_law(device, dtype):
    x = torch.tensor([[0, 0], [0, 1], [3, 0], [3, 2], [-2, 4], [0, 0]]).to(device, dtype)
    picks = [ops.kmeanspp(x, 3, seed=seed).tolist() for seed in range(DRAWS)]
    check_law(picks, enumerate_law(squared_distances(x.double().cpu()), np.full(6, 1 / 6)))


def test_the_law_across_chunks(device):
    """Weights are summed in chunks of 4,096 rows: draws must find every chunk with its share."""
    x = torch.zeros(10_000, 1, device=device)
    places = [1, 4095, 4096, 8191, 8192, 9999]
    x[places, 0] = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], device=device)
    weights = np.arange(1, 7) ** 2.0
    hits = [ops.kmeanspp(x, 2, first=0, seed=seed)[1].item() for seed in range(1000)]
    counts = np.array([hits.count(place) for place in places])
    assert counts.sum() == 1000
    assert chisquare(counts, 1000 * weights / weights.sum()).pvalue > 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("passes", [native.PLAIN, native.LAZY, native.AUTO], ids=["plain", "lazy", "auto"])
@pytest.mark.parametrize(
    ("n", "d", "k"), [(900, 31, 20), (1025, 1, 25), (5000, 16, 300), (20_000, 512, 500), (60_000, 70, 600)]
)
def test_cuda_draws_what_the_cpu_does(device, dtype, lattice, n, d, k, passes):
    if device == "cpu":
        pytest.skip("what the others are compared to")
    x = lattice(n, d, high=8)
    ours, theirs = (native.kmeanspp(y, -1, k, n, passes) for y in (x.to(device, dtype), x))
    assert torch.equal(ours[0].cpu(), theirs[0]) and int(ours[1]) == int(theirs[1])


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 5), st.data())
def test_reference_draw_for_draw(lattice, seed, n, d, data):
    x = lattice(n, d, seed=seed)
    k = data.draw(st.integers(1, n))
    first = data.draw(st.sampled_from([-1, n - 1]))
    ours = torch.ops.autoal.kmeanspp(x, first, k, seed)
    for a, b in zip(ours, reference.kmeanspp(x, first, k, seed), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("n", "d", "k"), [(4095, 3, 9), (4096, 3, 9), (4097, 3, 9), (9000, 17, 20), (50, 1000, 5)])
def test_reference_on_edge_sizes(n, d, k, lattice, dtype, device):
    x = lattice(n, d)
    picks, _ = reference.kmeanspp(x, -1, k, 11)
    assert torch.equal(ops.kmeanspp(x.to(device, dtype), k, seed=11).cpu(), picks)


def test_seeds():
    x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ops.kmeanspp(x, 9, seed=2**63 - 1), ops.kmeanspp(x, 9, seed=2**63 - 1))
    assert len({tuple(ops.kmeanspp(x, 9, seed=seed).tolist()) for seed in range(20)}) == 20
    assert ops.kmeanspp(x, 9, first=17)[0] == 17


def test_copies_fill_up_by_lowest_index(device):
    x = torch.tensor([[1.0], [2.0], [1.0], [2.0], [2.0]], device=device)
    with pytest.warns(ops.DuplicatesWarning, match="3 of 5 picks"):
        picks = ops.kmeanspp(x, 5, first=3).tolist()
    assert picks[0] == 3 and picks[1] in (0, 2) and picks[2:] == [i for i in range(5) if i not in picks[:2]]


def test_edges(device):
    assert ops.kmeanspp(torch.ones(1, 1, device=device), 1).tolist() == [0]
    assert ops.kmeanspp(torch.ones(3, 2, device=device), 0).shape == (0,)
    assert ops.kmeanspp(np.empty((0, 2), "f4"), 0).dtype == np.int64
    assert sorted(ops.kmeanspp(torch.randn(40, 2, device=device), 40).tolist()) == list(range(40))


def test_rows_that_are_not_finite():
    x = np.random.default_rng(0).standard_normal((20, 3)).astype("f4")
    x[[0, 5], 0] = np.nan
    with pytest.raises(ValueError, match="points holds NaN or Inf in rows 0, 5"):
        ops.kmeanspp(x, 3)
    good = np.setdiff1d(np.arange(20), [0, 5])
    for first in (None, 6):
        moved = None if first is None else 4
        expected = good[ops.kmeanspp(x[good], 18, first=moved, seed=3)]
        np.testing.assert_array_equal(ops.kmeanspp(x, 18, first=first, seed=3, on_nonfinite="drop"), expected)
    with pytest.raises(ValueError, match="k must be between 0 and 18"):
        ops.kmeanspp(x, 19, on_nonfinite="drop")
    with pytest.raises(ValueError, match="first must be a finite row; row 5"):
        ops.kmeanspp(x, 1, first=5, on_nonfinite="drop")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 5}, ValueError, "k must be between 0 and 4, the rows that can be picked; got 5"),
        ({"k": True}, TypeError, "k must be an integer"),
        ({"first": -1}, ValueError, "first must be between 0 and 3"),
        ({"seed": 2**63}, ValueError, "seed must be between"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"on_nonfinite": "keep"}, ValueError, "on_nonfinite"),
        ({"points": [["a"]]}, TypeError, "points must be .* no numeric array"),
        ({"points": torch.zeros(2, 2, dtype=torch.long)}, TypeError, "convert it with .float"),
    ],
)
def test_errors(options, error, message):
    arguments = {"points": np.zeros((4, 2), "f4"), "k": 1, **options}
    with pytest.raises(error, match=message):
        ops.kmeanspp(arguments.pop("points"), arguments.pop("k"), **arguments)
