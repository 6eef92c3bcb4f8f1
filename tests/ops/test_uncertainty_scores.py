"""uncertainty_scores and mc_uncertainty_scores against float64 definitions, over dtype, device and edge sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal import ops
from autoal.ops import reference

SIZES = [(1, 1), (1, 2), (3, 1), (2, 7), (33, 8), (5, 15), (17, 16), (16, 17), (9, 31), (65, 33), (3, 1000), (2, 10000)]
SAMPLES = [(1, 1, 1), (1, 4, 3), (2, 3, 1), (10, 7, 2), (3, 33, 17), (5, 2, 1000), (129, 3, 10)]
LIMIT = 2e-6


def logits_like(*shape: int, seed: int = 0, scale: float = 10.0) -> torch.Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def entropy64(p: np.ndarray) -> np.ndarray:
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)


def close(scores, expected, limit=LIMIT):
    for name, ours, theirs in zip(scores._fields, scores, expected, strict=False):
        assert ours.dtype == torch.float32
        np.testing.assert_allclose(ours.cpu().numpy(), np.asarray(theirs), rtol=0, atol=limit, err_msg=name)


@pytest.mark.parametrize("kind", ["logits", "probs"])
@pytest.mark.parametrize(("n", "c"), SIZES)
def test_definitions_in_float64(n, c, kind, dtype, device):
    x = logits_like(n, c, seed=c).to(dtype)
    x = x.double().softmax(1).to(dtype) if kind == "probs" else x
    p = x.double().numpy() if kind == "probs" else x.double().softmax(1).numpy()
    top = np.sort(np.pad(p, ((0, 0), (1, 0))), axis=1)[:, ::-1]
    scores = ops.uncertainty_scores(x.to(device), kind=kind)
    assert scores.entropy.device.type == device
    # Entropies of probs add up C products, so that their rounding grows with the entropy.
    close(scores, [entropy64(p), 1 - (top[:, 0] - top[:, 1]), 1 - top[:, 0]], LIMIT * max(1, np.log(c) / 3))


@pytest.mark.parametrize("kind", ["logits", "probs"])
@pytest.mark.parametrize(("t", "n", "c"), SAMPLES)
def test_mc_definitions_in_float64(t, n, c, kind, dtype, device):
    x = logits_like(t, n, c, seed=t, scale=3).to(dtype)
    x = x.double().softmax(2).to(dtype) if kind == "probs" else x
    p = x.double().numpy() if kind == "probs" else x.double().softmax(2).numpy()
    mean = p.mean(0)
    votes = np.stack([np.bincount(p[:, i].argmax(1), minlength=c).max() for i in range(n)])
    expected = [
        np.maximum(entropy64(mean) - entropy64(p).mean(0), 0),
        entropy64(mean),
        p.std(0).mean(-1),
        1 - votes / t,
    ]
    close(ops.mc_uncertainty_scores(x.to(device), kind=kind), expected, 2 * LIMIT)


def test_known_answers():
    scores = ops.uncertainty_scores(np.array([[0.5, 0.25, 0.25, 0], [1, 0, 0, 0], [0.25] * 4], "f4"), kind="probs")
    np.testing.assert_allclose(scores.entropy, [1.5 * np.log(2), 0, np.log(4)], atol=1e-6)
    np.testing.assert_array_equal(scores.margin, [0.75, 0, 1])
    np.testing.assert_array_equal(scores.least_confidence, [0.5, 0, 0.75])


def test_extreme_logits(device):
    inf = float("inf")
    x = torch.tensor([[0, -inf, 0], [3e38, -3e38, 0], [-inf, -inf, 7], [-3e38, -3e38, -3e38], [1e4, 1e4, -inf]])
    scores = ops.uncertainty_scores(x.to(device))
    expected = [np.log(2), 0, 0, np.log(3), np.log(2)], [1, 0, 0, 1, 1], [0.5, 0, 0, 2 / 3, 0.5]
    close(scores, expected)
    close(ops.mc_uncertainty_scores(x[None].to(device)), [[0] * 5, expected[0], [0] * 5, [0] * 5])


def test_reference_agrees(dtype):
    x = logits_like(40, 9).to(dtype)
    close(ops.uncertainty_scores(x), reference.uncertainty_scores(x, False, 1e-3)[:3])
    x = logits_like(6, 40, 9).to(dtype)
    close(ops.mc_uncertainty_scores(x), reference.mc_uncertainty_scores(x, False, 1e-3)[:4])


def test_layouts_are_the_same_samples(device, dtype):
    x = logits_like(4, 6, 5).to(device, dtype)  # [T, N, C]
    tnc = ops.mc_uncertainty_scores(x)
    for layout, axes in {"NTC": (1, 0, 2), "NCT": (1, 2, 0)}.items():
        for moved in (x.permute(axes), x.permute(axes).contiguous()):
            for ours, theirs in zip(ops.mc_uncertainty_scores(moved, layout=layout), tnc, strict=True):
                assert torch.equal(ours, theirs)


@pytest.mark.parametrize("c", [1, 3, 10, 100, 1001])
def test_scores_do_not_depend_on_where_rows_lie(c, device, dtype):
    x = logits_like(3, 20, c).to(dtype)
    rows, samples = ops.uncertainty_scores(x[0].to(device)), ops.mc_uncertainty_scores(x.to(device))
    for skipped in range(1, 8):
        space = torch.cat([torch.zeros(skipped, dtype=dtype), x.flatten()]).to(device)
        there = space[skipped:].view(x.shape)
        for ours, theirs in zip(ops.uncertainty_scores(there[0]), rows, strict=True):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(ops.mc_uncertainty_scores(there), samples, strict=True):
            assert torch.equal(ours, theirs)


def test_equal_samples_do_not_disagree(device):
    x = logits_like(1, 50, 10).repeat(7, 1, 1).to(device)
    scores = ops.mc_uncertainty_scores(x)
    assert scores.mean_std.eq(0).all() and scores.variation_ratio.eq(0).all()
    assert scores.bald.eq(0).all()
    single = ops.mc_uncertainty_scores(x[:1])
    assert single.bald.max() < 1e-6 and torch.allclose(single.entropy, ops.uncertainty_scores(x[0]).entropy, atol=1e-6)


def test_ties_of_a_vote_go_to_the_lowest_class():
    x = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [1.0, 0.0, 0.0]])[:, None]  # votes 0, 1, 0
    assert ops.mc_uncertainty_scores(x).variation_ratio.item() == pytest.approx(1 / 3)


def test_small_deviations_do_not_cancel():
    p = torch.tensor([[0.5, 0.5], [0.5 + 1e-4, 0.5 - 1e-4]], dtype=torch.float32)[:, None]
    expected = p.double().std(0, correction=0).mean().item()
    assert ops.mc_uncertainty_scores(p, kind="probs").mean_std.item() == pytest.approx(expected, rel=1e-4)


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 70), st.floats(0, 50))
def test_bounds_and_invariances(seed, n, c, scale):
    x = logits_like(n, c, seed=seed, scale=scale)
    scores = ops.uncertainty_scores(x)
    assert scores.entropy.min() >= 0 and scores.entropy.max() <= np.log(c) + 1e-5
    assert (scores.margin >= scores.least_confidence - 1e-6).all(), "p(2) >= 0"
    assert (scores.least_confidence <= 1 - 1 / c + 1e-6).all()
    order = torch.randperm(c, generator=torch.Generator().manual_seed(seed))
    close(ops.uncertainty_scores(x[:, order]), scores)
    close(ops.uncertainty_scores(x + 1.0), scores, 1e-4)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 20), st.integers(1, 40))
def test_mc_bounds(seed, t, n, c):
    x = logits_like(t, n, c, seed=seed)
    scores = ops.mc_uncertainty_scores(x)
    assert (scores.bald >= 0).all() and (scores.bald <= scores.entropy + 1e-5).all()
    assert (scores.variation_ratio >= 0).all() and (scores.variation_ratio <= 1 - 1 / t + 1e-6).all()
    assert (scores.mean_std >= 0).all() and (scores.mean_std <= 0.5).all()
    order = torch.randperm(t, generator=torch.Generator().manual_seed(seed))
    close(ops.mc_uncertainty_scores(x[order]), scores, 1e-5)


def test_no_rows_give_no_scores():
    assert [score.shape for score in ops.uncertainty_scores(np.empty((0, 3), "f4"))] == [(0,)] * 3
    assert [score.shape for score in ops.mc_uncertainty_scores(torch.empty(2, 0, 3))] == [(0,)] * 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_rows_that_are_not_finite(bad, device):
    x = logits_like(9, 4).to(device)
    broken = x.clone()
    broken[[2, 7], 1] = bad
    broken[4] = -float("inf")
    with pytest.raises(ValueError, match=r"logits holds .* in rows 2, 4, 7: .*on_nonfinite='drop'"):
        ops.uncertainty_scores(broken)
    with pytest.raises(ValueError, match=r"mc holds .* in rows 2, 4, 7"):
        ops.mc_uncertainty_scores(torch.stack([x, broken]))
    good = [0, 1, 3, 5, 6, 8]
    for dropped, whole in (
        (ops.uncertainty_scores(broken, on_nonfinite="drop"), ops.uncertainty_scores(x)),
        (
            ops.mc_uncertainty_scores(torch.stack([x, broken]), on_nonfinite="drop"),
            ops.mc_uncertainty_scores(torch.stack([x, x])),
        ),
    ):
        for ours, theirs in zip(dropped, whole, strict=True):
            assert ours[[2, 4, 7]].eq(-torch.inf).all(), "never asked first"
            assert torch.equal(ours[good], theirs[good])


@pytest.mark.parametrize("row", [[0.5, 0.6], [1.5, -0.5], [0.5, 0.4]])
def test_probs_that_are_none(row, dtype, device):
    x = torch.tensor([[0.5, 0.5], row, [1, 0]], dtype=dtype, device=device)
    for score in (ops.uncertainty_scores, lambda y, **kw: ops.mc_uncertainty_scores(y[None], **kw)):
        for on_nonfinite in ("raise", "drop"):
            with pytest.raises(ValueError, match=r"sum to 1 .* in row 1: .*kind='logits'"):
                score(x, kind="probs", on_nonfinite=on_nonfinite)


def test_rounded_probs_are_fine(dtype):
    x = logits_like(200, 300, scale=1).double().softmax(1).to(dtype)
    ops.uncertainty_scores(x, kind="probs")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((np.zeros((3, 2), np.int64),), {}, TypeError, r"logits must be \[N, C\] float, got \(3, 2\) int64"),
        (("text",), {}, TypeError, "logits must be .* got str"),
        ((np.zeros(3, "f4"),), {}, ValueError, r"logits must be \[N, C\] float, got \(3,\) float32"),
        ((np.zeros((3, 0), "f4"),), {}, ValueError, "at least one column"),
        ((np.zeros((3, 2), "f4"),), {"kind": "prob"}, ValueError, "kind 'prob'. Did you mean 'probs'"),
        ((np.zeros((3, 2), "f4"),), {"on_nonfinite": "skip"}, ValueError, "on_nonfinite 'skip'"),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        ops.uncertainty_scores(*arguments, **options)


def test_mc_errors():
    x = np.zeros((2, 3, 4), "f4")
    with pytest.raises(ValueError, match=r"unknown layout 'TCN'.*Known: NCT, NTC, TNC"):
        ops.mc_uncertainty_scores(x, layout="TCN")
    with pytest.raises(ValueError, match=r"mc must be \[N, C, T\] float, got \(3, 4\)"):
        ops.mc_uncertainty_scores(x[0], layout="NCT")
    with pytest.raises(ValueError, match="T and C at least 1"):
        ops.mc_uncertainty_scores(x[:0])
