"""What coverage_greedy takes rows to be apart, wherever they lie: against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autoal import ops
from autoal.ops import native

pytestmark = pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")
NONE = torch.empty(0, dtype=torch.int64)


def pool(kind, n, d, seed=0):
    """Rows [N, D] whose products lose what tells them apart, each in its own way; and a bandwidth that tells it."""
    rng = np.random.default_rng(seed)
    x, width = rng.standard_normal((n, d)), 1.0
    if kind == "far off":
        x += 1e5
    elif kind == "far apart":  # two clusters, and no origin is near both
        x += np.where(rng.random((n, 1)) < 0.5, 3e4, -3e4)
    elif kind == "an outlier":
        x[n // 2] += 1e8
    elif kind == "some small":  # the smaller part would vanish beside the origin of the others
        x[: n // 3] *= 1e-4
        x[n // 3 :] += 1e4
        width = 1e-4
    elif kind == "near copies":
        x = x[rng.integers(0, 5, n)] + 1e-4 * x
        width = 1e-4
    elif kind == "cube":
        x = rng.integers(0, 2, (n, d)) + 1e3
    x = x.astype(np.float32)
    return torch.from_numpy(x), 1 / (2 * d * width**2)


def similarity(x, i, j, bandwidth, covered=0.0):
    """s(i, j) beyond ``covered``: the gain of row i, the only one that can be picked, by target j."""
    others, n = torch.arange(len(x)), len(x)
    arguments = (x, None, torch.tensor([j]), torch.ones(1), None, torch.ones(n), torch.full((n,), covered))
    return float(native.coverage_greedy(*arguments, others[others != i], bandwidth, 1)[1][0])


@pytest.mark.parametrize("d", [1, 2, 7, 40, 300])
@pytest.mark.parametrize("kind", ["spread", "far off", "far apart", "an outlier", "some small", "near copies", "cube"])
def test_similarities_are_as_near_as_is_said(kind, d, isa):
    x, bandwidth = pool(kind, 50, d)
    rng, wide = np.random.default_rng(d), x.double().numpy()
    off = []
    for i, j in rng.integers(0, 50, (60, 2)).tolist():
        true = np.exp(-bandwidth * np.square(wide[i] - wide[j]).sum())
        off.append(abs(similarity(x, i, j, bandwidth) - true))
        m = np.float32(0.9 * true)
        off.append(abs(similarity(x, i, j, bandwidth, float(m)) - (true - m)))
    assert max(off) <= (d + 16) * 2.0**-18
    assert np.median(off) < 1e-6 * np.sqrt(d)


@pytest.mark.parametrize("d", range(1, 9))
def test_rows_on_a_line_far_off_the_origin(d, device):
    """Each pick is greedy by distances of 100 among rows near 10^6."""
    n, bandwidth = 200, 1e-4 / d
    x = (torch.arange(float(n + 2)) * 100 + 1e6)[:, None].repeat(1, d)
    s = np.exp(-bandwidth * np.square(x.double().numpy()[:, None] - x.double().numpy()[None]).sum(2))
    options = {"labeled": [0, n + 1], "bandwidth": bandwidth, "metric": "l2", "return_gains": True}
    picks, gains, _ = ops.coverage_greedy(x.to(device), 60, **options)
    m = s[[0, n + 1]].max(0)
    for pick, gain in zip(picks.tolist(), gains.tolist(), strict=True):
        now = np.maximum(s - m, 0).sum(1)
        assert gain == pytest.approx(now[pick], abs=1e-3) and gain > now.max() - 1e-3
        m = np.maximum(m, s[pick])


@pytest.mark.parametrize("targets", [None, 100])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_it_does_not_matter_where_integers_lie(scale, targets, lattice, device):
    """To the last bit; the bandwidth that comes from the pool, and gains estimated anew, included."""
    x = lattice(300, 6)
    options = {"metric": "l2", "targets": targets, "return_gains": True}
    here = ops.coverage_greedy((scale * x).to(device), 80, **options)
    for offset in (1000.0, -300_000.0):
        there = ops.coverage_greedy((scale * (x + offset)).to(device), 80, **options)
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


@pytest.mark.parametrize("kind", ["far off", "far apart", "some small", "near copies"])
@pytest.mark.parametrize("drawn", [False, True])
def test_lazy_picks_are_plain_picks_wherever_rows_lie(kind, drawn):
    x, bandwidth = pool(kind, 700, 20)
    x = torch.cat([x, x[:350]])  # and copies
    w, ones = torch.linspace(0.5, 1.5, len(x)), torch.ones(len(x))
    targets = torch.arange(0, len(x), 3 if drawn else 1)
    arguments = (x, None, targets, w[targets], w if drawn else None, ones, 0 * ones, NONE, 10 * bandwidth, 250)
    plain = native.coverage_greedy(*arguments, native.PLAIN)
    for memory in (0, 1 << 18, native.LIST_BYTES):
        lazy = native.coverage_greedy(*arguments, native.LAZY, memory)
        assert all(torch.equal(a, b) for a, b in zip(plain, lazy, strict=True))


@pytest.mark.parametrize("kind", ["spread", "far off", "some small", "near copies"])
def test_copies_of_a_pick_gain_nothing_by_heavy_neighbors(kind, device):
    x, bandwidth = pool(kind, 60, 33)
    x = torch.cat([x, x[:1]])
    weights, gain = torch.full((61,), 1e12), torch.ones(61)
    gain[0] = 100
    picks, gains, _ = ops.coverage_greedy(
        x.to(device), 61, weights=weights, gain=gain, bandwidth=bandwidth, metric="l2", return_gains=True
    )
    assert picks[0] == 0 and picks[-1] == 60 and gains[-1] == 0 and (gains[:-1] > 0).all()


@pytest.mark.parametrize("kind", ["spread", "far off", "an outlier"])
def test_few_pairs_are_computed_anew(kind):
    x, bandwidth = pool(kind, 2000, 20)
    ones = torch.ones(len(x))
    native.take_counts()
    native.coverage_greedy(x, None, torch.arange(len(x)), ones, None, ones, 0 * ones, NONE, bandwidth, 5, native.LAZY)
    alone, in_panels = native.take_counts()
    assert 0 < alone < 0.01 * in_panels
