"""coverage_greedy against plain greedy over the matrix of all pairs, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoal import ops
from autoal.ops import native
from autoal.ops.coverage_greedy import draw_targets

pytestmark = pytest.mark.filterwarnings("ignore::autoal.ops.DuplicatesWarning")


def problem(n, d=3, copies=1, seed=0):
    """Rows [n * copies, D] and the values that go with them."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g).repeat(copies, 1)
    weights, gain, covered = torch.rand(3, n, generator=g).repeat(1, copies)
    return x, {"weights": weights, "gain": gain, "covered": covered / 2}


def similarities(x, bandwidth, metric="cosine"):
    x = np.asarray(x, np.float64)
    if metric == "cosine":
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300)
    return np.exp(-bandwidth * np.square(x[:, None] - x[None]).sum(2))


def gains_now(s, done, *, weights, gain, covered):
    """[N] gains of every row by similarities s [N, N] once the rows ``done`` cover."""
    m = np.max([np.asarray(covered, float), *s[np.asarray(done, int)]], axis=0)
    return np.asarray(gain, float) * (np.maximum(s - m, 0) @ np.asarray(weights, float))


def check_greedy(s, picks, gains, labeled=(), **parts):
    """Each pick has the largest gain at its time, and the gain that is told."""
    picks, gains, labeled = picks.tolist(), gains.tolist(), list(labeled)
    assert len({*picks, *labeled}) == len(picks) + len(labeled)
    for b, pick in enumerate(picks):
        now = gains_now(s, labeled + picks[:b], **parts)
        scale = 1e-5 * max(1.0, float(np.sum(np.asarray(parts["weights"], float))))
        assert gains[b] == pytest.approx(now[pick], abs=scale)
        now[labeled + picks[:b]] = -np.inf
        assert gains[b] >= now.max() - scale


@given(n=st.integers(1, 25), copies=st.integers(1, 3), seed=st.integers(0, 100), data=st.data())
def test_each_pick_has_the_largest_gain(n, copies, seed, data):
    x, parts = problem(n, copies=copies, seed=seed)
    labeled = data.draw(st.lists(st.integers(0, n - 1), unique=True, max_size=n - 1))
    k = data.draw(st.integers(0, n * copies - len(labeled)))
    metric, bandwidth = data.draw(st.sampled_from(["cosine", "l2"])), data.draw(st.sampled_from([0.05, 2.0, 300.0]))
    answer = ops.coverage_greedy(x, k, labeled=labeled, bandwidth=bandwidth, metric=metric, return_gains=True, **parts)
    check_greedy(similarities(x, bandwidth, metric), answer.indices, answer.gains, labeled, **parts)
    assert (np.diff(answer.gains) <= 0).all()
    assert not answer.errors.any()


@pytest.mark.parametrize(("n", "d", "k"), [(1, 1, 1), (2, 1, 2), (63, 5, 9), (64, 16, 64), (65, 17, 20), (800, 33, 40)])
def test_sizes_dtypes_and_devices(n, d, k, dtype, device):
    x, parts = problem(n, d, seed=n)
    x = x.to(dtype)
    answer = ops.coverage_greedy(
        x.to(device), k, bandwidth=1.5, return_gains=True, **{name: part.to(device) for name, part in parts.items()}
    )
    assert answer.indices.device.type == device and answer.indices.dtype == torch.int64
    check_greedy(similarities(x.float(), 1.5), answer.indices.cpu(), answer.gains.cpu(), **parts)


def on_threads(threads, arguments, passes, memory=native.LIST_BYTES):
    before = native.cpu.num_threads()
    native.cpu.set_num_threads(threads)
    try:
        return native.coverage_greedy(*arguments, passes, memory)
    finally:
        native.cpu.set_num_threads(before)


def assert_same(answer, other):
    assert all(torch.equal(a, b) for a, b in zip(answer, other, strict=True))


