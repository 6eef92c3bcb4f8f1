"""Scores of the CUDA source on the emulator, against float64: every form of load, and every number of lanes per row.

The emulator refuses loads at addresses that are no multiple of their size, as a device does.
"""

import numpy as np
import pytest
from memory import guarded
from scipy.special import softmax, xlogy

emu = pytest.importorskip("autoal._emu", reason="built without AUTOAL_EMULATION")

CODES = {"float32": 0, "float16": 1, "bfloat16": 2}
LAYOUTS = {"TNC": (0, 1, 2), "NTC": (1, 0, 2), "NCT": (1, 2, 0)}  # the axes in the order of memory
ORDERS = ["forward", "reverse", "random", "eager"]
WIDTHS = [1, 2, 3, 7, 8, 9, 31, 32, 33, 100, 130, 1000, 1001]
LONG = [8193, 16400]  # a block per row: of float32, of halves
GUARD = 0xAB


@pytest.fixture(params=ORDERS)
def order(request):
    emu.set_order(request.param, 7)
    yield
    emu.set_order("forward")


def at(array):
    return array.ctypes.data


def stored(x, dtype):
    """The numbers in a dtype's bits, and as the float32 that these bits mean."""
    x = np.ascontiguousarray(x, np.float32)
    if dtype == "float32":
        return x, x
    if dtype == "float16":
        half = x.astype(np.float16)
        return half, half.astype(np.float32)
    bits = (x.view(np.uint32) >> 16).astype(np.uint16)
    return bits, (bits.astype(np.uint32) << 16).view(np.float32)


