"""D^2 sampling by rejection on CUDA: the kernels' source on the emulator, against the CPU's picks and enumerated laws.

Both make the same draws. On lattices, where sums are exact in float32, every pick must be the CPU's; on other data it
is too, unless a draw falls where rounding decides, which the seeds here do not.
"""

import numpy as np
import pytest
from laws import check_law, enumerate_law, squared_distances

from autoal import _core
from autoal.ops.native import AUTO, LAZY, PLAIN

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

GUARD = 0xAB
GRIDS = [("forward", 1), ("reverse", 2), ("random", 3), ("eager", 5)]


@pytest.fixture(params=GRIDS, ids=str)
def grid(request):
    """Each order of threads, with another number of blocks."""
    order, blocks = request.param
    emu.set_order(order, 3)
    emu.set_resident_blocks(blocks)
    yield
    emu.set_order("forward")
    emu.set_resident_blocks(2)


@pytest.fixture
def one_block():
    emu.set_resident_blocks(1)
    yield
    emu.set_resident_blocks(2)


def at(array):
    return array.ctypes.data


def run(module, op, arguments, sizes, answers):
    """Calls an op of either module; on the emulator with a workspace full of NaN between guards."""
    if module is _core:
        getattr(_core.cpu, op)(*arguments, *map(at, answers), None)
        return
    size = getattr(emu, f"{op}_workspace")(*sizes)
    space = np.full(size + 512, 0xFF, np.uint8)
    space[:256] = space[-256:] = GUARD
    getattr(emu, op)(*arguments, *map(at, answers), at(space) + 256, 0, 0)
    assert (space[:256] == GUARD).all() and (space[-256:] == GUARD).all(), "written outside the workspace"


def kmeanspp(module, x, k, seed, passes=LAZY, first=-1, dtype=0, excluded=()):
    picks, filled = np.full(k, -7, np.int64), np.full(1, -7, np.int64)
    pool, excluded = module.Matrix(at(x), *x.shape, dtype), np.asarray(excluded, np.int64)
    run(module, "kmeanspp", [pool, at(excluded), len(excluded), first, k, seed, passes], [*x.shape, k], [picks, filled])
    return picks.tolist(), int(filled[0])


def badge(module, p, h, k, seed, passes=LAZY, kind=1, dtype=0, excluded=()):
    picks, filled, bad = np.full(k, -7, np.int64), np.full(1, -7, np.int64), np.full(1, -7, np.int64)
    outputs, embeddings = module.Matrix(at(p), *p.shape, 0), module.Matrix(at(h), *h.shape, dtype)
    excluded = np.asarray(excluded, np.int64)
    arguments = [outputs, kind, 1e-3, embeddings, at(excluded), len(excluded), k, seed, passes]
    run(module, "gradient_kmeanspp", arguments, [*p.shape, h.shape[1], k], [picks, filled, bad])
    return picks.tolist(), int(filled[0]), int(bad[0])


def check(sampler, *arguments, **options):
    """The picks of the emulated kernel, which must be the CPU's."""
    ours = sampler(emu, *arguments, **options)
    assert ours == sampler(_core, *arguments, **options)
    picks, filled = ours[:2]
    assert len(set(picks)) == len(picks) and min(picks) >= 0
    return picks, filled


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def integers(n, d, high=4, seed=0):
    return np.random.default_rng(seed).integers(-high, high + 1, (n, d)).astype(np.float32)


def clusters(n, d, count, seed=0):
    """Lattice clusters of very different sizes: once all are found, nearly all weights are stale."""
    rng = np.random.default_rng(seed)
    which = rng.choice(count, n, p=rng.dirichlet(np.full(count, 0.5)))
    return 64 * integers(count, d, 8, seed + 1)[which] + integers(n, d, 1, seed + 2)


def eighths(n, c, seed=0):
    """Probabilities [N, C] that are multiples of 1/8."""
    return np.random.default_rng(seed).multinomial(8, [1 / c] * c, n).astype(np.float32) / 8


def halves(x, dtype):
    """The bits of x [N, D], whose values a half holds, as float16 (1) or bfloat16 (2)."""
    return x.astype(np.float16) if dtype == 1 else (x.view(np.uint32) >> 16).astype(np.uint16)


# ---------------------------------------------------------------- k-means++
def test_picks_are_the_cpus_in_any_order_of_threads_and_for_any_grid(grid):
    check(kmeanspp, integers(700, 5), 80, 3)
    check(kmeanspp, clusters(600, 3, 20), 60, 4)


@pytest.mark.parametrize("n, k", [(1, 1), (2, 2), (64, 64), (65, 30), (128, 3), (4096, 5), (4097, 40), (8200, 9)])
def test_sizes(n, k):
    """More than a leaf, more than a node; all rows."""
    check(kmeanspp, integers(n, 2, 1000), k, n)


@pytest.mark.parametrize("d", [1, 17, 63, 64, 65, 130])
def test_columns(d):
    """More than the depth of a tile; from 64 on, factors are rounded to bfloat16."""
    check(kmeanspp, integers(400, d), 70, d)
    check(kmeanspp, normal(400, d) + 3, 70, d)


