"""The bounds by which lazy selections rule pairs out: none is above the distance that a plain pass computes.

A pair that is ruled out below its bound leaves a weight too large, which no single pick shows. So pairs are asked one
by one, with bounds just above their distance, on numbers that rounding is hard on. Both backends, each instruction set.
"""

import numpy as np
import pytest
import torch
from scipy.special import softmax

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

N = 64  # a tile on CUDA, some panels on the CPU
LONGEST = 6e18  # whose squares are at most an eighth of the largest float
BACKENDS = [*emu.isas(), "cuda"]


@pytest.fixture(params=BACKENDS)
def backend(request):
    best = emu.isas()[-1]
    emu.set_isa(best if request.param == "cuda" else request.param)
    yield request.param
    emu.set_isa(best)


def probe(backend, x, a, bounds, apart=False):
    """Exact distances [N, N] of rows x [N, D], or of gradients a (x) x, and which pairs are left at ``bounds``."""
    exact, left = np.empty((len(x),) * 2, np.float32), np.empty((len(x),) * 2, bool)
    bounds = np.ascontiguousarray(np.broadcast_to(bounds, exact.shape), np.float32)
    address, c = (0, 0) if a is None else (a.ctypes.data, a.shape[1])
    matrix = emu.Matrix(x.ctypes.data, *x.shape, 0)
    emu.probe_bounds(
        backend == "cuda", matrix, address, c, apart, bounds.ctypes.data, exact.ctypes.data, left.ctypes.data
    )
    return exact, left


def rows(kind, d, seed):
    """[N, D]: every eighth a copy, every eighth nearly one."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N, d))
    if kind == "far from the origin":
        x = 1e3 + rng.integers(-2, 3, (N, d)) * 2.0**-10
    elif kind == "heavy tails":
        x = x / rng.standard_normal((N, d)) ** 3
    elif kind == "all sizes":
        x *= 10.0 ** rng.uniform(-25, 18, (N, 1))
    elif kind == "all sizes in a row":
        x *= 10.0 ** rng.uniform(-25, 18, (N, d))
    elif kind == "huge":
        x = x / np.linalg.norm(x, axis=1, keepdims=True) * LONGEST
    elif kind == "squares vanish":
        x *= 1e-23
    elif kind == "subnormal":
        x *= 1e-41
    x *= np.minimum(1, LONGEST / np.linalg.norm(x, axis=1, keepdims=True))
    x = x.astype(np.float32)
    x[::8] = x[1::8]
    x[2::8] = x[3::8] * rng.choice(np.float32([1, 1 - 2**-23, 1 + 2**-22]), (N // 8, d))
    return x


def factors(kind, c, seed):
    """[N, C]: probabilities less their largest, which is the sum of the others below 0."""
    rng = np.random.default_rng(seed + 1)
    logits = rng.standard_normal((N, c)) * {"sure": 15, "beyond doubt": 90}.get(kind, 1)
    if kind == "sure or not":
        logits *= 10.0 ** rng.uniform(-2, 2, (N, 1))
    if kind == "squares vanish":
        logits[np.arange(N), rng.integers(0, c, N)] += rng.uniform(44, 53, N)
    p = softmax(logits, axis=1).astype(np.float32)
    p[::8] = p[1::8]
    top = p.argmax(1)
    p[np.arange(N), top] = 0
    p[np.arange(N), top] = -p.sum(1, dtype=np.float32)
    return p


ROWS = [
    "plain",
    "far from the origin",
    "heavy tails",
    "all sizes",
    "all sizes in a row",
    "huge",
    "squares vanish",
    "subnormal",
]
FACTORS = ["unsure", "sure", "squares vanish", "beyond doubt", "sure or not"]
SHAPES = [(2, 1), (3, 20), (10, 66), (70, 5), (100, 70)]  # C, D; CUDA rounds factors from 64 columns on
GRADIENTS = [  # each kind of factor with each kind of rows, and each of both in each shape
    (kind, sure, *SHAPES[(i + j) % len(SHAPES)]) for i, kind in enumerate(ROWS) for j, sure in enumerate(FACTORS)
]


def check_bounds(backend, x, a, least=0):
    """Bounds are ``least`` or more."""
    exact, _ = probe(backend, x, a, 0)
    assert np.isfinite(exact).all() and (exact >= 0).all()
    assert (exact[np.arange(0, N, 8), np.arange(1, N, 8)] == 0).all(), "copies"
    for apart in (False, True):
        bounds = np.maximum(np.nextafter(exact, np.float32(np.inf)), np.float32(least))
        again, left = probe(backend, x, a, bounds, apart)
        np.testing.assert_array_equal(again, exact)
        assert left.all(), f"{(~left).sum()} pairs are ruled out below their bounds"


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("d", [1, 3, 17, 66, 200])
def test_no_distance_is_ruled_out_that_lowers_a_bound(kind, d, backend):
    check_bounds(backend, rows(kind, d, d), None)


@pytest.mark.parametrize(("kind", "sure", "c", "d"), GRADIENTS)
def test_no_gradient_is_ruled_out_that_lowers_a_bound(kind, sure, c, d, backend):
    check_bounds(backend, rows(kind, d, c), factors(sure, c, d))


def halves_that_vanish(c, d, seed):
    """Rows [N, D] and factors [N, C]: half have factors whose squares vanish and long rows, half have short rows.

    The first half's gradients are longer than the others', and their norms are 0.
    """
    x, a = rows("huge", d, seed), factors("unsure", c, seed)
    first = np.arange(N) % 16 < 8  # copies are of one half
    a[first] *= np.float32(2.0**-76)
    x[~first] *= np.float32(2.0**-84)
    return x, a


@pytest.mark.parametrize(("c", "d"), [*SHAPES, (2, 200), (20, 700)])
def test_norms_that_vanish_although_their_products_do_not(c, d, backend):
    check_bounds(backend, *halves_that_vanish(c, d, c))


@pytest.mark.parametrize(("c", "d"), SHAPES)
@pytest.mark.parametrize("power", [-60, -62, -64])
def test_products_that_are_flushed(power, c, d, backend):
    """Where the caller has subnormal numbers flushed to 0. CUDA flushes none."""
    x, a = rows("huge", d, c), factors("unsure", c, d) * np.float32(2.0**power)
    assert torch.set_flush_denormal(backend != "cuda")
    try:
        check_bounds(backend, x, a, least=2.0**-126)
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("a", [None, factors("unsure", 10, 0)], ids=["rows", "gradients"])
def test_distances_are_those_of_float64(a, backend):
    """And bounds rule out most pairs that are farther by a tenth: the narrow factor alone may leave an eighth."""
    x = rows("plain", 20, 0)
    points = x if a is None else (a[:, :, None] * x[:, None]).reshape(N, -1)
    expected = np.square(points[:, None].astype("f8") - points[None]).sum(2)
    exact, left = probe(backend, x, a, 0.9 * expected)
    np.testing.assert_allclose(exact, expected, rtol=1e-5, atol=1e-5)
    assert left.mean() < 1 / 8
