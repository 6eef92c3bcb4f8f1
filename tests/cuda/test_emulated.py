"""The CUDA kernels' own source, run on the CPU by the emulator, against plain numpy and the CPU kernels.

Shared memory starts as NaN there, barriers and warp operations are checked, and the order of threads is varied.
"""

import numpy as np
import pytest
from scipy.special import softmax

from autoal import _core
from autoal.ops.native import PLAIN

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

CODES = {"float32": 0, "float16": 1, "bfloat16": 2}
ORDERS = ["forward", "reverse", "random", "eager"]
GUARD = 0xAB


@pytest.fixture(params=ORDERS)
def order(request):
    emu.set_order(request.param, 7)
    yield request.param
    emu.set_order("forward")


def stored(values, dtype):
    """The values in a dtype's bits, and as the float32 that these bits mean."""
    values = np.ascontiguousarray(values, np.float32)
    if dtype == "float32":
        return values, values
    if dtype == "float16":
        half = values.astype(np.float16)
        return half, half.astype(np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def matrix(module, bits, dtype="float32"):
    return module.Matrix(bits.ctypes.data, bits.shape[0], bits.shape[1], CODES[dtype])


def at(array):
    return array.ctypes.data


class Workspace:
    """Bytes full of NaN with guards around them."""

    def __init__(self, size):
        self.bytes = np.full(size + 512, 0xFF, np.uint8)
        self.bytes[:256] = self.bytes[-256:] = GUARD
        self.address = self.bytes.ctypes.data + 256

    def check(self):
        assert (self.bytes[:256] == GUARD).all() and (self.bytes[-256:] == GUARD).all(), "written outside the workspace"


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize(("n", "d"), [(1, 1), (8, 31), (9, 33)])
def test_squared_norms(order, dtype, n, d):
    bits, x = stored(np.random.default_rng(n).standard_normal((n, d)), dtype)
    out = np.empty(n, np.float32)
    emu.squared_norms(matrix(emu, bits, dtype), at(out), 0, 0)
    np.testing.assert_allclose(out, np.square(x.astype(np.float64)).sum(1), rtol=1e-5)


def lattice(n, d, seed, high=4):
    return np.random.default_rng(seed).integers(-high, high + 1, (n, d)).astype(np.float32)


def kcenter(module, x, k, centers=(), first=-1, scale=None, dtype="float32", excluded=()):
    centers, excluded = (np.asarray(rows, np.int64) for rows in (centers, excluded))
    picks, radius, filled = np.full(k, -7, np.int64), np.empty(k, np.float32), np.empty(1, np.int64)
    arguments = [matrix(module, x, dtype), 0 if scale is None else at(scale), at(centers), len(centers)]
    arguments += [at(excluded), len(excluded), first, k, PLAIN, at(picks), at(radius), at(filled)]
    if module is emu:
        space = Workspace(emu.kcenter_greedy_workspace(*x.shape, k))
        emu.kcenter_greedy(*arguments, space.address, 0, 0)
        space.check()
    else:
        _core.cpu.kcenter_greedy(*arguments, None)
    return picks.tolist(), radius.tolist(), int(filled[0])


class Cpu:
    """The CPU kernels under the names that the helpers above use."""

    Matrix = _core.Matrix


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (7, 1, 7), (33, 5, 12), (300, 40, 20)])
def test_kcenter_greedy_is_the_cpus_on_a_lattice(order, n, d, k):
    x = lattice(n, d, n)
    first = kcenter(emu, x, k, first=n // 2)
    assert first == kcenter(Cpu, x, k, first=n // 2)
    if n > 8:
        assert kcenter(emu, x, k, centers=[0, 3]) == kcenter(Cpu, x, k, centers=[0, 3])


def test_kcenter_greedy_halves_and_scales(order):
    x = lattice(50, 9, 1)
    half = x.astype(np.float16)
    assert kcenter(emu, half, 10, first=2, dtype="float16") == kcenter(emu, x, 10, first=2)
    scale = np.where(np.arange(50) % 2, 2.0, 0.5).astype(np.float32)
    assert kcenter(emu, x, 10, first=2, scale=scale) == kcenter(emu, x * scale[:, None], 10, first=2)


def test_kcenter_greedy_fills_by_lowest_index(order):
    x = np.repeat(lattice(3, 4, 2, 50), 5, axis=0)
    picks, radius, filled = kcenter(emu, x, 10, first=7)
    assert filled == 7 and radius[2:] == [0] * 8
    rest = [i for i in range(15) if i not in picks[:3]]
    assert picks[3:] == rest[:7]
    assert (picks, radius, filled) == kcenter(Cpu, x, 10, first=7)


def kmeanspp(module, x, k, seed, first=-1, excluded=()):
    picks, filled, excluded = np.full(k, -7, np.int64), np.empty(1, np.int64), np.asarray(excluded, np.int64)
    arguments = [matrix(module, x), at(excluded), len(excluded), first, k, seed, PLAIN, at(picks), at(filled)]
    if module is emu:
        space = Workspace(emu.kmeanspp_workspace(*x.shape, k))
        emu.kmeanspp(*arguments, space.address, 0, 0)
        space.check()
    else:
        _core.cpu.kmeanspp(*arguments, None)
    return picks.tolist(), int(filled[0])


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (7, 2, 7), (300, 5, 15), (4097, 1, 4)])
def test_kmeanspp_draws_what_the_cpu_draws_on_a_lattice(n, d, k):
    x = lattice(n, d, n)
    for seed in range(3):
        assert kmeanspp(emu, x, k, seed) == kmeanspp(Cpu, x, k, seed)
    assert kmeanspp(emu, x, k, 0, first=n - 1) == kmeanspp(Cpu, x, k, 0, first=n - 1)


