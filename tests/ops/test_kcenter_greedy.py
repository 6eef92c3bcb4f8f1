"""kcenter_greedy index for index against a plain farthest-first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal import ops
from autoal.ops import native, reference

EDGES = [(1, 1, 1), (2, 1, 2), (5, 3, 5), (31, 7, 10), (32, 8, 32), (33, 16, 5), (64, 17, 20), (257, 33, 40)]


def farthest_first(x, k, labeled=(), first=None):
    """Picks and covering radii in float64; the lowest index on ties."""
    x = np.asarray(x, np.float64)
    distance = np.full(len(x), np.inf)
    for row in labeled:
        distance = np.minimum(distance, np.square(x - x[row]).sum(1))
    free = np.ones(len(x), bool)
    free[list(labeled)] = False
    picks, radius = [], []
    for _ in range(k):
        pick = first if first is not None and not picks else int(np.where(free, distance, -1).argmax())
        picks.append(pick)
        free[pick] = False
        distance = np.minimum(distance, np.square(x - x[pick]).sum(1))
        radius.append(np.sqrt(distance.max()))
    return np.array(picks), np.array(radius)


def separated(n: int, d: int, seed: int = 0) -> torch.Tensor:
    """Real numbers whose distances are all clearly different."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
@pytest.mark.parametrize(("n", "d", "k"), EDGES)
def test_lattice_identity(n, d, k, lattice, dtype, device):
    x = lattice(n, d, seed=n)
    expected, radius = farthest_first(x, k, first=n // 2)
    ours, ours_radius = ops.kcenter_greedy(x.to(device, dtype), k, first=n // 2, return_radius=True)
    np.testing.assert_array_equal(ours.cpu(), expected)
    np.testing.assert_allclose(ours_radius.cpu(), radius, rtol=1e-6)


@pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 5), st.data())
def test_any_lattice(lattice, seed, n, d, data):
    x = lattice(n, d, seed=seed, high=3).numpy()
    labeled = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n - 1))
    k = data.draw(st.integers(1, n - len(labeled)))
    free = [row for row in range(n) if row not in labeled]
    first = data.draw(st.sampled_from(free) if not labeled else st.sampled_from([None, *free]))
    expected, radius = farthest_first(x, k, labeled, first)
    ours, ours_radius = ops.kcenter_greedy(x, k, labeled=labeled, first=first, return_radius=True)
    np.testing.assert_array_equal(ours, expected)
    np.testing.assert_allclose(ours_radius, radius, rtol=1e-6)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 5), st.booleans(), st.data())
def test_the_kernel_equals_the_reference(lattice, seed, n, n_centers, scaled, data):
    x = lattice(n, 2, seed=seed, high=2)
    centers = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: min(n_centers, n - 1)]
    scale = 2.0 ** torch.arange(n).remainder(3) if scaled else None
    k = data.draw(st.integers(0, n - len(centers)))
    first = -1 if len(centers) else 0
    ours = torch.ops.autoal.kcenter_greedy(x, scale, centers, first, k)
    for a, b in zip(ours, reference.kcenter_greedy(x, scale, centers, first, k), strict=True):
        torch.testing.assert_close(a, b)


def test_real_numbers(device):
    x = separated(2000, 48)
    labeled = np.arange(7, 2000, 150)
    expected, radius = farthest_first(x, 300, labeled)
    ours, ours_radius = ops.kcenter_greedy(x.to(device), 300, labeled=labeled, return_radius=True)
    np.testing.assert_array_equal(ours.cpu(), expected)
    np.testing.assert_allclose(ours_radius.cpu(), radius, rtol=1e-5)
    assert (ours_radius.diff() <= 0).all()
    assert not np.isin(ours.cpu(), labeled).any()


