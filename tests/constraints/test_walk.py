"""The walk against slow plain ones; what is pending and what is excluded; how often a strategy is asked."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import autoal
from autoal.search.candidates import Candidates
from autoal.strategies import STRATEGIES, Picks, ScoreStrategy, Strategy, vaal
from autoal.strategies.probcover import ProbCover

NONE = np.empty(0, np.int64)


class Plain:
    """The rules in the plainest form: each is looked at anew for each sample."""

    def __init__(self, x, chosen, groups, limits, costs, budget, least):
        self.x, self.centers = x, list(chosen)
        self.groups, self.limits, self.costs, self.budget, self.least = groups, dict(limits), costs, budget, least
        self.taken = []

    def allows(self, row):
        full = sum(self.groups[i] == self.groups[row] for i in self.taken) >= self.limits[self.groups[row]]
        dear = sum(self.costs[i] for i in self.taken) + self.costs[row] > self.budget
        near = any(np.square(self.x[row] - self.x[i]).sum() < self.least**2 for i in self.centers)
        return not (full or dear or near)

    def take(self, row):
        self.taken.append(row)
        self.centers.append(row)

    def room(self, rows):
        """No query could take more of these."""
        left = {group: limit - sum(self.groups[i] == group for i in self.taken) for group, limit in self.limits.items()}
        of_groups = sum(min(left[group], sum(self.groups[i] == group for i in rows)) for group in left)
        spent = sum(self.costs[i] for i in self.taken)
        affordable = np.searchsorted(spent + np.cumsum(np.sort(self.costs[rows])), self.budget, side="right")
        return int(min(of_groups, affordable))


class Given(ScoreStrategy):
    """Scores that are given."""

    name = "given"

    def __init__(self, scores):
        self.scores = scores

    def score(self, context):
        return self.scores


def some_rules(data, n):
    """Lattice points, so that all distances are exact, and rules that bind now and then."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    x = rng.integers(-5, 6, (n, 2)).astype(np.float32)
    parts = np.split(rng.permutation(n), np.sort(rng.integers(0, n // 3, 3)))
    labeled, pending, excluded = parts[:3]
    groups = rng.integers(0, 5, n)
    limits = {group: int(rng.integers(0, 6)) for group in np.unique(groups).tolist()}
    costs = rng.integers(1, 9, n) / 4
    budget = float(rng.integers(1, 40)) / 2
    least = float(data.draw(st.sampled_from([0.5, 1.0, 2.0, 3.5])))
    options = {
        "excluded": excluded,
        "pending": pending,
        "groups": groups,
        "quota": limits,
        "costs": costs,
        "cost_budget": budget,
        "min_distance": least,
        "metric": "l2",
    }
    plain = Plain(x.astype(np.float64), np.concatenate([labeled, pending]), groups, limits, costs, budget, least)
    return x, labeled, np.sort(parts[3]), options, plain


def ask(x, size, strategy, labeled, options):
    """The query, or no picks where none is possible."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=autoal.ShortQueryWarning)
        warnings.filterwarnings("ignore", category=autoal.ops.DuplicatesWarning)
        try:
            query = autoal.select(
                autoal.Outputs(embeddings=x), size, strategy, labeled=labeled, constraints=autoal.Constraints(**options)
            )
        except ValueError as error:
            assert "no sample may be asked" in str(error)
            return NONE
    return query.indices


@given(st.integers(12, 60), st.data())
def test_score_strategies_are_exactly_greedy(n, data):
    x, labeled, free, options, plain = some_rules(data, n)
    scores = np.random.default_rng(n).integers(0, 9, n).astype(np.float64)  # with ties, which go to the lowest index
    size = data.draw(st.integers(1, len(free)))
    for row in free[np.argsort(-scores[free], kind="stable")]:
        if len(plain.taken) < size and plain.allows(row):
            plain.take(row)
    np.testing.assert_array_equal(ask(x, size, Given(scores), labeled, options), plain.taken)


def farthest_first(x, k, centers, free):
    """The k rows of ``free`` that a plain farthest-first picks."""
    distance = np.full(len(x), np.inf)
    for row in centers:
        distance = np.minimum(distance, np.square(x - x[row]).sum(1))
    left, picks = np.zeros(len(x), bool), []
    left[free] = True
    for _ in range(k):
        picks.append(int(np.where(left, distance, -1).argmax()))
        left[picks[-1]] = False
        distance = np.minimum(distance, np.square(x - x[picks[-1]]).sum(1))
    return picks


@given(st.integers(12, 60), st.data())
def test_kcenter_is_greedy_ask_by_ask(n, data):
    x, labeled, free, options, plain = some_rules(data, n)
    if not plain.centers:  # the first pick would be drawn
        return
    size = data.draw(st.integers(1, len(free)))
    while len(plain.taken) < size:
        free = np.array([row for row in free if row not in plain.taken and plain.allows(row)], np.int64)
        if not len(free):
            break
        # What was taken is a center, in the order of asks; what was passed over was one in its ask alone.
        for row in farthest_first(plain.x, min(size - len(plain.taken), plain.room(free)), plain.centers, free):
            if plain.allows(row):
                plain.take(row)
    np.testing.assert_array_equal(ask(x, size, "kcenter", labeled, options), plain.taken)


@given(st.integers(12, 40), st.sampled_from(["random", "kmeans", "typiclust", "maxherding"]), st.data())
def test_no_rule_is_ever_broken_and_none_ends_a_query_early(n, strategy, data):
    x, labeled, free, options, plain = some_rules(data, n)
    size = data.draw(st.integers(1, len(free)))
    for row in ask(x, size, strategy, labeled, options):
        assert row in free and row not in plain.taken and plain.allows(row)
        plain.take(row)
    if len(plain.taken) < size:
        assert not any(plain.allows(row) for row in free if row not in plain.taken)


@pytest.mark.parametrize(
    "name", ["kcenter", "maxherding", "typiclust", "uherding_raw", "bait", "badge", "kmeans", "vaal", ProbCover(0.3)]
)
def test_what_is_pending_is_as_good_as_labeled_where_no_class_is_needed(task, name, monkeypatch):
    monkeypatch.setattr(vaal, "STEPS", 20)
    pending = np.setdiff1d(np.arange(len(task.y)), task.labeled)[5:17]
    sent = task.ask(name, 9, pending=pending)
    known = task.ask(name, 9, labeled=np.concatenate([task.labeled, pending]))
    np.testing.assert_array_equal(sent.indices, known.indices)
    np.testing.assert_array_equal(sent.scores, known.scores)
    if name not in ("badge", "kmeans"):  # which take no account of labels
        assert set(sent.indices) != set(task.ask(name, 9, excluded=pending).indices)


def test_a_candidate_that_is_shown_a_part_sees_what_is_pending_there(task):
    free = np.setdiff1d(np.arange(len(task.y)), task.labeled)
    pending, among = free[:9], free[20:60]
    context = autoal.Context.of(task.outputs, task.labeled, pending=pending)
    batch = Candidates(("kcenter",)).batch_among(0, context, None, task.outputs.embeddings, 7, among)
    rest = np.setdiff1d(free, np.concatenate([pending, among]))
    expected = autoal.ops.kcenter_greedy(task.outputs.embeddings, 7, labeled=context.chosen, excluded=rest)
    np.testing.assert_array_equal(batch, expected)


def test_autoal_covers_what_is_pending_too():
    """Two heaps far from the labels: while one is pending, the other is asked for."""
    rng = np.random.default_rng(0)
    centers = np.repeat([[0.0, 0], [30, 0], [0, 30]], [20, 40, 40], axis=0)
    x = (centers + rng.standard_normal((100, 2))).astype(np.float32)
    outputs, labeled, labels = autoal.Outputs(embeddings=x), np.arange(10), np.arange(10) % 2
    for heap, other in ((range(20, 60), range(60, 100)), (range(60, 100), range(20, 60))):
        rules = autoal.Constraints(pending=list(heap)[:3])
        query = autoal.select(
            outputs, 1, autoal.AutoAL(("margin",)), labeled=labeled, labels=labels, n_classes=2, constraints=rules
        )
        assert query.indices[0] in other


@pytest.mark.parametrize("strategy", ["maxherding", "uherding_raw", ProbCover(1.0)])
def test_what_is_excluded_is_still_to_be_covered(strategy):
    """The largest heap is excluded, but for one sample: that is worth most."""
    angles = np.repeat([0.0, 1.5, 3.0], [30, 6, 4])
    x = np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    outputs = autoal.Outputs(embeddings=x, logits=np.zeros((40, 2), np.float32))
    excluded = range(1, 30)
    assert autoal.select(outputs, 1, strategy, constraints=autoal.Constraints(excluded=excluded)).indices[0] == 0
    without = autoal.Outputs(embeddings=np.delete(x, excluded, axis=0), logits=np.zeros((11, 2), np.float32))
    assert autoal.select(without, 1, strategy).indices[0] in range(1, 7)


def test_an_index_may_be_labeled_pending_and_excluded_at_once(task):
    one = task.ask("kcenter", 9, pending=[*task.labeled[:3], 7], excluded=[*task.labeled[2:5], 7, 9])
    other = task.ask("kcenter", 9, pending=[7], excluded=[9])
    np.testing.assert_array_equal(one.indices, other.indices)


class Asks(Strategy):
    """Tells how often, and for how many, a strategy is asked."""

    name = "asks"
    needs = ("embeddings",)

    def __init__(self, of):
        self.of, self.sizes = STRATEGIES[of](), []

    def pick(self, context, size):
        self.sizes.append(size)
        query = self.of.query(context, size)
        return Picks(query.indices, query.scores)


def pool(n=4000, d=6, clusters=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d))
    if clusters:
        x = 0.1 * x + 5 * rng.standard_normal((clusters, d))[rng.integers(0, clusters, n)]
    return autoal.Outputs(embeddings=x.astype(np.float32)), rng


def test_as_many_asks_as_the_logarithm_of_the_groups():
    outputs, rng = pool()
    groups = np.concatenate([np.arange(300), rng.integers(0, 300, 3700)])
    asks = Asks("kcenter")
    query = autoal.select(outputs, 300, asks, constraints=autoal.Constraints(groups=groups, quota=1))
    assert sorted(groups[query.indices]) == list(range(300))
    assert len(asks.sizes) <= 9 and query.provenance["ask"].max() + 1 == len(asks.sizes)


def test_what_can_be_taken_at_most_is_asked_for():
    outputs, rng = pool(400)
    asks = Asks("kmeans")
    with pytest.warns(autoal.ShortQueryWarning, match="holds 20 of 300 .*: cost_budget rules out 380"):
        autoal.select(outputs, 300, asks, constraints=autoal.Constraints(costs=np.full(400, 0.5), cost_budget=10))
    assert asks.sizes == [20]
    asks = Asks("kmeans")
    with pytest.warns(autoal.ShortQueryWarning, match="holds 5 of 30 .*: quota rules out 395"):
        groups = np.array(["north", "south"])[rng.integers(0, 2, 400)]
        rules = autoal.Constraints(groups=groups, quota={"north": 5, "south": 0})
        assert (groups[autoal.select(outputs, 30, asks, constraints=rules).indices] == "north").all()
    assert asks.sizes == [5]


def test_a_radius_on_tight_clusters_takes_few_asks():
    outputs, _ = pool(2000, clusters=50)
    for name in ("typiclust", "kmeans", "kcenter"):
        asks = Asks(name)
        with pytest.warns(autoal.ShortQueryWarning, match="min_distance rules out"):
            query = autoal.select(outputs, 200, asks, constraints=autoal.Constraints(min_distance=2.5, metric="l2"))
        assert 40 <= len(query) <= 60 and len(asks.sizes) <= 6


def test_groups_without_a_quota_of_their_own_are_free():
    outputs, _ = pool(100)
    rules = autoal.Constraints(groups=np.arange(100) % 4, quota={1: 2, 3: 0})
    groups = autoal.select(outputs, 52, "kcenter", constraints=rules).indices % 4
    assert np.bincount(groups, minlength=4).tolist() == [25, 2, 25, 0]


def test_rows_that_come_last_are_seen_beyond_a_block():
    """The only allowed samples are the last of a ranking of many blocks."""
    outputs, _ = pool(3000)
    groups = np.zeros(3000, int)
    groups[-5:] = 1
    rules = autoal.Constraints(groups=groups, quota={0: 1})
    picks = autoal.select(outputs, 6, Given(-torch.arange(3000.0)), constraints=rules).indices
    assert picks.tolist() == [0, 2995, 2996, 2997, 2998, 2999]
