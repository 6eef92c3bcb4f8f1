"""What ranks compute for themselves in a k-center selection: bounds of rows, and picks among candidates."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import _core
from autoal.ops import native, reference

cpu = _core.cpu
EVERYTHING = -1.0  # a floor that no bound reaches


def normal(n, d, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32))


def fresh(n):
    return torch.full((n,), torch.inf), torch.zeros(n, dtype=torch.int32)


def refreshed(kernel, x, scale, centers, rows, floor=EVERYTHING, start=None):
    bounds, seen = (part.clone() for part in start or fresh(len(x)))
    rows = torch.as_tensor(rows)
    kernel(x, scale, centers, rows, torch.full((len(rows),), floor), bounds, seen)
    return bounds, seen


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 70), st.integers(0, 30), st.booleans(), st.data())
def test_refresh_equals_the_reference(lattice, seed, n, d, m, scaled, data):
    x, centers = lattice(n, d, seed=seed), lattice(m, d, seed=seed + 1)
    scale = 2.0 ** torch.arange(n).remainder(3) if scaled else None
    rows = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    rows = torch.tensor(rows, dtype=torch.int64)
    half = refreshed(reference.refresh_bounds, x, scale, centers[: m // 2], rows[::2])
    theirs = refreshed(reference.refresh_bounds, x, scale, centers, rows, start=half)
    ours = refreshed(native.refresh_bounds, x, scale, centers, rows, start=half)
    assert torch.equal(ours[0], theirs[0])
    met = ours[0][rows] > 0  # what has bound 0 need meet nobody
    assert torch.equal(ours[1][rows][met], theirs[1][rows][met])


@pytest.mark.parametrize("isa", cpu.isas())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("d", [3, 64, 129])
def test_bounds_are_those_of_a_traversal(isa, dtype, d):
    """To the last bit, with scale, though panels rule most centers out."""
    cpu.set_isa(isa)
    x = normal(3000, d).to(dtype)
    scale = (1 / x.float().norm(dim=1)).contiguous()
    centers = torch.arange(0, 3000, 21)
    _, radius, _ = native.kcenter_greedy(x, scale, centers, -1, 1, native.PLAIN)
    bounds, _ = refreshed(native.refresh_bounds, x, scale, x[centers].float() * scale[centers, None], range(3000))
    pick = int(native.kcenter_greedy(x, scale, centers, -1, 1, native.PLAIN)[0])
    assert int(bounds.argmax()) == pick
    bounds, _ = refreshed(
        native.refresh_bounds, x, scale, x[[*centers, pick]].float() * scale[[*centers, pick], None], range(3000)
    )
    assert np.sqrt(bounds.max().numpy()) == radius[0].numpy()  # torch's sqrt rounds otherwise


def test_below_the_floor_a_bound_is_above_the_distance():
    x, centers = normal(2000, 20), normal(300, 20, seed=1)
    exact, _ = refreshed(native.refresh_bounds, x, None, centers, range(2000))
    floor = float(exact.median())
    bounds, seen = refreshed(native.refresh_bounds, x, None, centers, range(2000), floor)
    above = bounds > floor
    assert torch.equal(bounds[above], exact[above]) and (seen[above] == 300).all()
    assert torch.equal(above, exact > floor) and (bounds >= exact).all()
    assert (seen[~above] < 300).any(), "nothing was left out, so that nothing was tried"


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 3), st.integers(1, 70), st.data())
def test_among_equals_the_reference(lattice, seed, n, d, k, data):
    x = lattice(n, d, seed=seed, high=2)
    bounds, _ = refreshed(reference.refresh_bounds, x, None, x[: data.draw(st.integers(0, 2)) + 1], range(n))
    bounds[: data.draw(st.integers(0, 2))] = -1
    floor = data.draw(st.sampled_from([EVERYTHING, 0.0, *bounds.tolist()]))
    before = data.draw(st.integers(0, n))
    mine, theirs = bounds.clone(), bounds.clone()
    ours = native.farthest_among(x, mine, floor, before, k)
    expected = reference.farthest_among(x, theirs, floor, before, k)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True)) and torch.equal(mine, theirs)


def test_both_together_are_a_traversal():
    x = normal(4000, 30)
    picks, radius, _ = native.kcenter_greedy(x, None, torch.tensor([7]), -1, 50)
    bounds, _ = refreshed(native.refresh_bounds, x, None, x[[7]], range(4000))
    bounds[7] = -1
    ours, distances = native.farthest_among(x, bounds, EVERYTHING, 0, 51)
    assert torch.equal(ours[:50], picks)
    np.testing.assert_array_equal(np.sqrt(distances[1:].numpy()), radius)


def test_ctrl_c_is_answered_and_other_threads_run():
    x = normal(200_000, 64)
    centers = normal(20_000, 64, seed=1)
    ticks = []

    def tick():
        while not stop.wait(0.01):
            ticks.append(time.monotonic())

    stop, thread = threading.Event(), threading.Thread(target=tick)
    thread.start()
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.5, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        refreshed(native.refresh_bounds, x, None, centers, range(200_000))
    late = time.monotonic() - sent[0]
    stop.set()
    thread.join()
    assert late < 2  # half a second on an idle machine
    assert len(ticks) > 10