@pytest.mark.parametrize("spread", [0.05, 1.0, 10.0])
@pytest.mark.parametrize("drawn", [False, True])
def test_lazy_picks_are_plain_picks_for_any_threads_and_instructions(spread, drawn, isa):
    x, parts = problem(1500, 20, copies=2)
    x, w, u, m = x * spread, *parts.values()
    targets = torch.arange(0, 3000, 3) if drawn else torch.arange(3000)
    arguments = (x, None, targets, w[targets], w if drawn else None, u, m, torch.tensor([5, 9]), 0.5, 200)
    plain = on_threads(1, arguments, native.PLAIN)
    for threads in (1, 2, 3):
        assert_same(plain, on_threads(threads, arguments, native.LAZY))
    assert_same(plain, on_threads(3, arguments, native.PLAIN))


@pytest.mark.parametrize("memory", [0, 256, 1 << 16, 1 << 19, 1 << 22, native.LIST_BYTES])
@pytest.mark.parametrize("drawn", [False, True])
def test_any_memory_makes_the_same_picks(memory, drawn):
    # Isotropic, and not covered before: first all rows gain by nearly all targets, then gains are close together.
    x, parts = problem(1200, 12, copies=2)
    x, w, ones = torch.nn.functional.normalize(x, dim=1), parts["weights"], torch.ones(2400)
    targets = torch.arange(1, 2400, 2) if drawn else torch.arange(2400)
    arguments = (x, None, targets, w[targets], w if drawn else None, ones, 0 * ones, torch.tensor([3]), 1.5, 300)
    assert_same(on_threads(1, arguments, native.PLAIN), on_threads(2, arguments, native.LAZY, memory))


@pytest.mark.parametrize("kind", ["lattice", "line", "copies", "alike", "steep", "flat", "some weights"])
def test_lazy_picks_are_plain_picks_where_gains_are_equal(kind, isa):
    g = torch.Generator().manual_seed(1)
    n, k, gamma = 900, 900, 0.3
    w, m = torch.ones(n), torch.zeros(n)
    x = torch.randn(n, 4, generator=g)
    if kind == "lattice":
        x = torch.randint(0, 3, (n, 4), generator=g).float()
    elif kind == "line":
        x = torch.arange(n)[:, None].float()
    elif kind == "copies":
        x = x[:9].repeat(100, 1)
    elif kind == "alike":
        x = torch.zeros(n, 4)
    elif kind == "steep":
        gamma, k = 1e4, 400
    elif kind == "flat":
        gamma, k = 1e-6, 400
    else:  # a few rows are worth covering, and some are covered
        w[torch.rand(n, generator=g) < 0.8] = 0.0
        m = torch.rand(n, generator=g).round()
    arguments = (x, None, torch.arange(n), w, None, torch.ones(n), m, torch.empty(0, dtype=torch.int64), gamma, k)
    assert_same(on_threads(1, arguments, native.PLAIN), on_threads(2, arguments, native.LAZY))


def test_weights_of_all_sizes():
    x, _ = problem(600, 6)
    w = 10.0 ** torch.linspace(-14, 14, 600)
    ones = torch.ones(600)
    none = torch.empty(0, dtype=torch.int64)
    arguments = (x, None, torch.arange(600), w, None, ones, 0 * ones, none, 2.0, 100)
    plain = on_threads(1, arguments, native.PLAIN)
    assert_same(plain, on_threads(1, arguments, native.LAZY))
    check_greedy(similarities(x, 2.0, "l2"), plain[0], plain[1], weights=w, gain=ones, covered=0 * ones)


def in_levels(n, levels, bits, seed):
    """Weights [N] around so many powers of two, the lowest of them 2^-bits of the highest, which is 2^40."""
    g = torch.Generator().manual_seed(seed)
    level = torch.randint(0, levels, (n,), generator=g)
    return (torch.rand(n, generator=g) + 0.5) * 2.0 ** (40 - bits * level / (levels - 1))


