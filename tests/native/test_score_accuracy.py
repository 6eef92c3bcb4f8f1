"""Scores and conversions of every instruction set against float64, at widths around those of its registers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory import guarded

from autoal import _core

cpu = _core.cpu
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 63, 64, 65, 100, 255, 256, 257, 300, 10_000]
LAYOUTS = {"TNC": (0, 1, 2), "NTC": (1, 0, 2), "NCT": (1, 2, 0), "CTN": (2, 0, 1)}  # the axes in the order of memory
CODES = {"float32": 0, "float16": 1, "bfloat16": 2}


@pytest.fixture(params=cpu.isas(), autouse=True)
def isa(request):
    cpu.set_isa(request.param)


def at(array):
    return array.ctypes.data


def softmax(logits):
    """In float64, over the last axis."""
    e = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropy(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def logits_of(rng, shape):
    """A third of the rows near uniform, a third spread over [-50, 50], a third with a class ruled out."""
    x = rng.standard_normal(shape).astype(np.float32)
    x[..., 1::3, :] = rng.uniform(-50, 50, x[..., 1::3, :].shape)
    if shape[-1] > 1:
        x[..., 2::3, -1] = -np.inf
    return x


def stored(x, dtype):
    """The numbers in a dtype's bits, and as the float32 that these bits mean."""
    if dtype == "float16":
        half = x.astype(np.float16)
        return half, half.astype(np.float32)
    if dtype == "bfloat16":
        bits = (x.view(np.uint32) >> 16).astype(np.uint16)
        return bits, (bits.astype(np.uint32) << 16).view(np.float32)
    return x, x


def scores(x, kind=0, dtype="float32", tolerance=1e-3):
    """Entropy, margin, least confidence [3, N]; the lowest bad row."""
    out, bad = np.full((3, len(x)), np.nan, np.float32), np.empty(1, np.int64)
    cpu.uncertainty_scores(_core.Matrix(at(x), *x.shape, CODES[dtype]), kind, tolerance, *map(at, out), at(bad))
    return out, bad[0]


def mc_scores(x, kind=0, dtype="float32", tolerance=1e-3):
    """BALD, entropy, mean-STD, variation ratio [4, N] of x [T, N, C] with any strides; the lowest bad sample."""
    t, n, c = x.shape
    out, bad = np.full((4, n), np.nan, np.float32), np.empty(1, np.int64)
    strides = [s // x.itemsize for s in x.strides]
    samples = _core.Samples(at(x), t, n, c, *strides, CODES[dtype])
    cpu.mc_uncertainty_scores(samples, kind, tolerance, *map(at, out), at(bad))
    return out, bad[0]


def laid_out(x, layout):
    """x [T, N, C], in memory as the layout says."""
    axes = LAYOUTS[layout]
    return np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))


def scores_in_float64(p):
    ordered = np.sort(np.concatenate([np.zeros((len(p), 1)), p], 1), 1)
    return [entropy(p), 1 - (ordered[:, -1] - ordered[:, -2]), 1 - ordered[:, -1]]


def mc_scores_in_float64(p, votes):
    """From probabilities [T, N, C] and the classes voted for [T, N]."""
    most = (votes[..., None] == np.arange(p.shape[-1])).sum(0).max(-1)
    mean = p.mean(0)
    return [entropy(mean) - entropy(p).mean(0), entropy(mean), p.std(0).mean(-1), 1 - most / len(p)]


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", WIDTHS)
def test_uncertainty_scores(c, dtype):
    bits, x = stored(logits_of(np.random.default_rng(c), (31, c)), dtype)
    p = softmax(x)
    out, bad = scores(bits, dtype=dtype)
    np.testing.assert_allclose(out, scores_in_float64(p), rtol=0, atol=2e-6)
    assert bad == len(x)
    bits, p = stored(p.astype(np.float32), dtype)
    out, bad = scores(bits, 1, dtype, 0.5)
    np.testing.assert_allclose(out, scores_in_float64(p.astype(np.float64)), rtol=0, atol=2e-6)
    assert bad == len(x)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", WIDTHS)
