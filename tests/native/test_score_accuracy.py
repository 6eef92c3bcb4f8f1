"""Scores and conversions of every instruction set against float64, at widths around those of its registers."""

import numpy as np
import pytest

from autoal import _core

cpu = _core.cpu
WIDTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 300, 10_000]


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


@pytest.mark.parametrize("c", WIDTHS)
def test_uncertainty_scores(c):
    n = 31
    x = logits_of(np.random.default_rng(c), (n, c))
    p = softmax(x)
    ordered = np.sort(np.concatenate([np.zeros((n, 1)), p], 1), 1)
    want = [entropy(p), 1 - (ordered[:, -1] - ordered[:, -2]), 1 - ordered[:, -1]]
    for kind, values in enumerate([x, p.astype(np.float32)]):
        out, bad = np.empty((3, n), np.float32), np.empty(1, np.int64)
        cpu.uncertainty_scores(_core.Matrix(at(values), n, c, 0), kind, 1e-3, *map(at, out), at(bad))
        np.testing.assert_allclose(out, want, rtol=0, atol=2e-6)
        assert bad[0] == n


@pytest.mark.parametrize("c", WIDTHS)
def test_mc_uncertainty_scores_in_any_layout(c):
    t, n = 4, 13
    x = logits_of(np.random.default_rng(c), (t, n, c))
    p = softmax(x)
    mean = p.mean(0)
    votes = np.stack([(x.argmax(-1) == j).sum(0) for j in range(c)])
    want = [entropy(mean) - entropy(p).mean(0), entropy(mean), p.std(0).mean(-1), 1 - votes.max(0) / t]
    for axes in [(0, 1, 2), (1, 0, 2), (2, 1, 0)]:  # which axis of the samples lies where in memory
        stored = np.ascontiguousarray(x.transpose(axes)).transpose(np.argsort(axes))
        strides = [s // 4 for s in stored.strides]
        out, bad = np.empty((4, n), np.float32), np.empty(1, np.int64)
        cpu.mc_uncertainty_scores(_core.Samples(at(stored), t, n, c, *strides, 0), 0, 1e-3, *map(at, out), at(bad))
        np.testing.assert_allclose(out, want, rtol=0, atol=2e-6)
        assert bad[0] == n


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
            _core.Matrix(at(pair), 2, 1, dtype), 0, 0, 0, 0, 1, 0, at(picks), at(radius), at(filled), None
        )
        assert radius[0] == np.abs(x[b] - 1)