def test_many_centers_are_met_in_many_panels():
    check(kmeanspp, integers(1200, 3, 30), 700, 1)


def test_batches_grow_and_all_rows_are_brought_up_to_date():
    """On tight clusters most proposals are rejected: batches reach 1024, and rejections the price of a refresh."""
    check(kmeanspp, clusters(3000, 2, 12), 160, 0)


def test_a_few_rows_have_nearly_all_the_weight():
    x = integers(500, 2, 3)
    x[:3] = 3000 * np.array([[1, 0], [0, 1], [-1, -1]])
    assert set(range(3)) <= set(check(kmeanspp, x, 60, 5)[0][:5])


def test_given_first_and_long_seeds():
    x = integers(300, 4)
    assert check(kmeanspp, x, 40, 2**63 - 1, first=299)[0][0] == 299
    assert len({tuple(kmeanspp(emu, x, 10, seed)[0]) for seed in range(8)}) == 8


@pytest.mark.parametrize("dtype", [1, 2])
def test_halves(dtype):
    x = integers(300, 33)
    half = halves(x, dtype)
    assert kmeanspp(emu, half, 50, 4, dtype=dtype) == kmeanspp(emu, x, 50, 4)
    check(kmeanspp, half, 50, 4, dtype=dtype)


def test_copies_fill_up_by_lowest_index(grid):
    x = integers(20, 3, 50)[np.random.default_rng(0).integers(0, 20, 300)]
    different = len(np.unique(x, axis=0))
    picks, filled = check(kmeanspp, x, 60, 2, first=17)
    assert filled == 60 - different and len(np.unique(x[picks[:different]], axis=0)) == different
    assert picks[different:] == np.setdiff1d(np.arange(300), picks[:different])[:filled].tolist()
    assert check(kmeanspp, np.ones((100, 3), np.float32), 40, 0, first=5) == ([5, *range(5), *range(6, 40)], 39)


def test_both_backends_choose_alike_between_passes_and_rejection():
    """The draws are others, so that where one takes plain passes the other must."""
    for n, k in ((1100, 24), (1100, 25), (1024, 25)):
        x = integers(n, 2, 100)
        plain, lazy = (kmeanspp(emu, x, k, 1, passes) for passes in (PLAIN, LAZY))
        assert plain != lazy and check(kmeanspp, x, k, 1, AUTO) == (lazy if (n, k) == (1100, 25) else plain)


def test_the_enumerated_law(one_block):
    x = np.array([[0, 0], [0, 1], [3, 0], [3, 2], [-2, 4], [0, 0]], np.float32)
    picks = [kmeanspp(emu, x, 3, seed)[0] for seed in range(1000)]
    check_law(picks, enumerate_law(squared_distances(x), np.full(6, 1 / 6)))


def test_a_row_with_nearly_all_the_weight_is_the_cpus_too(one_block):
    x = np.array([[0], [1e-3], [2e-3], [100], [101], [1e4]], np.float32)
    for seed in range(30):
        check(kmeanspp, x, 4, seed)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_rows_that_nobody_checked_do_not_hang(value):
    """Under graph capture the values are not looked at; the answer is then unspecified, but there is one."""
    x = normal(200, 3)
    for rows in ([7], [3, 40, 150]):
        bad = x.copy()
        bad[rows, 1] = value
        for first in (0, rows[0]):
            picks, _ = kmeanspp(emu, bad, 30, 1, first=first)
            assert len(set(picks)) == 30 and min(picks) >= 0 and max(picks) < 200
        logits = normal(200, 4, 1)
        badge(emu, logits, bad, 30, 1, kind=0)
        logits[rows, 1] = value
        badge(emu, logits, x, 30, 1, kind=0)


# ---------------------------------------------------------------- BADGE
def test_gradients_picks_are_the_cpus_in_any_order_of_threads_and_for_any_grid(grid):
    check(badge, eighths(500, 5), integers(500, 6), 60, 3)


@pytest.mark.parametrize("n, c, d, k", [(1, 1, 1, 1), (9, 2, 3, 9), (65, 3, 1, 40), (4097, 4, 5, 30), (700, 5, 70, 90)])
def test_sizes_of_gradients(n, c, d, k):
    check(badge, eighths(n, c), integers(n, d), k, n)


@pytest.mark.parametrize("certainty", [0.5, 8])
@pytest.mark.parametrize("c, d", [(2, 9), (10, 40), (70, 66), (100, 5)])
def test_gradients_of_logits(c, d, certainty):
    """An unsure model leaves pairs that only the wide products rule out; a sure one is mostly rejected."""
    check(badge, certainty * normal(500, c, 1), normal(500, d, 2) + 1, 80, 5, kind=0)


def test_near_copies_that_bfloat16_cannot_tell_apart():
    """Distances far below what rounding does to products of their size, in either factor: nothing may be ruled out."""
    p = np.full((400, 2), 0.5, np.float32)
    check(badge, p, 300 + integers(400, 66, 1), 60, 1)
    p = np.ones((400, 70), np.float32)
    p[:, :3] = [300, 300, 1024 - 667]
    shift = integers(400, 2, 1)
    p[:, :2] += shift
    p[:, 2] -= shift.sum(1)
    p[:, 3] += integers(400, 1, 1)[:, 0] ** 2
    p[:, 2] -= p[:, 3] - 1
    check(badge, p / 1024, 1 + integers(400, 1, 1) ** 2, 12, 1)


