"""One clear error that names the argument and the fix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import autoal

N = 6
OUTPUTS = autoal.Outputs(logits=np.arange(12, dtype=np.float32).reshape(N, 2))


def ask(size=2, strategy="margin", labeled=(), **constraints):
    return autoal.select(OUTPUTS, size, strategy, labeled=labeled, constraints=autoal.Constraints(**constraints))


SITES = ["north", "south"] * 3


@pytest.mark.parametrize(
    "constraints, error, message",
    [
        ({"excluded": [6]}, ValueError, r"excluded must lie in \[0, 6\), the rows of the pool; got 6"),
        ({"pending": [-1]}, ValueError, r"pending must lie in \[0, 6\)"),
        ({"pending": [1, 1]}, ValueError, "pending must not repeat an index; 1 comes 2 times"),
        ({"excluded": [True] * 6}, TypeError, "excluded must be .* np.flatnonzero"),
        ({"groups": SITES}, ValueError, "groups needs quota: how many samples of a group"),
        ({"quota": 1}, ValueError, "quota needs groups: the group of each sample"),
        ({"groups": SITES, "quota": -1}, ValueError, "quota must be at least 0; got -1"),
        ({"groups": SITES, "quota": 1.5}, TypeError, "quota must be an integer, got 1.5"),
        ({"groups": SITES, "quota": {"north": -2}}, ValueError, "quota must be at least 0; got -2"),
        ({"groups": SITES, "quota": {"nort": 1}}, ValueError, "group 'nort', but .* did you mean 'north'"),
        ({"groups": [1] * 6, "quota": {7: 1}}, ValueError, "group 7, but groups hold no such one, such as 1"),
        ({"groups": SITES[:5], "quota": 1}, ValueError, "groups must hold one group for each of the 6 .*, got 5"),
        ({"groups": [0.5] * 6, "quota": 1}, TypeError, r"groups must be \[N\] int or str"),
        ({"groups": [SITES], "quota": 1}, TypeError, r"groups must be \[N\] int or str"),
        ({"costs": [1.0] * 6}, ValueError, "costs needs cost_budget"),
        ({"cost_budget": 3}, ValueError, "cost_budget needs costs: what each sample costs"),
        ({"costs": [1.0] * 5, "cost_budget": 3}, ValueError, "costs must hold one number for each of the 6"),
        ({"costs": [1, 1, np.nan, 1, 0, 1], "cost_budget": 3}, ValueError, "above 0, which fails in rows 2, 4"),
        ({"costs": [1, np.inf, 1, 1, 1, 1], "cost_budget": 3}, ValueError, "finite numbers above 0.* row 1"),
        ({"costs": ["dear"] * 6, "cost_budget": 3}, TypeError, r"costs must be \[N\] numbers above 0"),
        ({"costs": [1.0] * 6, "cost_budget": 0}, ValueError, "cost_budget must be a finite number above 0, got 0"),
        ({"costs": [1.0] * 6, "cost_budget": "3"}, TypeError, "cost_budget must be a number above 0, got '3'"),
        ({"min_distance": -0.1}, ValueError, "min_distance must be a finite number above 0"),
        ({"min_distance": float("nan")}, ValueError, "min_distance must be a finite number above 0"),
        ({"min_distance": 0.1, "metric": "cosin"}, ValueError, "unknown metric 'cosin'. Did you mean 'cosine'"),
        ({"min_distance": 0.1}, ValueError, "min_distance needs embeddings: give autoal.Outputs"),
    ],
)
def test_what_does_not_fit_is_named(constraints, error, message):
    with pytest.raises(error, match=message):
        ask(**constraints)


def test_constraints_must_be_constraints():
    with pytest.raises(TypeError, match=r"constraints must be autoal.Constraints\(...\), got dict"):
        autoal.select(OUTPUTS, 1, "margin", constraints={"excluded": [1]})


def test_nothing_may_be_asked():
    with pytest.raises(ValueError, match="no sample may be asked: all that have no label are excluded or pending"):
        ask(1, excluded=range(3), pending=[3, 4], labeled=[5])
    with pytest.raises(ValueError, match="no sample may be asked: quota rules out 6"):
        ask(1, groups=SITES, quota=0)
    with pytest.raises(ValueError, match="no sample may be asked: cost_budget rules out 6"):
        ask(1, "random", costs=[2] * 6, cost_budget=1)


@pytest.mark.parametrize("more", [{}, {"groups": SITES, "quota": 3}])
def test_fewer_samples_may_be_asked_than_are_wanted(more):
    for size in (0, 6):
        with pytest.raises(ValueError, match=r"size must be between 1 and 5, the unlabeled samples of the pool"):
            ask(size, excluded=[0], pending=[1], labeled=[2], **more)
    with pytest.warns(autoal.ShortQueryWarning, match="holds 3 of 4 samples, .*: all others are labeled, excluded or"):
        query = ask(4, excluded=[0], pending=[1], labeled=[2], **more)
    assert sorted(query.indices) == [3, 4, 5]


def test_groups_of_both_kinds_are_told_apart_or_refused():
    with pytest.raises(TypeError, match="groups must be all int or all str, got both"):
        ask(1, groups=[1, "1"] * 3, quota=1)


def test_a_budget_is_met_though_sums_are_rounded():
    assert len(ask(3, "random", costs=[0.1] * 6, cost_budget=0.3)) == 3


def test_a_short_query_says_which_rules_ended_it():
    with pytest.warns(autoal.ShortQueryWarning, match="holds 1 of 5 .*: quota rules out 2, cost_budget rules out 3$"):
        query = ask(5, groups=[0, 0, 0, 1, 1, 1], quota={0: 1}, costs=[1, 1, 1, 9, 9, 9], cost_budget=5)
    assert len(query) == 1


def test_arrays_of_any_kind():
    """Tensors, lists, text of any length; halves; quotas of numpy integers."""
    expected = ask(2, groups=SITES, quota=1, costs=[1.0] * 6, cost_budget=2).indices
    for groups in (np.array(SITES), np.array(SITES, object), torch.tensor([0, 1] * 3), np.array([7, 9] * 3, "u1")):
        for costs in (torch.ones(6, dtype=torch.bfloat16), np.ones(6, "f2"), [1] * 6):
            query = ask(2, groups=groups, quota=np.int64(1), costs=costs, cost_budget=np.float32(2))
            np.testing.assert_array_equal(query.indices, expected)
