"""Tests of the tests: against scipy, against counting by hand, and at the edges where there is nothing to say."""

import itertools

import numpy as np
import pytest
import scipy.stats

from autoal.experiment import statistics
from autoal.experiment.summary import best_first, summary_of


@pytest.mark.parametrize("n", [6, 7, 12, 30, 50])
def test_signed_rank_agrees_with_scipy_where_nothing_is_tied(n):
    for seed in range(5):
        values = np.random.default_rng(seed).standard_normal(n) + 0.3
        expected = scipy.stats.wilcoxon(values, method="exact").pvalue
        assert statistics.signed_rank(values) == pytest.approx(expected, rel=1e-9)


def test_signed_rank_with_ties_is_that_of_all_sign_patterns():
    rng = np.random.default_rng(0)
    for _ in range(10):
        values = rng.integers(1, 4, size=9) * rng.choice([-1.0, 1.0], size=9)
        ranks = scipy.stats.rankdata(np.abs(values))
        seen = min(ranks[values > 0].sum(), ranks[values < 0].sum())
        sums = [ranks[np.array(signs, bool)].sum() for signs in itertools.product((0, 1), repeat=9)]
        expected = min(1.0, 2 * np.mean(np.array(sums) <= seen))
        assert statistics.signed_rank(values) == pytest.approx(expected)


def test_zero_differences_are_left_out():
    values = np.array([0.3, -0.1, 0.2, 0.5, 0.4, 0.6, 0.7])
    assert statistics.signed_rank([*values, 0.0, 0.0]) == statistics.signed_rank(values)
    assert statistics.signed_rank([*values, 1e-16]) == statistics.signed_rank(values), "rounding is no difference"
    tied = [0.1 + 0.2, 0.3, -0.3, 0.3, 0.3, 0.3, 0.3]
    assert statistics.signed_rank(tied) == statistics.signed_rank([1, 1, -1, 1, 1, 1, 1]), "nor does it part ties"


def test_too_few_differences_have_no_p_value():
    assert statistics.signed_rank([1, 2, 3, 4, 5]) is None
    assert statistics.signed_rank([1, 2, 3, 4, 5, 0, 0, 0]) is None
    assert statistics.signed_rank([]) is None
    assert statistics.signed_rank([1, 2, 3, 4, 5, 6]) == pytest.approx(2 / 64)


def test_many_differences_are_as_the_exact_distribution_says(monkeypatch):
    values = np.random.default_rng(1).standard_normal(250) + 0.1
    exact = statistics.signed_rank(values)
    monkeypatch.setattr(statistics, "EXACT_PAIRS", 200)
    assert statistics.signed_rank(values) == pytest.approx(exact, rel=0.02)
    assert statistics.signed_rank(values) == pytest.approx(scipy.stats.wilcoxon(values, method="asymptotic").pvalue)


def test_holm_by_hand():
    corrected = statistics.holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert corrected == {"a": pytest.approx(0.03), "b": pytest.approx(0.06), "c": pytest.approx(0.06), "d": 0.02}
    assert statistics.holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert statistics.holm({"a": 0.02, "b": None}) == {"a": 0.04, "b": None}, "what was not testable is in the family"
    assert statistics.holm({}) == {}


def areas_of(table):
    """{(task, strategy, seed): area} of {(task, strategy): [areas by seed]}."""
    return {(t, s, seed): v for (t, s), values in table.items() for seed, v in enumerate(values) if v is not None}


def test_the_reference_against_the_others():
    areas = areas_of(
        {
            ("d", "ours"): [0.8, 0.8, 0.8],
            ("d", "a"): [0.7, 0.8, 0.9],
            ("e", "ours"): [0.5, 0.5, 0.5],
            ("e", "a"): [0.4, 0.4, 0.4],
            ("e", "b"): [None, None, 0.6],
            ("d", "boss"): [0.9, 0.9, 0.9],
        }
    )
    table = statistics.compare(areas, "ours")
    assert set(table) == {"a", "b"}, "an oracle is no competitor"
    a = table["a"]
    assert (a["pairs"], a["wins"], a["ties"], a["losses"]) == (6, 4, 1, 1) and a["win_rate"] == pytest.approx(0.75)
    assert a["mean"] == pytest.approx(0.05) and a["sem"] == pytest.approx(0.05 / np.sqrt(3))
    assert a["p"] is None and a["p_holm"] is None
    b = table["b"]
    assert (b["pairs"], b["wins"], b["losses"]) == (1, 0, 1) and b["mean"] == pytest.approx(-0.1) and b["sem"] is None
    clear = {(t, s, seed): v + seed for t, s, v in (("d", "ours", 0.5), ("d", "a", 0.4)) for seed in range(8)}
    one = statistics.compare(clear, "ours")["a"]
    assert one["p"] == one["p_holm"] == pytest.approx(2 / 256) and one["losses"] == 0


