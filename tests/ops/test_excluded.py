"""Rows that no selection may pick: in all four ops, on every way that they go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from laws import check_law, enumerate_law, squared_distances

from autoal import ops
from autoal.ops import native, reference


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


SELECTIONS = {
    "kcenter_greedy": lambda x, k, **options: ops.kcenter_greedy(x, k, **options),
    "kmeanspp": lambda x, k, **options: ops.kmeanspp(x, k, **options),
    "gradient_kmeanspp": lambda x, k, **options: ops.gradient_kmeanspp(x[:, :3], x, k, **options),
    "coverage_greedy": lambda x, k, **options: ops.coverage_greedy(x, k, **options),
}


@pytest.mark.parametrize("name", SELECTIONS)
class TestEverySelection:
    @pytest.mark.parametrize("n, k", [(40, 9), (1500, 90)])
    def test_excluded_rows_are_never_picked(self, name, n, k, device):
        x = torch.from_numpy(normal(n, 6)).to(device)
        excluded = np.random.default_rng(1).choice(n, n // 2, replace=False)
        free = np.setdiff1d(np.arange(n), excluded)
        for seed in range(3):
            picks = SELECTIONS[name](x, k, excluded=excluded, seed=seed).tolist()
            assert len(set(picks)) == k and set(picks) <= set(free.tolist())

    @pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
    def test_all_that_is_left(self, name):
        x = normal(30, 4)
        x[15:] = x[:15]
        picks = SELECTIONS[name](x, 20, excluded=range(3, 13))
        assert sorted(picks.tolist()) == [0, 1, 2, *range(13, 30)]

    def test_none_excluded_is_nothing_said(self, name):
        x = normal(60, 4)
        np.testing.assert_array_equal(SELECTIONS[name](x, 9, excluded=[]), SELECTIONS[name](x, 9))

    def test_rows_that_are_dropped(self, name):
        x = normal(60, 4)
        x[[3, 8]] = np.nan
        left = np.setdiff1d(np.arange(60), [3, 8])
        excluded = [3, 5, 59]
        picks = SELECTIONS[name](x, 40, excluded=excluded, on_nonfinite="drop")
        same = SELECTIONS[name](x[left], 40, excluded=np.searchsorted(left, [5, 59]))
        np.testing.assert_array_equal(picks, left[same])

    @pytest.mark.parametrize(
        "excluded, error, message",
        [
            ([60], ValueError, r"excluded must lie in \[0, 60\), the rows of the pool; got 60"),
            ([1, 1], ValueError, "excluded must not repeat an index"),
            ([0.5], TypeError, "excluded must be .* indices"),
            (np.zeros(60, bool), TypeError, "np.flatnonzero"),
            (range(20), ValueError, "k must be between 0 and 40, the rows that can be picked; got 41"),
        ],
    )
    def test_errors(self, name, excluded, error, message):
        with pytest.raises(error, match=message):
            SELECTIONS[name](normal(60, 4), 41, excluded=excluded)

    def test_the_pool_is_not_copied(self, name, tmp_path):
        np.save(tmp_path / "x.npy", normal(50, 4))
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        np.testing.assert_array_equal(
            SELECTIONS[name](mapped, 9, excluded=[1, 2]), SELECTIONS[name](np.array(mapped), 9, excluded=[1, 2])
        )


@pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
@given(st.integers(0, 10**6), st.integers(2, 60), st.integers(1, 4), st.data())
def test_kcenter_greedy_of_any_lattice(lattice, seed, n, d, data):
    """Plain farthest-first over the rows that may be picked; their distances alone make the radius."""
    x = lattice(n, d, seed=seed, high=3).numpy().astype(np.float64)
    rows = st.lists(st.integers(0, n - 1), unique=True, max_size=n - 1)
    labeled, excluded = data.draw(rows), data.draw(rows)
    free = np.ones(n, bool)
    free[excluded] = False
    counted = free.copy()
    free[labeled] = False
    if not free.any():
        return
    k = data.draw(st.integers(1, int(free.sum())))
    distance = np.full(n, np.inf)
    for row in labeled:
        distance = np.minimum(distance, np.square(x - x[row]).sum(1))
    first = None if labeled else int(np.flatnonzero(free)[0])
    picks, radius = [], []
    for _ in range(k):
        picks.append(first if first is not None and not picks else int(np.where(free, distance, -1).argmax()))
        free[picks[-1]] = False
        distance = np.minimum(distance, np.square(x - x[picks[-1]]).sum(1))
        radius.append(np.sqrt(distance[counted].max()))
    ours = ops.kcenter_greedy(
        x.astype(np.float32), k, labeled=labeled, excluded=excluded, first=first, return_radius=True
    )
    np.testing.assert_array_equal(ours[0], picks)
    np.testing.assert_allclose(ours[1], radius, rtol=1e-6)


@pytest.mark.parametrize("kind", ["isotropic", "clusters", "copies"])
def test_lazy_kcenter_is_plain_to_the_bit(kind, device):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6000, 20)).astype(np.float32)
    if kind == "clusters":
        x = (0.01 * x + 10 * rng.standard_normal((150, 20))[rng.integers(0, 150, len(x))]).astype(np.float32)
    if kind == "copies":
        x = x[rng.integers(0, 150, len(x))]
    x, labeled = torch.from_numpy(x).to(device), torch.arange(0, 6000, 501, device=device)
    excluded = torch.from_numpy(rng.choice(6000, 3000, replace=False)).to(device)
    lazy, plain = (
        native.kcenter_greedy(x, None, labeled, -1, 300, passes, excluded=excluded)
        for passes in (native.LAZY, native.PLAIN)
    )
    for ours, theirs in zip(lazy, plain, strict=True):
        assert torch.equal(ours, theirs)


def test_the_first_pick_is_drawn_among_the_others():
    x, excluded = normal(10, 3), [0, 4, 9]
    for op in (ops.kcenter_greedy, ops.kmeanspp):
        hits = np.bincount([op(x, 1, excluded=excluded, seed=seed)[0] for seed in range(1400)], minlength=10)
        assert not hits[excluded].any()
        left = np.delete(hits, excluded)
        assert np.square(left - 200).sum() / 200 < 27.9, "chi-squared, 6 degrees of freedom, 1e-4 tail"


@pytest.mark.parametrize("passes", [native.PLAIN, native.LAZY])
def test_the_law_of_kmeanspp(passes):
    x = np.array([[0, 0], [0, 1], [9, 9], [3, 0], [3, 2], [-2, 4], [7, 0], [0, 0]], np.float32)
    left, excluded = np.array([0, 1, 3, 4, 5, 7]), torch.tensor([2, 6])
    pool = torch.from_numpy(x)
    picks = [native.kmeanspp(pool, 0, 3, seed, passes, excluded=excluded)[0].numpy() for seed in range(6000)]
    law = enumerate_law(squared_distances(x[left]), np.eye(6)[0])
    check_law([np.searchsorted(left, row).tolist() for row in picks], law)


def test_the_reference_leaves_the_same_rows_out(lattice):
    x, excluded = lattice(300, 3, seed=1, high=50), torch.arange(0, 300, 4)
    probs = torch.full((300, 4), 0.25)
    probs[:, 0] += torch.arange(300).remainder(3) / 8
    probs[:, 1] -= torch.arange(300).remainder(3) / 8
    centers = torch.tensor([1, 4])
    for name, arguments in (
        ("kcenter_greedy", (x, None, centers, -1, 40)),
        ("kmeanspp", (x, 5, 20, 3)),
        ("gradient_kmeanspp", (probs.clamp_min(0), True, 1e-3, x, 20, 3)),
    ):
        ours, theirs = (
            f(*arguments, excluded=excluded) for f in (getattr(torch.ops.autoal, name), getattr(reference, name))
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)


def test_a_row_that_is_labeled_too_is_a_center():
    x = normal(50, 3)
    both = ops.kcenter_greedy(x, 20, labeled=[3, 7], excluded=[3, 9])
    np.testing.assert_array_equal(both, ops.kcenter_greedy(x, 20, labeled=[3, 7], excluded=[9]))
    assert len(ops.kcenter_greedy(x, 47, labeled=[3, 7], excluded=[3, 9])) == 47


def test_excluded_rows_are_to_be_covered():
    """Of three heaps the largest is excluded: the pick nearest to it is worth most."""
    x = np.array([[0, 0]] * 9 + [[0.5, 0]] + [[10, 0]] * 4, np.float32)
    assert ops.coverage_greedy(x, 1, bandwidth=1.0, metric="l2", excluded=range(9))[0] == 9
    assert ops.coverage_greedy(x[9:], 1, bandwidth=1.0, metric="l2")[0] == 1
    assert ops.coverage_greedy(x, 1, bandwidth=1.0, metric="l2", excluded=range(9), labeled=[0])[0] == 10


@pytest.mark.parametrize("op", [ops.kcenter_greedy, ops.kmeanspp])
def test_a_first_that_is_excluded_is_refused(op):
    with pytest.raises(ValueError, match="first must be a row that is not excluded; row 2 is"):
        op(normal(5, 2), 2, first=2, excluded=[2, 3])
