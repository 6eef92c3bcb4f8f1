"""Statistics against numbers worked out by hand."""

import numpy as np
import pytest

from autoal.experiment import metrics


def record(strategy, seed, number, value, dataset="d"):
    return {
        "dataset": dataset,
        "strategy": strategy,
        "seed": seed,
        "round": number,
        "accuracy": value,
        "query_seconds": 2.0,
    }


def test_accuracies():
    y, predicted = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 1])
    assert metrics.accuracy(predicted, y) == 0.75
    assert metrics.balanced_accuracy(predicted, y) == pytest.approx((2 / 3 + 1) / 2)


def test_aulc_leaves_round_0_out():
    records = [record("a", 0, 0, 0.1), record("a", 0, 1, 0.5), record("a", 0, 2, 0.7)]
    assert metrics.aulc(records) == {("d", "a", 0): pytest.approx(0.6)}


def test_mean_and_standard_error():
    assert metrics.mean_sem([1, 2, 3, 4]) == {"mean": 2.5, "sem": pytest.approx(np.sqrt(5 / 3) / 2), "n": 4}
    assert metrics.mean_sem([1.0]) == {"mean": 1.0, "sem": None, "n": 1}


def test_win_rates_are_paired_and_ties_count_half():
    areas = {("d", "a", 0): 0.6, ("d", "b", 0): 0.5, ("d", "a", 1): 0.4, ("d", "b", 1): 0.4, ("e", "a", 0): 0.1}
    areas |= {("d", "c", 7): 0.9}
    table = metrics.win_rates(areas)
    assert table["a"]["b"] == 0.75 and table["b"]["a"] == 0.25
    assert table["a"]["c"] is None


def test_standard_errors_are_over_seeds_and_not_over_data_sets():
    values = {("d", 0): 0.9, ("d", 1): 0.8, ("e", 0): 0.3, ("e", 1): 0.4}
    summary = metrics.summarize([record("a", seed, 1, v, dataset=d) for (d, seed), v in values.items()])
    assert summary["aulc"]["a"] == {"mean": pytest.approx(0.6), "sem": pytest.approx(0), "n": 2}
    assert summary["aulc_by_dataset"]["d"]["a"] == {"mean": pytest.approx(0.85), "sem": pytest.approx(0.05), "n": 2}


def test_summary():
    records = [record(s, seed, t, v) for s, v in (("a", 0.5), ("b", 0.4)) for seed in (0, 1) for t in (0, 1)]
    summary = metrics.summarize(records)
    assert summary["aulc"]["a"] == {"mean": 0.5, "sem": 0.0, "n": 2}
    assert summary["win_rate"] == {"a": {"b": 1.0}, "b": {"a": 0.0}}
    assert summary["query_seconds"]["a"]["mean"] == 2.0 and summary["query_seconds"]["a"]["n"] == 2
