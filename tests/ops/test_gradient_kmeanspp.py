"""gradient_kmeanspp against the gradients formed explicitly: draw for draw, and by the enumerated D^2 law."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from autoal import ops
from autoal.ops import native, reference

DRAWS = 6000
# Sums of these are exact in float32, so that picks can be compared one by one.
DYADIC = torch.tensor([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0], [0.25] * 4, [0.75, 0.125, 0.125, 0]])


def dyadic_pool(n: int, d: int, lattice, seed: int):
    generator = torch.Generator().manual_seed(seed)
    rows = DYADIC[torch.randint(len(DYADIC), (n,), generator=generator)]
    columns = torch.rand(n, 4, generator=generator).argsort(1)
    return rows.gather(1, columns), lattice(n, d, seed=seed)


def gradients(p, h):
    p, h = p.double().numpy(), h.double().numpy()
    a = p - np.eye(p.shape[1])[p.argmax(1)]
    return np.einsum("nc,nd->ncd", a, h).reshape(len(p), -1)


@pytest.mark.parametrize("kind", ["logits", "probs"])
def test_the_law(kind, device, dtype):
    logits = torch.tensor([[0.0, 0, 0], [1, 0, -1], [0, 2, 1], [-1, 0, 0], [1, 1, 0], [3, 0, 0]])
    p = (logits.double().softmax(1)).to(dtype)
    h = torch.tensor([[2.0, 1], [1, 0], [0, -1], [3, 1], [-1, 2], [1, 1]]).to(dtype)
    x = (p if kind == "probs" else logits).to(device, dtype)
    g = gradients(p if kind == "probs" else logits.double().softmax(1), h)
    d2 = np.square(g[:, None] - g[None]).sum(2)
    first = np.square(g).sum(1).argmax()
    law = np.zeros((6, 6))  # of picks 2 and 3
    for j in range(6):
        nearest = np.minimum(d2[first], d2[j])
        law[j] = d2[first, j] / d2[first].sum() * nearest / nearest.sum()
    counts = np.zeros((6, 6))
    for seed in range(DRAWS):
        picks = ops.gradient_kmeanspp(x, h.to(device), 3, kind=kind, seed=seed).tolist()
        assert picks[0] == first
        counts[picks[1], picks[2]] += 1
    possible = law > 0
    assert possible.sum() == 20 and counts[~possible].sum() == 0
    assert chisquare(counts[possible], DRAWS * law[possible]).pvalue > 1e-4
    assert chisquare(counts.sum(1)[counts.sum(1) > 0], DRAWS * law.sum(1)[counts.sum(1) > 0]).pvalue > 1e-4


@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 5), st.data())
def test_reference_draw_for_draw(lattice, seed, n, d, data):
    p, h = dyadic_pool(n, d, lattice, seed)
    k = data.draw(st.integers(1, n))
    ours = torch.ops.autoal.gradient_kmeanspp(p, True, 1e-3, h, k, seed)
    for a, b in zip(ours, reference.gradient_kmeanspp(p, True, 1e-3, h, k, seed), strict=True):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("passes", [native.PLAIN, native.LAZY, native.AUTO], ids=["plain", "lazy", "auto"])
@pytest.mark.parametrize(
    ("n", "c", "d", "k"), [(900, 4, 31, 20), (1025, 4, 1, 25), (5000, 80, 16, 300), (60_000, 70, 70, 600)]
)
def test_cuda_draws_what_the_cpu_does(device, dtype, lattice, n, c, d, k, passes):
    if device == "cpu":
        pytest.skip("what the others are compared to")
    p, h = dyadic_pool(n, d, lattice, n)
    p = torch.nn.functional.pad(p, (0, c - p.shape[1]))  # from 64 classes on, factors are rounded to bfloat16
    pools = (p.to(device, dtype), h.to(device, dtype)), (p, h)
    ours, theirs = (native.gradient_kmeanspp(x, True, 1e-3, y, k, n, passes) for x, y in pools)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.cpu(), b)


@pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (33, 17, 33), (4097, 5, 9), (9000, 2, 12), (40, 900, 5)])
def test_reference_on_edge_sizes(n, d, k, lattice, dtype, device):
    p, h = dyadic_pool(n, d, lattice, n)
    picks, _, _ = reference.gradient_kmeanspp(p, True, 1e-3, h, k, 5)
    ours = ops.gradient_kmeanspp(p.to(device, dtype), h.to(device, dtype), k, kind="probs", seed=5)
    assert torch.equal(ours.cpu(), picks)


def test_real_numbers_follow_the_gradients(device):
    """The draws are decided by clear margins here, so the factored form picks what the explicit one does."""
    generator = torch.Generator().manual_seed(0)
    logits, h = 2 * torch.randn(300, 10, generator=generator), torch.randn(300, 24, generator=generator)
    picks, _, _ = reference.gradient_kmeanspp(logits, False, 1e-3, h, 40, 1)
    assert torch.equal(ops.gradient_kmeanspp(logits.to(device), h.to(device), 40, seed=1).cpu(), picks)


def test_one_input_may_be_half():
    p, h = DYADIC, torch.arange(10.0).reshape(5, 2)
    expected = ops.gradient_kmeanspp(p, h, 3, kind="probs")
    assert torch.equal(ops.gradient_kmeanspp(p.half(), h, 3, kind="probs"), expected)
    assert torch.equal(ops.gradient_kmeanspp(p, h.bfloat16(), 3, kind="probs"), expected)


def test_zero_gradients_fill_up(device):
    """A certain model, one class, or embeddings of zero: nothing tells the rows apart."""
    p, h = torch.tensor([[1.0, 0]] * 4, device=device), torch.arange(8.0, device=device).reshape(4, 2)
    one = torch.zeros(4, 1, device=device)
    flat = torch.full((4, 2), 0.5, device=device)
    for x, y in ((p, h), (one + 1, h), (flat, torch.zeros_like(h))):
        with pytest.warns(ops.DuplicatesWarning, match="3 of 3 picks"):
            assert ops.gradient_kmeanspp(x, y, 3, kind="probs").tolist() == [0, 1, 2]


def test_copies_come_last(device):
    p = torch.tensor([[0.5, 0.5]], device=device).repeat(6, 1)
    h = torch.tensor([[1.1, 0.7], [3.3, 0], [1.1, 0.7], [3.3, 0], [0, 2.3], [0, 2.3]], device=device)
    with pytest.warns(ops.DuplicatesWarning, match="3 of 6 picks"):
        picks = ops.gradient_kmeanspp(p, h, 6, kind="probs", seed=1).tolist()
    assert picks[0] == 1 and len({tuple(h[i].tolist()) for i in picks[:3]}) == 3
    assert picks[3:] == sorted(picks[3:])


def test_ruled_out_classes(device):
    inf = float("inf")
    x = torch.tensor([[0, -inf], [-inf, 3], [1, 0], [0.5, 0]], device=device)
    assert set(ops.gradient_kmeanspp(x, torch.eye(4, device=device), 2).tolist()) == {2, 3}


def test_nothing_asked_is_still_checked():
    assert ops.gradient_kmeanspp(np.zeros((3, 2), "f4"), np.zeros((3, 2), "f4"), 0).shape == (0,)
    assert ops.gradient_kmeanspp(np.zeros((0, 2), "f4"), np.zeros((0, 2), "f4"), 0).shape == (0,)
    with pytest.raises(ValueError, match="sum to 1"):
        ops.gradient_kmeanspp(np.zeros((3, 2), "f4"), np.zeros((3, 2), "f4"), 0, kind="probs")


def test_rows_that_are_not_finite():
    generator = torch.Generator().manual_seed(0)
    x, h = torch.randn(30, 4, generator=generator), torch.randn(30, 6, generator=generator)
    whole = x.clone(), h.clone()
    x[[7, 9], 1] = float("nan")
    h[[2, 9], 3] = float("inf")
    with pytest.raises(ValueError, match="embeddings holds NaN or Inf in rows 2, 9"):
        ops.gradient_kmeanspp(x, h, 3)
    with pytest.raises(ValueError, match=r"logits holds .* in rows 7, 9"):
        ops.gradient_kmeanspp(x, whole[1], 3)
    good = [i for i in range(30) if i not in (2, 7, 9)]
    expected = torch.tensor(good)[ops.gradient_kmeanspp(whole[0][good], whole[1][good], 27, seed=4)]
    assert torch.equal(ops.gradient_kmeanspp(x, h, 27, seed=4, on_nonfinite="drop"), expected)
    with pytest.raises(ValueError, match="k must be between 0 and 27"):
        ops.gradient_kmeanspp(x, h, 28, on_nonfinite="drop")
    p = whole[0].softmax(1)
    p[8] *= 2
    with pytest.raises(ValueError, match=r"sum to 1 .* in row 8"):  # by its number in the pool, not among the kept
        ops.gradient_kmeanspp(p, h, 3, kind="probs", on_nonfinite="drop")


def test_errors():
    x, h = np.zeros((3, 2), "f4"), np.zeros((3, 5), "f4")
    with pytest.raises(ValueError, match="same number of rows, got 3 and 2"):
        ops.gradient_kmeanspp(x, h[:2], 1)
    with pytest.raises(ValueError, match="k must be between 0 and 3"):
        ops.gradient_kmeanspp(x, h, 4)
    with pytest.raises(ValueError, match="unknown kind 'log'"):
        ops.gradient_kmeanspp(x, h, 1, kind="log")
    with pytest.raises(TypeError, match=r"embeddings must be \[N, D\] float, got \(3, 5\) int8"):
        ops.gradient_kmeanspp(x, h.astype(np.int8), 1)
    with pytest.raises(ValueError, match="on one device, got cpu and meta"):
        ops.gradient_kmeanspp(torch.zeros(3, 2), torch.zeros(3, 2, device="meta"), 1)