def test_kmeanspp_in_any_order_of_threads(order):
    x = lattice(200, 3, 5)
    assert kmeanspp(emu, x, 12, 3) == kmeanspp(Cpu, x, 12, 3)


def test_kmeanspp_fills_by_lowest_index(order):
    x = np.zeros((9, 2), np.float32)
    x[4] = 1
    picks, filled = kmeanspp(emu, x, 5, 1, first=2)
    assert (picks, filled) == ([2, 4, 0, 1, 3], 3) == kmeanspp(Cpu, x, 5, 1, first=2)


def gradient_kmeanspp(module, outputs, h, k, seed, probs=True, excluded=()):
    excluded = np.asarray(excluded, np.int64)
    picks, filled, bad = np.full(k, -7, np.int64), np.empty(1, np.int64), np.empty(1, np.int64)
    arguments = [matrix(module, outputs), int(probs), 1e-3, matrix(module, h), at(excluded), len(excluded)]
    arguments += [k, seed, PLAIN, at(picks), at(filled), at(bad)]
    if module is emu:
        space = Workspace(emu.gradient_kmeanspp_workspace(*outputs.shape, h.shape[1], k))
        emu.gradient_kmeanspp(*arguments, space.address, 0, 0)
        space.check()
    else:
        _core.cpu.gradient_kmeanspp(*arguments, None)
    return picks.tolist(), int(filled[0]), int(bad[0])


@pytest.mark.parametrize(("n", "c", "d", "k"), [(1, 1, 1, 1), (9, 2, 3, 9), (300, 4, 5, 12)])
def test_gradient_kmeanspp_draws_what_the_cpu_draws_on_a_lattice(n, c, d, k):
    rng = np.random.default_rng(n)
    p = np.zeros((n, c), np.float32)  # multiples of 1/8: all sums are exact
    for _ in range(8):
        p[np.arange(n), rng.integers(0, c, n)] += 0.125
    h = lattice(n, d, 3)
    for seed in range(3):
        assert gradient_kmeanspp(emu, p, h, k, seed) == gradient_kmeanspp(Cpu, p, h, k, seed)


def test_gradient_kmeanspp_of_logits(order):
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((60, 5)).astype(np.float32), rng.standard_normal((60, 4)).astype(np.float32)
    p = softmax(x.astype(np.float64), axis=1)
    g = ((p - np.eye(5)[p.argmax(1)])[:, :, None] * h[:, None, :]).reshape(60, -1)
    picks, filled, bad = gradient_kmeanspp(emu, x, h, 20, 1, probs=False)
    assert picks[0] == np.linalg.norm(g, axis=1).argmax()
    assert len(set(picks)) == 20 and filled == 0 and bad == 60
    assert picks == gradient_kmeanspp(Cpu, x, h, 20, 1, probs=False)[0]
    x[[7, 30], 1] = np.nan
    assert gradient_kmeanspp(emu, x, h, 3, 1, probs=False)[2] == 7


def test_copies_of_a_gradient_are_never_drawn_twice(order):
    rng = np.random.default_rng(0)
    x, h = rng.standard_normal((6, 3)).astype(np.float32), rng.standard_normal((6, 37)).astype(np.float32)
    picks, filled, _ = gradient_kmeanspp(emu, np.tile(x, (5, 1)), np.tile(h, (5, 1)), 10, 4, probs=False)
    assert filled == 4 and len({pick % 6 for pick in picks[:6]}) == 6


def coverage_problem(n, d, copies=1, seed=0):
    """Rows [N, D] and weights, gain, covered [N] each."""
    rng = np.random.default_rng(seed)
    x = np.tile(rng.standard_normal((n, d)).astype(np.float32), (copies, 1))
    return x, *(np.tile(rng.random(n).astype(np.float32), copies) for _ in range(3))