def test_mc_uncertainty_scores_in_any_layout(c, dtype, layout):
    bits, x = stored(logits_of(np.random.default_rng(c), (5, 19 if c < 1000 else 2, c)), dtype)
    p = softmax(x)
    out, bad = mc_scores(laid_out(bits, layout), dtype=dtype)
    np.testing.assert_allclose(out, mc_scores_in_float64(p, x.argmax(-1)), rtol=0, atol=2e-6)
    assert bad == x.shape[1]
    bits, p = stored(p.astype(np.float32), dtype)
    out, bad = mc_scores(laid_out(bits, layout), 1, dtype, 0.5)
    np.testing.assert_allclose(out, mc_scores_in_float64(p.astype(np.float64), p.argmax(-1)), rtol=0, atol=2e-6)
    assert bad == x.shape[1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("n", [1, 3, 4, 5, 15, 16, 17, 33])
@pytest.mark.parametrize("t", [1, 2, 3, 4, 5, 8, 50])
def test_mc_uncertainty_scores_of_any_number(t, n, layout):
    x = logits_of(np.random.default_rng(t), (t, n, 6))
    out, bad = mc_scores(laid_out(x, layout))
    np.testing.assert_allclose(out, mc_scores_in_float64(softmax(x), x.argmax(-1)), rtol=0, atol=2e-6)
    assert bad == n


@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 6), st.integers(1, 40), st.sampled_from([0, 1]))
def test_scores_depend_on_nothing_but_the_row(seed, c, t, n, kind):
    rng = np.random.default_rng(seed)
    x = logits_of(rng, (t, n, c))
    x = softmax(x).astype(np.float32) if kind else x
    begin, end = sorted(rng.integers(0, n + 1, 2))
    part, _ = scores(x[0, begin:end], kind)
    np.testing.assert_array_equal(part, scores(x[0], kind)[0][:, begin:end])
    whole, _ = mc_scores(x, kind)
    np.testing.assert_array_equal(mc_scores(x[:, begin:end], kind)[0], whole[:, begin:end])
    for layout in LAYOUTS:
        np.testing.assert_array_equal(mc_scores(laid_out(x, layout), kind)[0], whole)


@pytest.mark.parametrize("c", [2, 10, 64, 65, 256, 257])
def test_equal_predictions_do_not_disagree(c):
    x = logits_of(np.random.default_rng(c), (1, 40, c))
    for kind, values in enumerate([x, softmax(x).astype(np.float32)]):
        for t in (1, 3, 10):
            bald, h, deviation, variation = mc_scores(np.repeat(values, t, 0), kind)[0]
            assert not bald.any() and not deviation.any() and not variation.any()
            np.testing.assert_allclose(h, entropy(softmax(x[0])), rtol=0, atol=2e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.sampled_from([1, 2, 3, 5, 64, 65, 257]))
