"""Every strategy of STRATEGIES, and a user's own, under every rule: none is ever broken."""

from __future__ import annotations

import numpy as np
import pytest

from autoal.strategies import STRATEGIES, Picks, ScoreStrategy, Strategy, learning_loss, vaal
from autoal.strategies.refine import Refine

N, SIZE = 120, 12


class Last(Strategy):
    """A user's own, which knows of no rules: the last that may be asked."""

    name = "last"

    def pick(self, context, size):
        return Picks(context.unlabeled[::-1][:size], np.arange(size)[::-1])


ALL = {**STRATEGIES, "last": Last, "refine": lambda: Refine(rounds=1, batches=9)}


def made(name):
    return ALL[name]()


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """What nets have learnt does not matter here."""
    monkeypatch.setattr(vaal, "STEPS", 5)
    monkeypatch.setattr(learning_loss, "FEWEST_STEPS", 5)
    monkeypatch.setattr(learning_loss, "EPOCHS", 1)


def rules_of(seed):
    rng = np.random.default_rng(seed)
    return {
        "excluded": rng.choice(N, 15, replace=False),
        "pending": rng.choice(N, 10, replace=False),
        "groups": rng.integers(0, 8, N),
        "costs": rng.integers(1, 9, N) / 4,
    }


def check(task, query, size, *, excluded=(), pending=(), groups=None, quota=None, min_distance=None, metric="cosine",
          costs=None, cost_budget=None):  # fmt: skip
    picks = query.indices
    assert picks.dtype == np.int64 and len(set(picks.tolist())) == len(picks) <= size
    assert len(query.scores) == len(picks) and all(len(column) == len(picks) for column in query.provenance.values())
    assert not set(picks) & {*task.labeled, *excluded, *pending}
    if groups is not None:
        assert np.unique(groups[picks], return_counts=True)[1].max() <= quota
    if costs is not None:
        assert costs[picks].sum() <= cost_budget
    if min_distance is not None:
        among = np.concatenate([picks, task.labeled, pending]).astype(int)
        x = task.x if metric == "l2" else task.x / np.linalg.norm(task.x, axis=1, keepdims=True)
        far = np.square(x[picks, None] - x[among]).sum(2)
        far = np.sqrt(far) if metric == "l2" else far / 2
        far[np.arange(len(picks)), np.arange(len(picks))] = np.inf
        assert far.min() >= min_distance


@pytest.mark.parametrize("name", ALL)
class TestEveryStrategy:
    def test_excluded_and_pending_are_not_asked(self, name, task):
        given = {key: rules_of(1)[key] for key in ("excluded", "pending")}
        query = task.ask(made(name), SIZE, **given)
        assert len(query) == SIZE
        check(task, query, SIZE, **given)

    def test_a_quota_is_kept_and_filled(self, name, task):
        groups = rules_of(2)["groups"]
        query = task.ask(made(name), 8, groups=groups, quota=1)
        assert sorted(groups[query.indices]) == list(range(8))
        check(task, query, 8, groups=groups, quota=1)

    def test_all_rules_together(self, name, task):
        given = rules_of(3) | {"quota": 2, "cost_budget": 11, "min_distance": 1.2, "metric": "l2"}
        query = task.ask(made(name), SIZE, **given)
        check(task, query, SIZE, **given)
        again = task.ask(made(name), SIZE, **given)
        np.testing.assert_array_equal(query.indices, again.indices)

    def test_rules_that_rule_nothing_out_change_nothing(self, name, task):
        free = task.ask(made(name), 5)
        ruled = task.ask(made(name), 5, groups=np.arange(N), quota=1, costs=np.ones(N), cost_budget=5.0)
        np.testing.assert_array_equal(free.indices, ruled.indices)
        np.testing.assert_array_equal(free.scores, ruled.scores)
        assert not ruled.provenance["ask"].any()


def test_shortest_distances_are_kept_by_cosine_too(task):
    for name in ("margin", "kcenter", "typiclust"):
        query = task.ask(name, SIZE, min_distance=0.1)
        assert len(query) > 1
        check(task, query, SIZE, min_distance=0.1)


class Nearest(ScoreStrategy):
    """The nearest to the first labeled sample: under a radius, most of its ranking is passed over."""

    needs = ("embeddings",)

    def score(self, context):
        x = context.outputs.embeddings
        return -(x - x[int(context.labeled[0])]).norm(dim=1)


def test_a_tight_radius(task):
    for min_distance in (0.5, 1.5, 3.0):
        query = task.ask(Nearest, 100, min_distance=min_distance, metric="l2")
        check(task, query, 100, min_distance=min_distance, metric="l2")
        rest = np.setdiff1d(np.arange(N), np.concatenate([query.indices, task.labeled]))
        among = np.concatenate([query.indices, task.labeled])
        nearest = np.sqrt(np.square(task.x[rest, None] - task.x[among]).sum(2)).min(1)
        assert (nearest < min_distance).all(), "the query ended though a sample was far enough"


def test_the_walk_knows_nothing_of_a_strategy_that_breaks_the_contract(task):
    class Closed(Strategy):
        def pick(self, context, size):
            return Picks(context.closed[:size], np.zeros(size))

    with pytest.raises(RuntimeError, match="different unlabeled"):
        task.ask(Closed, 2, excluded=[i for i in range(N) if i not in task.labeled][:5])