def test_ranks_are_averaged_over_seeds_and_then_over_tasks():
    areas = areas_of(
        {
            ("d", "a"): [0.9, 0.9, 0.9, 0.9],
            ("d", "b"): [0.8, 0.9, 0.7, 0.8],
            ("d", "boss"): [1.0, 1.0, 1.0, 1.0],
            ("e", "a"): [0.1, 0.1],
            ("e", "b"): [0.2, 0.2],
            ("f", "a"): [0.5],
        }
    )
    ranks = statistics.average_ranks(areas)
    assert ranks["a"] == {"mean": pytest.approx((1.125 + 2) / 2), "tasks": 2}
    assert ranks["b"] == {"mean": pytest.approx((1.875 + 1) / 2), "tasks": 2}
    assert statistics.average_ranks(areas_of({("d", "a"): [0.5], ("e", "b"): [0.5]})) == {}


def test_regret_is_paired():
    areas = areas_of(
        {("d", "boss"): [0.9, 0.8], ("d", "a"): [0.8, 0.6], ("e", "boss"): [0.5, 0.5], ("e", "a"): [0.6, 0.5]}
    )
    a = statistics.regrets(areas, "boss")["a"]
    assert a["mean"] == pytest.approx(0.05) and a["sem"] == pytest.approx(0.05) and a["n"] == 2
    assert a["by_dataset"]["d"]["mean"] == pytest.approx(0.15) and a["by_dataset"]["e"]["mean"] == pytest.approx(-0.05)


def record(strategy, seed, number, value, dataset="d", **more):
    figures = {"accuracy": value, "balanced_accuracy": value / 2, "query_seconds": 1.0 + seed, "fit_seconds": 0.5}
    return {
        "dataset": dataset,
        "strategy": strategy,
        "seed": seed,
        "round": number,
        "labeled": number,
        **figures,
        **more,
    }


def test_the_summary_tells_tasks_apart_and_means_of_other_things():
    records = [record("a", seed, 1, 0.5) for seed in range(4)]
    records += [record("a", seed, 1, 0.3, condition="label-noise=0.1") for seed in range(2)]
    records += [record("b", seed, 1, 0.9) for seed in range(2)]
    summary = summary_of(records)
    assert summary["datasets"] == {
        "d": {"dataset": "d", "condition": ""},
        "d, label-noise=0.1": {"dataset": "d", "condition": "label-noise=0.1"},
    }
    assert summary["reference"] == "a" and list(summary["comparisons"]) == ["b"]
    assert summary["aulc"]["a"] == {"mean": pytest.approx(0.4), "sem": pytest.approx(0), "n": 2}, "seeds of all tasks"
    assert summary["balanced_aulc"]["a"]["mean"] == pytest.approx(0.2)
    assert summary["balanced_aulc_by_dataset"]["d"]["b"]["mean"] == pytest.approx(0.45)
    assert best_first(summary) == ["a", "b"], "b has the higher mean, but of one task only"
    assert summary["differences_by_dataset"]["d"]["b"]["mean"] == pytest.approx(-0.4)
    assert summary["query_seconds"]["b"]["median"] == 1.5 and summary["fit_seconds"]["b"]["mean"] == 0.5


def test_the_default_reference_and_wrong_ones():
    assert statistics.reference_of(["margin", "autoal", "boss"]) == "autoal"
    assert statistics.reference_of(["boss", "margin", "random"]) == "margin"
    assert statistics.reference_of(["boss"]) is None
    assert summary_of([record("boss", 0, 1, 0.5)])["comparisons"] == {}
    with pytest.raises(ValueError, match="Did you mean 'margin'"):
        statistics.check_reference("margni", ["margin", "random"])
    with pytest.raises(ValueError, match="knows the true labels"):
        statistics.check_reference("boss", ["boss", "random"])