def test_ties_of_a_vote_go_to_the_lowest_class(seed, t, c):
    x = np.random.default_rng(seed).integers(0, 3, (t, 20, c)).astype(np.float32)
    p = np.zeros_like(x)
    np.put_along_axis(p, x.argmax(-1)[..., None], 0.5, -1)
    p[..., -1] += 0.5  # a tie, unless the vote is for the last class
    for kind, values in enumerate([x, p]):
        want = mc_scores_in_float64(softmax(x), x.argmax(-1))[3]
        np.testing.assert_allclose(mc_scores(values, kind)[0][3], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("c", [1, 2, 10, 63, 64, 65, 256, 257, 1000])
def test_the_lowest_bad_row_is_told(c):
    quiet, loud = np.array([0x7FC00001, 0x7F800001], np.uint32).view(np.float32)  # what a NaN may carry
    for n in (1, 16, 37):
        for row in {0, n // 2, n - 1}:
            for value in (np.nan, -np.nan, np.inf, quiet, loud, None):
                x = logits_of(np.random.default_rng(c), (3, n, c))
                for r in {row, n - 1}:
                    if value is None:
                        x[1, r] = -np.inf
                    else:
                        x[1, r, (c - 1) // 2] = value
                assert scores(x[1])[1] == row and mc_scores(x)[1] == row
                assert all(mc_scores(laid_out(x, layout))[1] == row for layout in LAYOUTS)
            for change in (np.nan, 0.01, -0.01):
                p = np.full((3, n, c), 1 / c, np.float32)
                p[1, [row, n - 1], 0] += change
                assert scores(p[1], 1)[1] == row and mc_scores(p, 1)[1] == row
            if c > 1:
                p = np.full((3, n, c), 1 / c, np.float32)
                p[1, row, :2] = -0.25, 0.25 + 2 / c  # adds up to 1
                assert scores(p[1], 1)[1] == row and mc_scores(p, 1)[1] == row


@pytest.mark.parametrize("c", [2, 64, 65, 1000, 10_000])
def test_rounding_does_not_add_up(c):
    gaps = np.r_[np.arange(0, 130, 0.37), 1e4, np.inf].astype(np.float32)
    x = np.zeros((len(gaps), c), np.float32)
    x -= gaps[:, None]  # all the same but one: what is wrong with one exponential is wrong with all
    x[:, c // 2] = 0
    p = softmax(x)
    q = p.astype(np.float32)
    limit = 2e-6 if c < 10_000 else 3e-6
    np.testing.assert_allclose(scores(x)[0], scores_in_float64(p), rtol=0, atol=limit)
    np.testing.assert_allclose(scores(q, 1)[0], scores_in_float64(q.astype(np.float64)), rtol=0, atol=limit)
    h = scores(x)[0][0]
    certain = (gaps > 20) & (gaps < 80)
    if c == 2:  # entropies of 1e-8 keep their order, for what is asked first among certain rows
        np.testing.assert_allclose(h[certain], entropy(p)[certain], rtol=0.1, atol=0)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("c", [1, 2, 3, 5, 10, 63, 64, 65, 100, 256, 257, 1000])
def test_nothing_beyond_the_array_is_read(c, dtype):
    """The array ends where a page does, behind which there is none: a read beyond it would end the process."""
    size = np.dtype(np.float32 if dtype == "float32" else np.uint16).itemsize
    for t, n in ((1, 1), (3, 5), (5, 17)):
        bits, _ = stored(logits_of(np.random.default_rng(c), (t, n, c)), dtype)
        with guarded(bits.size * size) as memory:
            for layout, axes in LAYOUTS.items():
                x = np.frombuffer(memory, bits.dtype).reshape([bits.shape[a] for a in axes])
                x[...] = bits.transpose(axes)
                x = x.transpose(np.argsort(axes))
                np.testing.assert_array_equal(mc_scores(x, dtype=dtype)[0], mc_scores(bits, dtype=dtype)[0], layout)
            rows = np.frombuffer(memory, bits.dtype).reshape(t * n, c)
            rows[...] = bits.reshape(t * n, c)
            np.testing.assert_array_equal(scores(rows, dtype=dtype)[0], scores(rows.copy(), dtype=dtype)[0])
            del x, rows


@pytest.mark.parametrize("c", [3, 10, 64, 65, 257])
@pytest.mark.parametrize("dtype", CODES)
def test_rows_at_odd_addresses(c, dtype):
    bits, _ = stored(logits_of(np.random.default_rng(c), (3, 20, c)), dtype)
    for skipped in range(1, 17):
        x = np.concatenate([np.zeros(skipped, bits.dtype), bits.ravel()])[skipped:].reshape(bits.shape)
        np.testing.assert_array_equal(scores(x[0], dtype=dtype)[0], scores(bits[0], dtype=dtype)[0])
        np.testing.assert_array_equal(mc_scores(x, dtype=dtype)[0], mc_scores(bits, dtype=dtype)[0])


@pytest.mark.parametrize("dtype, one", [(1, 0x3C00), (2, 0x3F80)])
def test_every_16_bit_number_is_read_as_it_is(dtype, one):
    bits = np.arange(1 << 16, dtype=np.uint16)
    x = bits.view(np.float16).astype(np.float32) if dtype == 1 else (bits.astype(np.uint32) << 16).view(np.float32)
    norms = np.empty(len(bits), np.float32)
    cpu.squared_norms(_core.Matrix(at(bits), len(bits), 1, dtype), at(norms))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(norms, x * x)  # NaN equals NaN here
    picks, radius, filled = np.empty(1, np.int64), np.empty(1, np.float32), np.empty(1, np.int64)
    for b in bits[np.isfinite(x) & (np.abs(x) < 8) & (np.abs(x) > 1e-3)][::97]:  # a square hides the sign, |x - 1| not
        pair = np.array([one, b], np.uint16)
        cpu.kcenter_greedy(
            _core.Matrix(at(pair), 2, 1, dtype), 0, 0, 0, 0, 0, 0, 1, 0, at(picks), at(radius), at(filled), None
        )
        assert radius[0] == np.abs(x[b] - 1)
