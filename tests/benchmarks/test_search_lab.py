"""The study of docs/search-research.md: each table runs on a tiny pool, and its rows are what they say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import autoal
from autoal import ops
from autoal.search.coverage import laplace
from autoal.search.fit_net import FitNet

sys.path.append(str(Path(__file__).parents[2]))  # last: the package under test stays the installed one
main, coverage, estimators, propagation, report, runs, tables, task = (
    importlib.import_module(f"benchmarks.search_lab.{name}")
    for name in ("__main__", "coverage", "estimators", "propagation", "report", "runs", "tables", "task")
)


@pytest.fixture
def state():
    """The third round on iris: 40 labels."""
    *_, last = zip(range(4), task.states(task.Task("iris", 0, "low"), tables.at_random), strict=False)
    return last[1]


@pytest.mark.parametrize("table", tables.TABLES)
def test_a_table_of_queries_has_all_its_rows_and_is_not_run_twice(table, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(task, "ROUNDS", 1)
    monkeypatch.setattr(task, "FEWEST_ROUNDS", 1)
    task.task_of.cache_clear()
    words = [table, "--out", str(tmp_path), "--sets", "iris", "--seeds", "2"]
    main.main(words)
    printed = capsys.readouterr().out
    rows = printed.splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {row}" for row in tables.TABLES[table]]
    assert all("(2 pairs, " in row.split(" | ")[2] and not row.split(" | ")[1] for row in rows)  # held out
    monkeypatch.setattr(runs, "result", None)
    main.main(words)
    assert capsys.readouterr().out == printed
    task.task_of.cache_clear()


def test_the_table_of_estimators(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(task, "ROUNDS", 4)
    main.main(["estimators", "--out", str(tmp_path), "--sets", "iris", "wine", "--seeds", "2"])
    rows = dict(row.strip("| ").split(" | ") for row in capsys.readouterr().out.splitlines()[2:])
    assert {"u", "logistic regression", "gradient boosting", "teacher's doubt", "half against all: gain"} <= set(rows)
    assert estimators.TRUTH not in rows and all(abs(float(value)) < 1 for value in rows.values())
    for what, n in (("signals", 2), ("halves", 2)):
        assert len((tmp_path / f"{what}.jsonl").read_text().splitlines()) == 2 * n


def test_models_learn_from_the_other_sets_alone():
    rng = np.random.default_rng(0)
    signal = [rng.random(200) for _ in range(4)]
    as_it_is = [{"signal": s, estimators.TRUTH: s} for s in signal[:2]]
    turned = [{"signal": s, estimators.TRUTH: 1 - s} for s in signal[2:]]
    for found in estimators.learned({"one": as_it_is, "other": turned}, "other"):
        assert found["signal"] == pytest.approx(-1)
        assert found["logistic regression"] == pytest.approx(-1) and found["gradient boosting"] < -0.9
    assert estimators.mean_over_sets([[{"a": 1.0}, {}], [{"a": 0.0, "b": 3.0}]]) == {"a": 0.5, "b": 3.0}


@pytest.mark.parametrize(("search", "weight"), [("prior", "prior"), ("none", "u")])
def test_the_query_is_that_of_the_package(state, search, weight):
    theirs = tables.Product(autoal.AutoAL(("margin",), search=search))(state)
    np.testing.assert_array_equal(coverage.Coverage(weight)(state), theirs)


def test_searchnet_learns_from_the_answers_to_its_queries(state):
    query = coverage.Coverage()
    before = coverage.error(state, query.asked)
    query(state)
    assert len(query.asked) == 1 and not np.allclose(coverage.error(state, query.asked), before)


def test_calibrated_probabilities_are_those_behind_the_uncertainty(state):
    for rows in (
        state,
        task.State(state.task, state.labeled[:3], state.fit_net, 0),
    ):
        first, second = laplace.top_two(rows.p_calibrated)
        np.testing.assert_allclose(1 - (first - second), rows.uncertainty, atol=1e-4)


def test_kernels_without_an_op_are_selected_from_in_the_same_way(state):
    points = 2 * state.task.unit
    weight, gain, covered = torch.rand(3, len(points), generator=torch.Generator().manual_seed(0))
    similarity = coverage.KERNELS["gaussian"](torch.cdist(points, points).square())
    ours = coverage.dense_greedy(similarity, 8, weight, gain, covered)
    options = {"weights": weight, "gain": gain, "covered": covered, "bandwidth": 1.0, "metric": "l2"}
    assert ours.tolist() == ops.coverage_greedy(points, 8, **options).tolist()
    at = torch.tensor([0.0, 4.0])
    assert coverage.KERNELS["rational"](at).tolist() == pytest.approx([1, 0.2])
    assert coverage.KERNELS["laplacian"](at).tolist() == pytest.approx([1, np.exp(-2)])


def test_reducible_loss_is_what_all_labels_take_away(state):
    x, y = state.task.x, state.task.y
    everything = task.State(state.task, np.arange(len(y)), FitNet.fitted(x, y, state.task.n_classes), 0)
    assert everything.reducible.max() == 0 < state.reducible.max()
    wrong = state.predicted != y
    assert wrong.any() and state.reducible[wrong].mean() > state.reducible[~wrong].mean()


def test_the_teacher_spreads_labels_to_neighbors(state):
    t = propagation.propagated(state)
    assert t.sum(1) == pytest.approx(1, abs=1e-5)
    assert np.mean(t.argmax(1) == state.task.y) > 0.8
    doubt = propagation.doubt(state)
    assert doubt == pytest.approx(1 - t[np.arange(len(t)), state.predicted])
    assert (propagation.gain(state) <= t.max(1)).all() and (propagation.variation(state) <= 1).all()


def test_a_cell_of_paired_differences():
    assert report.cell([1.0, 3.0, 0.0, -4.0]) == "+0.00 ± 1.47 (4 pairs, 62 %)"
    assert report.cell([1.0]) == ""