def test_one_class_and_a_certain_model():
    certain = np.zeros((200, 3), np.float32)
    certain[:, 1] = 1
    for p in (np.ones((200, 1), np.float32), certain):
        assert check(badge, p, integers(200, 4), 40, 1) == (list(range(40)), 40)
    certain[[30, 170]] = [0.5, 0.25, 0.25]  # all but two gradients are 0
    picks, filled = check(badge, certain, integers(200, 4), 40, 1)
    assert {30, 170} < set(picks[:3]) and filled == 37


def test_copies_of_gradients_fill_up_by_lowest_index():
    copies = np.random.default_rng(1).integers(0, 15, 300)
    logits, h = 2 * normal(15, 7, 1)[copies], normal(15, 37, 2)[copies]
    picks, filled = check(badge, logits, h, 50, 5, kind=0)
    assert filled == 35 and len(set(copies[picks[:15]])) == 15
    assert picks[15:] == np.setdiff1d(np.arange(300), picks[:15])[:35].tolist()


@pytest.mark.parametrize("dtype", [1, 2])
def test_halves_of_embeddings(dtype):
    p, h = eighths(300, 4), integers(300, 9)
    assert badge(emu, p, halves(h, dtype), 40, 4, dtype=dtype) == badge(emu, p, h, 40, 4)


def test_the_enumerated_law_of_gradients(one_block):
    p = np.array([[4, 2, 2], [2, 4, 2], [0, 0, 8], [3, 3, 2], [7, 1, 0], [4, 2, 2]], np.float32) / 8
    h = np.array([[1, 0], [0, 2], [3, 3], [1, -1], [-2, 1], [1, 0]], np.float32)
    a = p.astype(np.float64)
    a[np.arange(6), p.argmax(1)] -= 1
    g = (a[:, :, None] * h[:, None, :]).reshape(6, -1)
    first = np.zeros(6)
    first[np.square(g).sum(1).argmax()] = 1
    picks = [badge(emu, p, h, 3, seed)[0] for seed in range(1000)]
    check_law(picks, enumerate_law(squared_distances(g), first))


def test_subnormal_factors():
    """Squares of the narrow factor vanish while the embeddings are long: nothing may be ruled out by their absence."""
    logits = np.zeros((200, 2), np.float32)
    logits[:, 0] = np.linspace(30, 60, 200)
    check(badge, logits, 1e12 * normal(200, 3, 1), 30, 2, kind=0)


# ---------------------------------------------------------------- excluded rows
@pytest.mark.parametrize("passes", [PLAIN, LAZY])
def test_excluded_rows_are_as_if_they_were_not_there(grid, passes):
    """On lattices sums are exact, so that a draw falls on the same row with and without rows of weight 0."""
    excluded = np.arange(1, 700, 4)
    left = np.setdiff1d(np.arange(700), excluded)
    x = integers(700, 5, 40)
    picks, filled = check(kmeanspp, x, 80, 3, passes, first=2, excluded=excluded)
    without = kmeanspp(_core, x[left], 80, 3, passes, first=int(np.searchsorted(left, 2)))
    assert (picks, filled) == (left[without[0]].tolist(), without[1])

    p, h = eighths(700, 4), integers(700, 3, 40, 1)
    picks, filled = check(badge, p, h, 60, 3, passes, excluded=excluded)
    without = badge(_core, p[left], h[left], 60, 3, passes)
    assert (picks, filled) == (left[without[0]].tolist(), without[1])


@pytest.mark.parametrize("passes", [PLAIN, LAZY])
def test_excluded_rows_fill_nothing_up(grid, passes):
    x = np.repeat(np.array([[0, 0], [5, 0], [0, 7]], np.float32), 40, axis=0)
    excluded = [0, 2, *range(80, 120)]
    picks, filled = check(kmeanspp, x, 78, 1, passes, first=1, excluded=excluded)
    assert filled == 76 and sorted(picks) == np.setdiff1d(np.arange(120), excluded).tolist()

    certain = np.tile(np.array([[1, 0]], np.float32), (120, 1))  # no row has a gradient
    picks, filled = check(badge, certain, x, 30, 1, passes, excluded=excluded)
    assert filled == 30 and picks == np.setdiff1d(np.arange(120), excluded)[:30].tolist()


@pytest.mark.parametrize("passes", [PLAIN, LAZY])
def test_an_excluded_row_is_not_the_first_of_badge(passes):
    p, h = eighths(200, 3), integers(200, 4)
    longest = badge(_core, p, h, 1, 0)[0]
    picks, _ = check(badge, p, h, 30, 0, passes, excluded=longest)
    assert longest[0] not in picks
    left = np.delete(np.arange(200), longest)
    assert picks[0] == left[badge(_core, p[left], h[left], 1, 0)[0][0]]
