"""Blocked-lazy k-center of the CUDA source on the emulator, against plain passes of the same source and the CPU's.

Pools are just large enough that rounds cut, refresh and pick among a part of the rows.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import _core
from autoal.ops.native import LAZY, PLAIN

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

GUARD = 0xAB


def at(array):
    return 0 if array is None else array.ctypes.data


def kcenter(x, k, passes, *, first=-1, centers=(), scale=None, dtype=0, cpu=False, excluded=()):
    module = _core if cpu else emu
    centers, excluded = (np.asarray(rows, np.int64) for rows in (centers, excluded))
    picks, radius, filled = np.full(k, -7, np.int64), np.full(k, np.nan, np.float32), np.full(1, -7, np.int64)
    arguments = [module.Matrix(at(x), *x.shape, dtype), at(scale), at(centers), len(centers)]
    arguments += [at(excluded), len(excluded), first, k, passes, at(picks), at(radius), at(filled)]
    if cpu:
        _core.cpu.kcenter_greedy(*arguments, None)
    else:
        size = emu.kcenter_greedy_workspace(*x.shape, k)
        space = np.full(size + 512, 0xFF, np.uint8)
        space[:256] = space[-256:] = GUARD
        emu.kcenter_greedy(*arguments, at(space) + 256, 0, 0)
        assert (space[:256] == GUARD).all() and (space[-256:] == GUARD).all(), "written outside the workspace"
    return picks.tolist(), radius.tolist(), int(filled[0])


def check(x, k, **arguments):
    arguments = {"first": 0} | arguments
    plain = kcenter(x, k, PLAIN, **arguments)
    assert kcenter(x, k, LAZY, **arguments) == plain
    return plain


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


FAMILIES = (
    "gaussian",
    "clusters",
    "codes",
    "copies",
    "one point",
    "two far apart",
    "tiny",
    "tinier",
    "huge",
    "heavy",
    "grid",
)


def family(name, n, d):
    rng, x = np.random.default_rng(1), normal(n, d)
    if name == "clusters":  # fewer than picks, and tight
        return (normal(40, d)[rng.integers(0, 40, n)] * 100 + 1e-3 * x).astype(np.float32)
    if name == "codes":  # binary: plateaus of equal distances
        return (x > 0).astype(np.float32)
    if name == "copies":
        return x[rng.integers(0, 45, n)]
    if name == "one point":
        return np.repeat(x[:1], n, axis=0)
    if name == "two far apart":  # products of the rows say little about their distance
        return x + np.where(rng.random((n, 1)) < 0.5, np.float32(1000), np.float32(-1000))
    if name == "tiny":  # squares are subnormal
        return x * np.float32(1e-20)
    if name == "tinier":  # squares are a few of the smallest numbers there are
        return x * np.float32(5e-23)
    if name == "huge":
        return x * np.float32(1e17)
    if name == "heavy":
        return (x / rng.random((n, 1)) ** 2).astype(np.float32)
    if name == "grid":  # nearly equal distances that rounded products cannot tell apart
        return (rng.integers(0, 3, (n, d)) * 1.013 + 1e-4 * x).astype(np.float32)
    return x


@pytest.fixture(params=[1, 2, 3])
def blocks(request):
    emu.set_resident_blocks(request.param)
    yield request.param
    emu.set_resident_blocks(2)


@pytest.fixture(params=["forward", "reverse", "random", "eager"])
def order(request):
    emu.set_order(request.param, 7)
    yield request.param
    emu.set_order("forward")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("d", [3, 66])  # products of floats, and of floats rounded to bfloat16
def test_data_families(name, d):
    check(family(name, 500, d), 66)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (2, 2), (63, 63), (65, 64), (129, 129), (140, 139)])
def test_sizes(n, k):
    check(normal(n, 2), k)
    check(np.round(normal(n, 2)), k)


@pytest.mark.parametrize("d", [1, 31, 33, 64, 65])
def test_widths(d):
    check(normal(260, d), 70)


def test_orders_of_threads(order):
    x = np.random.default_rng(5).integers(-4, 5, (400, 6)).astype(np.float32)
    assert kcenter(x, 70, LAZY, first=3) == kcenter(x, 70, PLAIN, first=3, cpu=True)


def test_numbers_of_blocks(blocks):
    x = np.random.default_rng(6).integers(-2, 3, (500, 68)).astype(np.float32)
    assert kcenter(x, 70, LAZY, centers=range(40, 110)) == kcenter(x, 70, PLAIN, centers=range(40, 110), cpu=True)


def test_rows_that_leave_before_the_last_panel_meet_the_rest_later():
    x = np.random.default_rng(8).integers(-6, 7, (1200, 3)).astype(np.float32)
    emu.set_resident_blocks(1)  # a block with all panels to itself
    try:
        ours = kcenter(x, 200, LAZY, centers=range(260))
    finally:
        emu.set_resident_blocks(2)
    assert ours == kcenter(x, 200, PLAIN, centers=range(260), cpu=True)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_plateaus_that_a_cut_goes_through(seed):
    x = np.random.default_rng(seed).integers(0, 2, (700, 9)).astype(np.float32)
    assert kcenter(x, 150, LAZY, first=seed) == kcenter(x, 150, PLAIN, first=seed, cpu=True)


def test_labeled_rows_are_centers():
    x = normal(250, 5)
    labeled = np.random.default_rng(2).choice(250, 150, replace=False)
    picks, _, _ = check(x, 100, first=-1, centers=labeled)  # all that is left
    assert not set(picks) & set(labeled.tolist())
    free = int(np.setdiff1d(np.arange(250), labeled)[7])
    assert check(x, 10, first=free, centers=labeled)[0][0] == free


def test_copies_fill_up_by_lowest_index(order):
    x = np.tile(np.round(100 * normal(20, 4)), (15, 1))
    picks, radius, filled = kcenter(x, 250, LAZY, centers=range(30))
    assert filled == 250 and picks == list(range(30, 280)) and not any(radius)
    picks, radius, filled = kcenter(x, 280, LAZY, first=25)
    assert (picks, radius, filled) == kcenter(x, 280, PLAIN, first=25, cpu=True)
    assert filled == 260 and picks[20:] == [i for i in range(300) if i not in picks[:20]][:260]


@pytest.mark.parametrize("dtype", [1, 2])
def test_halves(dtype):
    x = np.round(normal(200, 65) * 64) / 64
    half = x.astype(np.float16) if dtype == 1 else (x.view(np.uint32) >> 16).astype(np.uint16)
    picks, _, _ = check(half, 70, dtype=dtype)
    back = half.astype(np.float32) if dtype == 1 else (half.astype(np.uint32) << 16).view(np.float32)
    assert kcenter(back, 70, LAZY, first=0)[0] == picks


@pytest.mark.parametrize("d", [9, 65])
def test_scaled_rows(d):
    x = normal(300, d)
    scale = (1 / np.linalg.norm(x, axis=1)).astype(np.float32)
    scale[17] = 0
    check(x, 60, scale=scale)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 150), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**31), st.data())
def test_small_lattices_full_of_ties(n, d, spread, seed, data):
    x = np.random.default_rng(seed).integers(-spread, spread + 1, (n, d)).astype(np.float32)
    labeled = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=min(n - 1, 9)))
    k = data.draw(st.integers(1, n - len(labeled)))
    first = -1 if labeled else data.draw(st.integers(0, n - 1))
    plain = kcenter(x, k, PLAIN, first=first, centers=labeled, cpu=True)
    assert kcenter(x, k, LAZY, first=first, centers=labeled) == plain


def check_without(x, k, passes, excluded, centers):
    """Excluded rows are as if they were not there."""
    ours = kcenter(x, k, passes, centers=centers, excluded=excluded)
    left = np.setdiff1d(np.arange(len(x)), excluded)
    without = kcenter(x[left], k, PLAIN, centers=np.searchsorted(left, centers), cpu=True)
    assert ours == (left[without[0]].tolist(), *without[1:])
    assert ours == kcenter(x, k, passes, centers=centers, excluded=excluded, cpu=True)


@pytest.mark.parametrize(("passes", "k"), [(PLAIN, 5), (LAZY, 66)])
def test_excluded_rows_in_any_order_of_threads(order, passes, k):
    check_without(
        np.random.default_rng(3).integers(-4, 5, (260, 6)).astype(np.float32), k, passes, range(0, 260, 3), [7]
    )


@pytest.mark.parametrize("passes", [PLAIN, LAZY])
def test_excluded_rows_do_not_fill_up(passes):
    x = np.random.default_rng(4).integers(-1, 2, (120, 3)).astype(np.float32)
    check_without(x, 78, passes, range(0, 120, 3), [7, 10])


@pytest.mark.parametrize("passes", [PLAIN, LAZY])
def test_a_labeled_row_that_is_excluded_is_a_center(passes):
    x = normal(300, 5)
    both = kcenter(x, 60, passes, centers=[3, 50], excluded=[3, 9])
    assert both == kcenter(x, 60, passes, centers=[3, 50], excluded=[9])
    assert 9 not in both[0]