@pytest.mark.parametrize("labeled", [0, 1, 30])
@pytest.mark.parametrize(("levels", "bits"), [(2, 60), (2, 160), (3, 100), (8, 160)])
def test_light_rows_count_once_heavy_ones_are_covered(levels, bits, labeled, device):
    x, parts = problem(70, 3, seed=levels)
    parts["weights"] = w = in_levels(70, levels, bits, labeled)
    s, done = similarities(x, 2.0, "l2"), w.argsort(descending=True)[:labeled].tolist()
    on_device = {name: part.to(device) for name, part in parts.items()}
    picks, gains, _ = ops.coverage_greedy(
        x.to(device), 70 - labeled, labeled=done, bandwidth=2.0, metric="l2", return_gains=True, **on_device
    )
    for pick, gain in zip(picks.tolist(), gains.tolist(), strict=True):
        now = gains_now(s, done, **parts)
        m = np.max([parts["covered"].numpy(), *s[done]], axis=0)
        scale = 1e-6 * float(w.double().numpy() @ (m < 1))  # rounding of what is left, not of what there was
        now[done] = -np.inf
        assert gain == pytest.approx(now[pick], abs=scale, rel=1e-5) and gain >= now.max() - scale
        done.append(pick)


@given(
    levels=st.integers(2, 8),
    bits=st.sampled_from([30, 60, 160]),
    drawn=st.booleans(),
    memory=st.sampled_from([0, 1 << 16, native.LIST_BYTES]),
    seed=st.integers(0, 99),
)
def test_lazy_and_plain_greedy_change_units_at_the_same_pick(levels, bits, drawn, memory, seed):
    x, parts = problem(120, 4, copies=2, seed=seed)
    u, m = parts["gain"], parts["covered"]
    u[seed % 7 :: 7], m[seed % 5 :: 5] = 0, 1
    w = in_levels(240, levels, bits, seed)
    targets = torch.arange(0, 240, 2) if drawn else torch.arange(240)
    arguments = (x, None, targets, w[targets], w if drawn else None, u, m, torch.tensor([5]), 1.0, 239)
    assert_same(on_threads(1, arguments, native.PLAIN), on_threads(2, arguments, native.LAZY, memory))


def test_equal_weights_take_one_unit():
    """No gain is computed for another: plain passes renew as many as there are rows left, pick by pick."""
    x, ones = torch.arange(200.0)[:, None], torch.ones(200)
    arguments = (x, None, torch.arange(200), ones, None, ones, 0 * ones, torch.empty(0, dtype=torch.int64), 0.5, 50)
    native.take_counts()
    on_threads(1, arguments, native.PLAIN)
    assert native.take_counts()[1] == 200 * (sum(range(151, 201)) + 50)


def test_more_targets_than_sixteen_bits_count():
    x, _ = problem(70_000, 2)
    ones, weights = torch.ones(70_000), torch.linspace(0.5, 1, 70_000)
    barred = torch.arange(70_000)[torch.arange(70_000) % 350 > 0]
    arguments = (x, None, torch.arange(70_000), weights, None, ones, 0 * ones, barred, 2.0, 40)
    assert_same(on_threads(1, arguments, native.PLAIN), on_threads(2, arguments, native.LAZY))


def test_lists_and_symmetry_save_products():
    """Isotropic rows: as few products as four plain passes take, however many picks."""
    x, _ = problem(2500, 32)
    x, ones = torch.nn.functional.normalize(x, dim=1), torch.ones(2500)
    arguments = (x, None, torch.arange(2500), ones, None, ones, 0 * ones, torch.empty(0, dtype=torch.int64), 0.8, 400)
    computed = []
    for memory in (native.LIST_BYTES, 1 << 20, 0):
        native.take_counts()
        on_threads(2, arguments, native.LAZY, memory)
        computed.append(native.take_counts()[1] / 2500**2)
    assert computed[0] < 4 and computed[0] < computed[1] < computed[2]