def coverage(module, x, w, u, m, k, *, gamma=0.5, targets=None, own=False, excluded=(), passes=0, dtype="float32"):
    targets = np.arange(len(x)) if targets is None else targets
    weights, excluded = np.ascontiguousarray(w[targets]), np.asarray(excluded, np.int64)
    picks, gains, filled = np.full(k, -7, np.int64), np.empty(k, np.float32), np.empty(1, np.int64)
    goals = module.Targets(at(targets), at(weights), len(targets), at(w) if own else 0)
    arguments = [matrix(module, x, dtype), 0, goals, at(u), at(m), at(excluded), len(excluded), gamma, k, passes]
    arguments += [at(picks), at(gains), at(filled)]
    if module is emu:
        space = Workspace(emu.coverage_greedy_workspace(len(x), len(targets)))
        emu.coverage_greedy(*arguments, space.address, 0, 0)
        space.check()
    else:
        _core.cpu.coverage_greedy(*arguments, None, 1 << 20)
    return picks.tolist(), gains, int(filled[0])


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (63, 5, 8), (65, 17, 5), (300, 16, 4)])
@pytest.mark.parametrize("drawn", [False, True])
def test_coverage_greedy_is_the_cpus(order, n, d, k, drawn):
    problem = coverage_problem(n, d)
    options = {"targets": np.arange(0, n, 3), "own": True} if drawn else {"excluded": [n // 2] if n > 1 else []}
    picks, gains, filled = coverage(emu, *problem, k, **options)
    theirs = coverage(_core, *problem, k, **options)
    assert (picks, filled) == (theirs[0], theirs[2]) and not set(picks) & set(options.get("excluded", []))
    np.testing.assert_allclose(gains, theirs[1], rtol=1e-5)


@pytest.mark.parametrize("drawn", [False, True])
def test_lazy_coverage_greedy_is_plain_on_the_device(drawn):
    problem = coverage_problem(700, 6)  # more rows than the first round takes, more targets than a chunk has
    problem = [np.concatenate([part, part[:500]]) for part in problem]
    options = {"targets": np.arange(0, 1200, 5), "own": True} if drawn else {}
    lazy, plain = (coverage(emu, *problem, 6, passes=passes, **options) for passes in (0, PLAIN))
    assert lazy[0] == plain[0] and lazy[2] == plain[2]
    np.testing.assert_array_equal(lazy[1], plain[1])


def test_coverage_greedy_of_more_rows_than_are_split():
    problem = coverage_problem(8200, 2)
    options = {"targets": np.arange(0, 8200, 150), "own": True, "gamma": 0.01}
    assert coverage(emu, *problem, 2, **options)[0] == coverage(_core, *problem, 2, **options)[0]


def test_coverage_greedy_of_copies_fills_by_lowest_index(order):
    x, w, u, m = coverage_problem(4, 33, copies=3)
    picks, gains, filled = coverage(emu, x, w, u, 0 * m, 8)
    assert filled == 4 and {pick % 4 for pick in picks[:4]} == {0, 1, 2, 3} and not gains[4:].any()
    assert picks[4:] == [i for i in range(12) if i not in picks[:4]][:4]


def test_coverage_greedy_of_halves():
    x, *parts = coverage_problem(40, 9)
    for dtype in CODES:
        bits, same = stored(x, dtype)
        assert coverage(emu, bits, *parts, 6, dtype=dtype)[0] == coverage(_core, same, *parts, 6)[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_copy_of_a_pick_gains_nothing_by_heavy_neighbors(order, seed):
    x, w, u, m = coverage_problem(20, 37, seed=seed)
    x[20 - 1] = x[0]
    w[:], u[0] = 1e12, 100
    for module in (emu, _core):
        picks, gains, filled = coverage(module, x, w, u, 0 * m, 2, excluded=range(1, 19))
        assert (picks, gains[1], filled) == ([0, 19], 0, 1)


@pytest.mark.parametrize("d", [1, 3, 20])
def test_coverage_greedy_is_the_cpus_far_off_the_origin(d):
    x, w, u, m = coverage_problem(150, d)
    x = 100 * np.round(10 * x) + np.float32(1e6)
    ours, theirs = (coverage(module, x, w, u, m, 40, gamma=1e-5 / d) for module in (emu, _core))
    assert (ours[0], ours[2]) == (theirs[0], theirs[2])
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)


def test_gains_below_what_floats_hold_are_zero_on_both():
    x, w, u, m = coverage_problem(30, 3)
    w, u = w * np.float32(1e-20), u * np.float32(1e-26)  # gains of 1e-46 and less, but one of 1e-40
    u[7] *= 1e6
    for module in (emu, _core):
        picks, gains, filled = coverage(module, x, w, u, 0 * m, 5)
        assert picks == [7, 0, 1, 2, 3] and gains[0] > 0 and filled == 4 and not gains[1:].any()
