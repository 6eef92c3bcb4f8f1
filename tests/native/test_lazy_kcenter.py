"""Blocked-lazy k-center makes the picks of plain passes: the same rows in the same order, the same radii."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import _core
from autoal.ops.native import LAZY, PLAIN

cpu = _core.cpu


def at(array):
    return 0 if array is None else array.ctypes.data


def kcenter(x, k, passes, first=0, centers=(), scale=None, dtype=0, excluded=()):
    centers, excluded = (np.asarray(rows, np.int64) for rows in (centers, excluded))
    picks, radius, filled = np.empty(k, np.int64), np.empty(k, np.float32), np.empty(1, np.int64)
    matrix = _core.Matrix(at(x), *x.shape, dtype)
    rows, answer = (at(centers), len(centers), at(excluded), len(excluded)), (at(picks), at(radius), at(filled))
    cpu.kcenter_greedy(matrix, at(scale), *rows, first, k, passes, *answer, None)
    return picks.tolist(), radius.tolist(), int(filled[0])


def check(x, k, **arguments):
    plain = kcenter(x, k, PLAIN, **arguments)
    assert kcenter(x, k, LAZY, **arguments) == plain
    return plain


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def family(name, n, d):
    rng, x = np.random.default_rng(1), normal(n, d)
    if name == "clusters":  # about as many as picks, and tight
        return (normal(150, d)[rng.integers(0, 150, n)] * 100 + 1e-3 * x).astype(np.float32)
    if name == "codes":  # binary: plateaus of equal distances
        return (x > 0).astype(np.float32)
    if name == "copies":
        return x[rng.integers(0, 60, n)]
    if name == "far from the origin":  # products of the rows say little about their distance
        return x + np.float32(1000)
    if name == "tiny":  # squares are subnormal
        return x * np.float32(1e-20)
    if name == "huge":
        return x * np.float32(1e17)
    if name == "heavy":
        return (x / rng.random((n, 1)) ** 2).astype(np.float32)
    return x


FAMILIES = ("gaussian", "clusters", "codes", "copies", "far from the origin", "tiny", "huge", "heavy")


@pytest.mark.parametrize("isa", cpu.isas())
@pytest.mark.parametrize("name", FAMILIES)
def test_data_families(isa, name):
    cpu.set_isa(isa)
    for n, d in ((1500, 3), (3000, 61)):
        check(family(name, n, d), 200)


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 64, 65])
def test_widths(d):
    check(normal(1200, d), 100)


@pytest.mark.parametrize("n, k", [(1, 1), (2, 2), (5, 5), (255, 255), (256, 256), (257, 257), (1025, 1025), (700, 1)])
def test_sizes(n, k):
    check(normal(n, 6), k)
    check(np.round(normal(n, 2)), k)


@pytest.mark.parametrize("dtype", [1, 2])
def test_halves(dtype):
    x = np.round(normal(2000, 33) * 64) / 64
    half = x.astype(np.float16) if dtype == 1 else (x.view(np.uint32) >> 16).astype(np.uint16)
    picks, _, _ = check(half, 150, dtype=dtype)
    back = half.astype(np.float32) if dtype == 1 else (half.astype(np.uint32) << 16).view(np.float32)
    assert kcenter(back, 150, LAZY)[0] == picks


def test_labeled_rows_are_centers():
    x = normal(2500, 20)
    labeled = np.random.default_rng(2).choice(2500, 400, replace=False)
    picks, _, _ = check(x, 300, first=-1, centers=labeled)
    assert not set(picks) & set(labeled.tolist())
    free = int(np.setdiff1d(np.arange(2500), labeled)[7])
    assert check(x, 300, first=free, centers=labeled)[0][0] == free
    check(x, 2100, first=-1, centers=labeled)  # all that is left
    check(np.concatenate([x[:50]] * 40), 1900, first=-1, centers=np.arange(100))  # nothing but copies


def test_scaled_rows():
    x = normal(2000, 24)
    scale = (1 / np.linalg.norm(x, axis=1)).astype(np.float32)
    scale[17] = 0
    check(x, 300, scale=scale)


def test_threads_and_instruction_sets_change_nothing_on_a_lattice():
    x = np.random.default_rng(3).integers(-8, 9, (4000, 40)).astype(np.float32)
    want = kcenter(x, 400, PLAIN)
    for isa in cpu.isas():
        cpu.set_isa(isa)
        for threads in (1, 2, 3):
            cpu.set_num_threads(threads)
            assert kcenter(x, 400, LAZY) == want


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 400), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**31), st.data())
def test_small_lattices_full_of_ties(n, d, spread, seed, data):
    x = np.random.default_rng(seed).integers(-spread, spread + 1, (n, d)).astype(np.float32)
    labeled = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=min(n - 1, 9)))
    k = data.draw(st.integers(1, n - len(labeled)))
    check(x, k, first=-1 if labeled else data.draw(st.integers(0, n - 1)), centers=labeled)


def test_progress_is_told_in_order():
    told = []
    picks, radius, filled = np.empty(6000, np.int64), np.empty(6000, np.float32), np.empty(1, np.int64)
    x = normal(300_000, 32)
    cpu.kcenter_greedy(
        _core.Matrix(at(x), *x.shape, 0), 0, 0, 0, 0, 0, 0, 6000, LAZY, *map(at, (picks, radius, filled)), told.append
    )
    assert told and told == sorted(told) and all(0 <= number <= 6000 for number in told)