@pytest.mark.parametrize("d", [20, 200])
@pytest.mark.parametrize("kind", ["isotropic", "clusters", "copies"])
def test_lazy_is_plain_to_the_bit(device, dtype, d, kind):
    rng = np.random.default_rng(d)
    x = rng.standard_normal((10_000, d))
    if kind == "clusters":
        x = 0.01 * x + 10 * rng.standard_normal((150, d))[rng.integers(0, 150, len(x))] + 30
    if kind == "copies":
        x = x[rng.integers(0, 150, len(x))]
    x = torch.from_numpy(x).to(device, dtype)
    labeled = torch.arange(0, 10_000, 501, device=device)
    lazy, plain = (native.kcenter_greedy(x, None, labeled, -1, 300, passes) for passes in (native.LAZY, native.PLAIN))
    for ours, theirs in zip(lazy, plain, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.gpu
@pytest.mark.parametrize("d", [31, 64, 70, 512])  # from 64 columns on, products of factors rounded to bfloat16
@pytest.mark.parametrize("kind", ["lattice", "real", "copies"])
def test_lazy_is_plain_to_the_bit_on_cuda(device, dtype, d, kind, lattice):
    """In many rounds, with and without labeled rows and scale; on a lattice both are the CPU's too."""
    if device == "cpu":
        pytest.skip("smaller pools are enough for the CPU's, which are compared above")
    n, k = 20_000, 500
    x = lattice(n, d, seed=d) if kind == "lattice" else separated(n, d, seed=d)
    x = (x[torch.arange(n) % 400] if kind == "copies" else x).to(dtype)
    none, some = torch.empty(0, dtype=torch.int64), torch.arange(5, n, 997)
    for scale in (None, 2.0 ** torch.arange(n).remainder(3)):
        for centers, first in ((none, 17), (some, -1)):
            pool = x, scale, centers
            on_device = [None if part is None else part.to(device) for part in pool]
            plain = native.kcenter_greedy(*on_device, first, k, native.PLAIN)
            assert same(native.kcenter_greedy(*on_device, first, k, native.LAZY), plain)
            if kind == "lattice" and dtype == torch.float32:
                assert same(native.kcenter_greedy(*pool, first, k), plain)


def same(ours, theirs):
    """Picks, radii and the number of those that only fill up, to the last bit."""
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(ours, theirs, strict=True))


def test_far_from_the_origin_nothing_cancels():
    x = separated(300, 16, seed=3) + 1000
    np.testing.assert_array_equal(ops.kcenter_greedy(x, 100, first=0), farthest_first(x, 100, first=0)[0])


def test_cosine(device):
    x = separated(200, 12, seed=1) * torch.logspace(-3, 3, 200)[:, None]
    unit = x.double() / x.double().norm(dim=1, keepdim=True)
    expected, _ = farthest_first(unit, 40, labeled=[3, 50])
    ours, radius = ops.kcenter_greedy(x.to(device), 40, labeled=[3, 50], metric="cosine", return_radius=True)
    np.testing.assert_array_equal(ours.cpu(), expected)
    for j in (0, 10, 39):
        centers = unit[[3, 50, *expected[: j + 1]]]
        assert radius[j].item() == pytest.approx((1 - unit @ centers.T).min(1).values.max().item(), abs=1e-6)


def test_cosine_of_zeros_is_the_origin():
    x = np.array([[0, 0], [1, 0], [-2, 0], [0, 5]], np.float32)
    picks, radius = ops.kcenter_greedy(x, 3, labeled=[1], metric="cosine", return_radius=True)
    np.testing.assert_array_equal(picks, [2, 3, 0])
    np.testing.assert_allclose(radius, [1, 0.5, 0], atol=1e-6)


def test_the_first_pick_is_drawn_by_the_seed():
    x = separated(10, 3)
    hits = np.bincount([ops.kcenter_greedy(x, 1, seed=seed)[0] for seed in range(2000)], minlength=10)
    assert np.square(hits - 200).sum() / 200 < 33.7, "chi-squared, 9 degrees of freedom, 1e-4 tail"
    assert torch.equal(ops.kcenter_greedy(x, 5, seed=4), ops.kcenter_greedy(x, 5, seed=4))


def test_with_labeled_rows_the_seed_does_not_matter():
    x = separated(50, 3)
    a, b = (ops.kcenter_greedy(x, 5, labeled=[1, 2], seed=seed) for seed in (0, 1))
    assert torch.equal(a, b)
    assert torch.equal(ops.kcenter_greedy(x, 5, labeled=[]), ops.kcenter_greedy(x, 5))


def test_copies_are_taken_last_by_lowest_index_and_said_so(device):
    x = torch.tensor([[1.5, 2], [0, 0.3], [1.5, 2], [0, 0.3], [9, 9]], device=device)
    with pytest.warns(ops.DuplicatesWarning, match="2 of 4 picks are copies"):
        picks, radius = ops.kcenter_greedy(x, 4, labeled=[2], return_radius=True)
    assert picks.tolist() == [4, 1, 0, 3]
    assert radius[1:].eq(0).all() and radius[0] > 0


@pytest.mark.filterwarnings("error")
def test_different_rows_give_no_warning():
    ops.kcenter_greedy(separated(20, 2), 20)