def test_copies_of_picks_and_labeled_rows_gain_nothing():
    x, _ = problem(200, 40, copies=3)
    with pytest.warns(ops.DuplicatesWarning, match="400 of 599 picks have gain 0"):
        picks, gains, _ = ops.coverage_greedy(x, 599, labeled=[7], bandwidth=500.0, return_gains=True)
    assert sorted({*(picks[:199] % 200).tolist(), 7}) == list(range(200))
    assert (gains[:199] > 0).all() and not gains[199:].any()
    rest = sorted({*range(600)} - {*picks[:199].tolist(), 7})
    assert picks[199:].tolist() == rest


def test_ties_go_to_the_lowest_row():
    x, _ = problem(12)
    assert ops.coverage_greedy(x, 12, weights=torch.zeros(12)).tolist() == list(range(12))
    same = torch.ones(6, 2)
    assert ops.coverage_greedy(same, 2, bandwidth=1.0).tolist() == [0, 1]


def test_gains_that_are_zero_as_float32_fill_up(device):
    x, _ = problem(20)
    gain = torch.full((20,), 1e-25)
    gain[4] = 1e-10
    with pytest.warns(ops.DuplicatesWarning, match="4 of 5 picks have gain 0"):
        picks, gains, _ = ops.coverage_greedy(
            x.to(device), 5, weights=torch.full((20,), 1e-25), gain=gain, bandwidth=1.0, return_gains=True
        )
    assert picks.tolist() == [4, 0, 1, 2, 3] and gains[0] > 0 and not gains[1:].any()


def test_weights_and_gain_default_to_one_and_cover_to_none():
    x, _ = problem(50, 4)
    ones = {"weights": np.ones(50, np.float32), "gain": np.ones(50, np.float32), "covered": np.zeros(50, np.float32)}
    plain = ops.coverage_greedy(x.numpy(), 10, bandwidth=2.0)
    assert isinstance(plain, np.ndarray)
    assert plain.tolist() == ops.coverage_greedy(x.numpy(), 10, bandwidth=2.0, **ones).tolist()


def test_the_bandwidth_comes_from_the_labeled_rows():
    x, parts = problem(60, 5)
    labeled = [3, 14, 15, 40]
    unit = torch.nn.functional.normalize(x[labeled].double(), dim=1)
    squared = torch.cdist(unit, unit).square().fill_diagonal_(torch.inf).amin(1)
    given = ops.coverage_greedy(x, 20, labeled=labeled, bandwidth=1 / float(squared.quantile(0.5)), **parts)
    assert given.tolist() == ops.coverage_greedy(x, 20, labeled=labeled, **parts).tolist()


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_without_labels_the_bandwidth_comes_from_the_pool(metric):
    x, _ = problem(300, 5)
    picks = ops.coverage_greedy(1e-3 * x, 50, metric=metric)
    assert picks.tolist() == ops.coverage_greedy(1e3 * x, 50, metric=metric).tolist()


def test_dropped_rows_are_as_if_they_were_not_there():
    x, parts = problem(40, 4)
    x[[3, 11]] = torch.nan
    kept = np.delete(np.arange(40), [3, 11])
    want = kept[ops.coverage_greedy(x[kept], 15, labeled=[2], **{n: p[kept] for n, p in parts.items()})]
    ours = ops.coverage_greedy(x, 15, labeled=[2, 3], on_nonfinite="drop", **parts)
    assert ours.tolist() == want.tolist()
    with pytest.raises(ValueError, match="rows 3, 11"):
        ops.coverage_greedy(x, 15, **parts)


@pytest.mark.parametrize("bandwidth", [1e-37, 1e37])
@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_the_ends_of_what_is_allowed(bandwidth, size):
    x, _ = problem(30, 4, copies=2)
    most = torch.full((60,), 1e15)
    most[7] = 0
    answer = ops.coverage_greedy(
        size * x, 60, weights=most, gain=most, bandwidth=bandwidth, metric="l2", return_gains=True
    )
    assert sorted(answer.indices.tolist()) == list(range(60))
    assert torch.isfinite(answer.gains).all() and (np.diff(answer.gains) <= 0).all()


