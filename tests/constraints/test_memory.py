"""Strategies that remember their queries remember what was asked, as one query, however many asks it took."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import autoal
from autoal.strategies.albl import Albl
from autoal.strategies.ceal import Ceal
from autoal.strategies.tailor import Tailor

MAKE = {"autoal": autoal.AutoAL, "albl": Albl, "tailor": Tailor}
RULES = autoal.Constraints(groups=np.arange(120) % 12, quota=1)


def remembered(strategy):
    return (strategy._search.rounds if isinstance(strategy, autoal.AutoAL) else strategy._rounds).asked


def ask(task, strategy, labeled, rules=RULES, size=10):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return autoal.select(
            task.outputs, size, strategy, labeled=labeled, labels=task.y[labeled], constraints=rules, seed=3
        )


@pytest.mark.parametrize("name", MAKE)
class TestMemory:
    def test_the_picks_of_a_round_are_one_query(self, name, task):
        strategy, labeled = MAKE[name](), task.labeled
        for number in range(1, 4):
            query = ask(task, strategy, labeled)
            assert query.provenance["ask"].max() > 0, "one ask was enough: the rule does not bind"
            asked = remembered(strategy)
            assert len(asked) == number and asked[-1].n_labeled == len(labeled)
            assert asked[-1].picks.tolist() == query.indices.tolist()
            for field in asked[-1].PER_PICK:
                assert len(getattr(asked[-1], field)) == len(query)
            labeled = np.concatenate([labeled, query.indices])

    def test_what_the_last_ask_passed_over_is_forgotten(self, name, task):
        """A radius that one pick of an ask after the other breaks, until no sample is left."""
        strategy = MAKE[name]()
        query = ask(task, strategy, task.labeled, autoal.Constraints(min_distance=2.2, metric="l2"), 40)
        assert len(query) < 40
        assert remembered(strategy)[-1].picks.tolist() == query.indices.tolist()

    def test_asked_again_it_gives_the_same_query(self, name, task):
        strategy = MAKE[name]()
        first = ask(task, strategy, task.labeled)
        second = ask(task, strategy, task.labeled)
        np.testing.assert_array_equal(first.indices, second.indices)
        (asked,) = remembered(strategy)
        assert asked.picks.tolist() == second.indices.tolist()

    def test_what_is_pending_is_remembered_what_is_not_is_forgotten(self, name, task):
        strategy = MAKE[name]()
        first = ask(task, strategy, task.labeled, None).indices
        second = ask(task, strategy, task.labeled, autoal.Constraints(pending=first[:6])).indices
        (asked,) = remembered(strategy)
        assert asked.picks.tolist() == [*first[:6], *second]
        third = ask(task, strategy, np.concatenate([task.labeled, asked.picks]), None).indices
        assert [len(one.picks) for one in remembered(strategy)] == [16, 10]
        assert not set(third) & set(asked.picks)


def test_rows_of_memory_are_those_of_their_picks(task):
    """Signals and predictions stay beside their picks when asks are joined."""
    strategy = autoal.AutoAL()
    ask(task, strategy, task.labeled)
    (asked,) = remembered(strategy)
    free = autoal.AutoAL()
    ask(task, free, task.labeled, None)
    (whole,) = remembered(free)
    both = [pick for pick in asked.picks.tolist() if pick in whole.picks]
    assert both
    for pick in both:
        here, there = asked.picks.tolist().index(pick), whole.picks.tolist().index(pick)
        np.testing.assert_array_equal(asked.phi[here, :3], whole.phi[there, :3])
        assert asked.predicted[here] == whole.predicted[there]


def test_ceal_counts_a_round_once(task):
    strategy = Ceal()
    for number in range(1, 3):
        ask(task, strategy, task.labeled[: 10 * number])
        assert len(strategy._rounds) == number
