"""The weighted coverage greedy: exact against plain enumeration, in blocks, on copies, on a subset of targets."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal.search.coverage import greedy


def problem(n, d=3, copies=1, seed=0):
    g = torch.Generator().manual_seed(seed)
    unit = torch.nn.functional.normalize(torch.randn(n, d, generator=g), dim=1).repeat(copies, 1)
    weight, multiplier, covered = torch.rand(3, n, generator=g).repeat(1, copies)
    return unit, {"weight": weight, "multiplier": multiplier, "covered": covered / 2, "gamma": 2.0}


def solve(unit, size, rng=0, **parts):
    return greedy.coverage_greedy(unit, size, rng=np.random.default_rng(rng), **parts)


def gains_now(unit, picks, *, weight, multiplier, covered, gamma):
    """[U] float64 gains of every point after ``picks``, from the definition."""
    x = unit.double().numpy()
    k = np.exp(-gamma * np.square(x[:, None] - x[None]).sum(2))
    m = np.max([covered.double().numpy(), *k[np.asarray(picks, int)]], axis=0)
    return multiplier.double().numpy() * (np.maximum(k - m, 0) @ weight.double().numpy())


@given(n=st.integers(1, 25), copies=st.integers(1, 3), seed=st.integers(0, 100), data=st.data())
def test_each_pick_has_the_largest_gain(n, copies, seed, data):
    unit, parts = problem(n, copies=copies, seed=seed)
    size = data.draw(st.integers(1, n * copies))
    picks, gains = solve(unit, size, **parts)
    assert len(set(picks.tolist())) == size
    for b in range(size):
        now = gains_now(unit, picks[:b], **parts)
        assert gains[b] == pytest.approx(now[picks[b]], abs=1e-5)
        now[picks[:b]] = -np.inf
        assert gains[b] >= now.max() - 1e-5
    assert (np.diff(gains) <= 1e-5).all()


@pytest.mark.parametrize(("block", "refresh"), [(1, 1), (50, 3), (1 << 24, 1000)])
def test_blocks_do_not_matter(monkeypatch, block, refresh):
    unit, parts = problem(300)
    want = solve(unit, 60, **parts)[0]
    monkeypatch.setattr(greedy, "BLOCK", block)
    monkeypatch.setattr(greedy, "FIRST_REFRESH", refresh)
    np.testing.assert_array_equal(solve(unit, 60, **parts)[0], want)


def test_ties_go_to_the_lowest_position():
    unit, parts = problem(10)
    parts["weight"] = torch.zeros(10)
    assert solve(unit, 10, **parts)[0].tolist() == list(range(10))


def test_inputs_are_not_written_to():
    unit, parts = problem(20)
    before = {name: part.clone() for name, part in parts.items() if name != "gamma"}
    solve(unit, 5, **parts)
    assert all(torch.equal(parts[name], part) for name, part in before.items())


def test_drawn_targets_are_unbiased():
    weight = torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 4
    value = torch.linspace(0, 1, 200)
    sums = []
    for seed in range(500):
        hits, drawn = greedy.draw_targets(weight, 20, np.random.default_rng(seed))
        assert float(drawn.sum()) == pytest.approx(float(weight.sum()), rel=1e-5)
        sums.append(float(drawn @ value[hits]))
    error = np.std(sums) / len(sums) ** 0.5
    assert abs(np.mean(sums) - float(weight @ value)) < 4 * error


def test_drawn_targets_cost_little(monkeypatch):
    unit, parts = problem(2000, d=8)

    def worth(picks):  # what the greedy picks maximise step by step
        steps = torch.from_numpy(picks)
        k = torch.exp(parts["gamma"] * (2 * unit[steps] @ unit.T - 2))  # [B, U]
        m = torch.cat([parts["covered"][None], k]).cummax(0).values
        return float((parts["multiplier"][steps] * ((m[1:] - m[:-1]) @ parts["weight"])).sum())

    exact = worth(solve(unit, 20, **parts)[0])
    monkeypatch.setattr(greedy, "MOST_TARGETS", 1000)
    drawn = [solve(unit, 20, rng, **parts)[0] for rng in (0, 0, 1)]
    assert min(map(worth, drawn)) > 0.9 * exact
    assert worth(np.arange(20)) < 0.8 * exact
    assert drawn[0].tolist() == drawn[1].tolist() != drawn[2].tolist()