def test_inputs_are_not_written_to():
    x, parts = problem(20)
    before = [part.clone() for part in (x, *parts.values())]
    ops.coverage_greedy(x, 5, labeled=[1], **parts)
    assert all(torch.equal(a, b) for a, b in zip(before, (x, *parts.values()), strict=True))


def test_drawn_targets_are_unbiased():
    weights = torch.rand(200, generator=torch.Generator().manual_seed(0)) ** 4
    weights[150:] = 0
    value = torch.linspace(0, 1, 200)
    sums = []
    for seed in range(500):
        hits, drawn = draw_targets(weights, 20, [seed])
        assert float(drawn.sum()) == pytest.approx(float(weights.sum()), rel=1e-5)
        assert int(hits.max()) < 150 and len(set(hits.tolist())) == len(hits)
        sums.append(float(drawn @ value[hits]))
    error = np.std(sums) / len(sums) ** 0.5
    assert abs(np.mean(sums) - float(weights @ value)) < 4 * error


def test_drawn_targets_cost_little_and_tell_their_error():
    x, parts = problem(2000, d=8)
    parts["weights"] = parts["weights"] ** 6  # some rows are drawn more than once
    s = similarities(x, 2.0)

    def true_gains(picks):
        return np.array([gains_now(s, picks[:b], **parts)[picks[b]] for b in range(len(picks))])

    exact = true_gains(ops.coverage_greedy(x, 20, bandwidth=2.0, **parts)).sum()
    off, covered = [], []
    for seed in range(20):
        picks, gains, errors = ops.coverage_greedy(
            x, 20, bandwidth=2.0, targets=1000, seed=seed, return_gains=True, **parts
        )
        truth = true_gains(picks)
        assert truth.sum() > 0.9 * exact
        off.append((gains.numpy() - truth) / errors.numpy())
        covered.append(gains.numpy().sum() / truth.sum())
    assert abs(np.mean(covered) - 1) < 3 * np.std(covered) / 20**0.5 < 0.1  # no pick looks better than it is
    assert 0.3 < np.std(off) < 1.3  # systematic draws err less than the formula, which holds for independent ones
    assert true_gains(np.arange(20)).sum() < 0.8 * exact
    again = ops.coverage_greedy(x, 20, bandwidth=2.0, targets=1000, seed=19, **parts)
    assert again.tolist() == picks.tolist()


def test_as_many_targets_as_have_weight_are_all():
    x, parts = problem(300)
    parts["weights"][100:] = 0
    exact = ops.coverage_greedy(x, 30, bandwidth=2.0, **parts)
    assert ops.coverage_greedy(x, 30, bandwidth=2.0, targets=200, **parts).tolist() == exact.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": torch.tensor([1.0, -1.0, 1.0])}, "weights must be between 0 and 1e.15, which fails in row 1"),
        ({"gain": torch.tensor([1.0, 1.0, torch.inf])}, "gain must be between 0 and 1e.15, which fails in row 2"),
        ({"covered": torch.tensor([0.0, 1.5, torch.nan])}, "covered must be between 0 and 1, which fails in rows 1, 2"),
        ({"weights": torch.ones(2)}, "weights must hold one number for each of the 3 rows, got 2"),
        ({"bandwidth": 0}, "bandwidth must be between 1e-37 and 1e.37, got 0"),
        ({"bandwidth": float("nan")}, "bandwidth must be between 1e-37 and 1e.37, got nan"),
        ({"targets": 0}, "targets must be at least 1"),
        ({"metric": "cos"}, "Did you mean 'cosine'"),
        ({"labeled": [0, 1]}, "k must be between 0 and 1"),
    ],
)
def test_bad_values(options, message):
    with pytest.raises(ValueError, match=message):
        ops.coverage_greedy(torch.randn(3, 2), 2, **options)
    with pytest.raises(TypeError, match="bandwidth must be a number"):
        ops.coverage_greedy(torch.randn(3, 2), 2, bandwidth="1")


def test_progress_is_told():
    seen = []
    ops.coverage_greedy(torch.randn(50, 2), 9, progress=seen.append)
    assert seen[-1] == 9