def test_all_rows_become_centers():
    x = separated(8, 2)
    picks, radius = ops.kcenter_greedy(x, 5, labeled=[0, 3, 6], return_radius=True)
    assert sorted(picks.tolist()) == [1, 2, 4, 5, 7]
    assert radius[-1] == 0 and torch.isfinite(radius).all()


def test_nothing_asked(device):
    picks, radius = ops.kcenter_greedy(separated(4, 2).to(device), 0, return_radius=True)
    assert picks.shape == radius.shape == (0,) and picks.dtype == torch.int64 and radius.dtype == torch.float32
    assert ops.kcenter_greedy(np.empty((0, 3), "f4"), 0).shape == (0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(bad):
    x = separated(40, 5).numpy()
    x[[3, 8, 20], 2] = bad
    with pytest.raises(ValueError, match=r"embeddings holds NaN or Inf in rows 3, 8, 20: .*on_nonfinite='drop'"):
        ops.kcenter_greedy(x, 5)
    good = np.setdiff1d(np.arange(40), [3, 8, 20])
    expected, _ = farthest_first(x[good], 37 - 2, labeled=np.flatnonzero(np.isin(good, [1, 30])))
    ours = ops.kcenter_greedy(x, 35, labeled=[1, 3, 30], on_nonfinite="drop")
    np.testing.assert_array_equal(ours, good[expected])
    with pytest.raises(ValueError, match="k must be between 0 and 35, the rows that can be picked; got 36"):
        ops.kcenter_greedy(x, 36, labeled=[1, 3, 30], on_nonfinite="drop")
    with pytest.raises(ValueError, match="first must be a finite row; row 8"):
        ops.kcenter_greedy(x, 2, first=8, on_nonfinite="drop")
    assert ops.kcenter_greedy(x, 2, first=9, on_nonfinite="drop")[0] == 9


def test_rows_too_large_for_float32():
    x = separated(5, 2)
    x[2] = 1e19
    with pytest.raises(ValueError, match="embeddings is too large in row 2: squared distances overflow"):
        ops.kcenter_greedy(x, 2, on_nonfinite="drop")


def test_progress_reaches_the_end():
    seen: list[int] = []
    ops.kcenter_greedy(separated(100, 4), 50, progress=seen.append)
    assert seen[-1] == 50 and seen == sorted(seen)


def test_an_interrupt_in_progress_ends_the_op():
    def interrupt(picked):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ops.kcenter_greedy(separated(100, 4), 50, progress=interrupt)
    seen: list[int] = []
    ops.kmeanspp(separated(100, 4), 5)
    assert not seen, "the callback of one call is not that of the next"


@pytest.mark.parametrize(
    ("k", "options", "error", "message"),
    [
        (5, {}, ValueError, "k must be between 0 and 4, the rows that can be picked; got 5"),
        (4, {"labeled": [0]}, ValueError, "k must be between 0 and 3"),
        (-1, {}, ValueError, "k must be between"),
        (2.0, {}, TypeError, "k must be an integer, got 2.0"),
        (1, {"labeled": [4]}, ValueError, r"labeled must lie in \[0, 4\), the rows of the pool; got 4"),
        (1, {"labeled": [1, 1]}, ValueError, "labeled must not repeat an index; 1 comes 2 times"),
        (1, {"labeled": [0.5]}, TypeError, "labeled must be .* indices"),
        (1, {"labeled": np.array([True, False, False, False])}, TypeError, "np.flatnonzero"),
        (1, {"labeled": [1], "first": 1}, ValueError, "first must be a row that is not labeled; row 1 is"),
        (1, {"first": 4}, ValueError, "first must be between 0 and 3, the rows of the pool; got 4"),
        (1, {"metric": "euclid"}, ValueError, "unknown metric 'euclid'"),
        (1, {"seed": -1}, ValueError, "seed must be between"),
        (1, {"on_nonfinite": "ignore"}, ValueError, "on_nonfinite"),
    ],
)
def test_errors(k, options, error, message):
    with pytest.raises(error, match=message):
        ops.kcenter_greedy(separated(4, 2), k, **options)


def test_errors_of_the_array():
    with pytest.raises(TypeError, match=r"embeddings must be .* int32: convert it"):
        ops.kcenter_greedy(np.zeros((3, 2), np.int32), 1)
    with pytest.raises(ValueError, match=r"embeddings must be \[N, D\] float, got \(3,\)"):
        ops.kcenter_greedy(np.zeros(3, "f4"), 1)
    with pytest.raises(ValueError, match="at least one column"):
        ops.kcenter_greedy(np.zeros((3, 0), "f4"), 1)