def logits(seed, *shape):
    """A third of the rows near uniform, a third spread over [-50, 50], a third with a class ruled out."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    x[..., 1::3, :] = rng.uniform(-50, 50, x[..., 1::3, :].shape)
    if shape[-1] > 1:
        x[..., 2::3, -1] = -np.inf
    return x


def moved(x, numbers):
    """A copy that starts so many numbers behind an address that is a multiple of 16 bytes."""
    space = np.zeros(x.size + numbers + 16, x.dtype)
    start = -(at(space) % 16) // x.itemsize % (16 // x.itemsize) + numbers
    there = space[start : start + x.size].reshape(x.shape)
    there[...] = x
    return there


def laid_out(x, layout, numbers=0):
    """x [T, N, C], in memory as the layout says."""
    axes = LAYOUTS[layout]
    return moved(np.ascontiguousarray(x.transpose(axes)), numbers).transpose(np.argsort(axes))


def scores(x, dtype="float32", probs=False, tolerance=1e-3):
    """Entropy, margin, least confidence [3, N]; the lowest bad row."""
    out, bad = np.full((3, len(x)), np.nan, np.float32), np.full(1, -7, np.int64)
    arguments = (emu.Matrix(at(x), *x.shape, CODES[dtype]), int(probs), tolerance, *map(at, out), at(bad))
    emu.uncertainty_scores(*arguments, 0, 0)
    return out, bad[0]


def mc_scores(x, dtype="float32", probs=False, tolerance=1e-3):
    """BALD, entropy, mean-STD, variation ratio [4, N] of x [T, N, C] with any strides; the lowest bad sample."""
    t, n, c = x.shape
    out, bad = np.full((4, n), np.nan, np.float32), np.full(1, -7, np.int64)
    size = emu.mc_uncertainty_scores_workspace(t, n, c)
    space = np.full(size + 512, 0xFF, np.uint8)
    space[:256] = space[-256:] = GUARD
    samples = emu.Samples(at(x), t, n, c, *(s // x.itemsize for s in x.strides), CODES[dtype])
    emu.mc_uncertainty_scores(samples, int(probs), tolerance, *map(at, out), at(bad), at(space) + 256, 0, 0)
    assert (space[:256] == GUARD).all() and (space[-256:] == GUARD).all(), "written outside the workspace"
    return out, bad[0]


def entropy(p):
    return -xlogy(p, p).sum(-1)


def expected(p):
    p = p.astype(np.float64)
    ordered = np.sort(np.concatenate([np.zeros((len(p), 1)), p], 1), 1)
    return [entropy(p), 1 - (ordered[:, -1] - ordered[:, -2]), 1 - ordered[:, -1]]


def mc_expected(p, votes):
    """From probabilities [T, N, C] and the classes voted for [T, N]."""
    p = p.astype(np.float64)
    most = (votes[..., None] == np.arange(p.shape[-1])).sum(0).max(-1)
    return [entropy(p.mean(0)) - entropy(p).mean(0), entropy(p.mean(0)), p.std(0).mean(-1), 1 - most / len(p)]


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", WIDTHS + LONG)
def test_uncertainty_scores(order, dtype, c):
    bits, x = stored(logits(c, 67 if c < 100 else 3, c), dtype)
    got, bad = scores(bits, dtype)
    close(got, expected(softmax(x.astype(np.float64), 1)))
    assert bad == len(x)
    bits, p = stored(softmax(x.astype(np.float64), 1), dtype)
    got, bad = scores(bits, dtype, True, 0.5)
    close(got, expected(p))
    assert bad == len(x)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize(("t", "n", "c"), [(1, 1, 1), (3, 9, 2), (5, 70, 10), (2, 9, 17), (3, 5, 100), (2, 3, 300)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_mc_uncertainty_scores(order, dtype, t, n, c, layout):
    bits, x = stored(logits(t, t, n, c), dtype)
    p = softmax(x.astype(np.float64), 2)
    got, bad = mc_scores(laid_out(bits, layout), dtype)
    close(got, mc_expected(p, x.argmax(2)))
    assert bad == n
    bits, p = stored(p, dtype)
    got, bad = mc_scores(laid_out(bits, layout), dtype, True, 0.5)
    close(got, mc_expected(p, p.argmax(2)))
    assert bad == n


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", [512, 513, 1000, 1024, 1025, 4100])  # in registers, in more of them, in the workspace
def test_mc_uncertainty_scores_of_many_classes(order, dtype, c):
    bits, x = stored(logits(c, 3, 2, c), dtype)
    got, bad = mc_scores(bits, dtype)
    close(got, mc_expected(softmax(x.astype(np.float64), 2), x.argmax(2)))
    assert bad == 2
    bits, p = stored(softmax(x.astype(np.float64), 2), dtype)
    close(mc_scores(bits, dtype, True, 0.5)[0], mc_expected(p, p.argmax(2)))


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", [1, 2, 3, 7, 8, 9, 12, 33, 100, 1001])
def test_scores_do_not_depend_on_where_a_row_lies(dtype, c):
    """Units of 16 bytes down to one number, and numbers that lie apart: the same sums in the same order."""
    bits, _ = stored(logits(c, 2, 11 if c < 100 else 2, c), dtype)
    rows, samples = scores(moved(bits[0], 0), dtype)[0], mc_scores(laid_out(bits, "TNC"), dtype)[0]
    for numbers in range(1, 16 // bits.itemsize):
        np.testing.assert_array_equal(scores(moved(bits[0], numbers), dtype)[0], rows)
        np.testing.assert_array_equal(mc_scores(laid_out(bits, "TNC", numbers), dtype)[0], samples)
    for layout in LAYOUTS:
        np.testing.assert_array_equal(mc_scores(laid_out(bits, layout), dtype)[0], samples)
    np.testing.assert_array_equal(scores(moved(bits[0, 1:], 1), dtype)[0], rows[:, 1:])
    padded = np.zeros((2, bits.shape[1], c + 5), bits.dtype)[:, :, :c]  # rows apart
    padded[...] = bits
    np.testing.assert_array_equal(mc_scores(padded, dtype)[0], samples)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", [1, 2, 3, 7, 8, 9, 33, 100, 1001, 1030])
def test_nothing_beyond_the_array_is_read(dtype, c):
    """It ends where a page does, behind which there is none: a read beyond it would end the process."""
    bits, _ = stored(logits(c, 2, 5, c), dtype)
    with guarded(bits.nbytes) as memory:
        for layout, axes in LAYOUTS.items():
            x = np.frombuffer(memory, bits.dtype).reshape([bits.shape[a] for a in axes])
            x[...] = bits.transpose(axes)
            x = x.transpose(np.argsort(axes))
            np.testing.assert_array_equal(mc_scores(x, dtype)[0], mc_scores(bits, dtype)[0], layout)
        rows = np.frombuffer(memory, bits.dtype).reshape(10, c)
        rows[...] = bits.reshape(10, c)
        np.testing.assert_array_equal(scores(rows, dtype)[0], scores(rows.copy(), dtype)[0])
        del x, rows


@pytest.mark.parametrize("c", [2, 10, 100, 600, 1030])
def test_equal_predictions_do_not_disagree(order, c):
    x = logits(c, 1, 5, c)
    for probs, values in enumerate([x, softmax(x, 2)]):
        bald, h, deviation, variation = mc_scores(np.repeat(values, 3, 0), probs=bool(probs))[0]
        assert not bald.any() and not deviation.any() and not variation.any()
        close(h, entropy(softmax(x[0].astype(np.float64), 1)))


@pytest.mark.parametrize("c", [2, 5, 40, 600, 1030])
def test_ties_of_a_vote_go_to_the_lowest_class(order, c):
    x = np.random.default_rng(c).integers(0, 3, (4, 6, c)).astype(np.float32)
    close(mc_scores(x)[0][3], mc_expected(softmax(x, 2), x.argmax(2))[3])


@pytest.mark.parametrize("c", [1, 2, 10, 65, 1000, 4200])
def test_the_lowest_bad_row_is_told(order, c):
    n = 37 if c < 1000 else 5
    for row in (0, n // 2, n - 1):
        for value in (np.nan, np.inf, None):
            x = logits(c, 2, n, c)
            for r in (row, n - 1):
                if value is None:
                    x[1, r] = -np.inf
                else:
                    x[1, r, (c - 1) // 2] = value
            assert scores(x[1])[1] == row and mc_scores(x)[1] == row
        for change in (np.nan, 0.01, -0.01):
            p = np.full((2, n, c), 1 / c, np.float32)
            p[1, [row, n - 1], 0] += change
            assert scores(p[1], probs=True)[1] == row and mc_scores(p, probs=True)[1] == row
        if c > 1:
            p = np.full((2, n, c), 1 / c, np.float32)
            p[1, row, :2] = -0.25, 0.25 + 2 / c  # adds up to 1
            assert scores(p[1], probs=True)[1] == row and mc_scores(p, probs=True)[1] == row


def test_extreme_logits():
    inf = np.inf
    x = [[0, -inf, 0], [3e38, -3e38, 0], [-inf, -inf, 7], [-3.4e38] * 3, [1e4, 1e4, -inf], [3e38, 3e38, -inf]]
    want = np.log([2, 1, 1, 3, 2, 2]), [1, 0, 0, 1, 1, 1], [0.5, 0, 0, 2 / 3, 0.5, 0.5]
    x = np.array(x, np.float32)
    got, bad = scores(x)
    close(got, want)
    wide = np.full((6, 9000), -inf, np.float32)  # in one part of many, the others of which hold nothing
    wide[:, [17, 5000, 8999]] = x
    close(scores(wide)[0], want)
    close(mc_scores(x[None])[0], [[0] * 6, want[0], [0] * 6, [0] * 6])
    close(mc_scores(wide[None])[0][1], want[0])
    assert bad == 6


@pytest.mark.parametrize("c", [2, 64, 1000, 5000])
def test_rounding_does_not_add_up(c):
    gaps = np.r_[np.arange(0, 100, 7.37), 1e4, np.inf].astype(np.float32)
    x = np.zeros((len(gaps), c), np.float32) - gaps[:, None]  # all alike but one: so is what is wrong with them
    x[:, c // 2] = 0
    p = softmax(x.astype(np.float64), 1)
    close(scores(x)[0], expected(p))
    close(scores(p.astype(np.float32), probs=True)[0], expected(p.astype(np.float32)))


def test_many_predictions():
    x = logits(3, 500, 3, 4)
    close(mc_scores(x)[0], mc_expected(softmax(x.astype(np.float64), 2), x.argmax(2)))


def test_no_rows():
    out, bad = scores(np.empty((0, 3), np.float32))
    assert out.shape == (3, 0) and bad == 0
    out, bad = mc_scores(np.empty((2, 0, 3), np.float32))
    assert out.shape == (4, 0) and bad == 0
