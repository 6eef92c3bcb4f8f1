"""The oracle strategy: what it keeps, who may make it, and that it is the upper bound it is meant to be."""

import numpy as np
import pytest
from regression import regression

import autoal
from autoal import AutoAL, Context, DataSetOracle, Outputs
from autoal.experiment import boss as module
from autoal.experiment.boss import ORACLE_STRATEGIES, Boss
from autoal.experiment.cells import Cell, Settings, fingerprint, run_cell
from autoal.experiment.grid import run_grid
from autoal.strategies import ORACLES, STRATEGIES, Picks, Strategy

N, C, D = 80, 3, 4


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    y = rng.integers(C, size=N)
    return ((1.2 * rng.standard_normal((C, D)))[y] + rng.standard_normal((N, D))).astype(np.float32), y


class Random(Strategy):
    """Picks at random, and keeps what it picked: rows of the embeddings."""

    def __init__(self, name):
        self.name = name
        self.batches, self.shown = [], []

    needs = ("embeddings",)

    def pick(self, context, size):
        picks = np.random.default_rng(len(self.batches)).choice(context.unlabeled, size, replace=False)
        self.batches.append(context.outputs.embeddings[picks].numpy())
        self.shown.append(len(context.unlabeled))
        return Picks(picks, np.zeros(size))


def test_the_batch_kept_is_the_one_that_helps_other_samples_most(task):
    x, y = task
    labeled = np.arange(8)
    candidates = Random("one"), Random("other")
    boss = Boss(DataSetOracle(y), candidates, batches=12)
    query = boss.query(Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=C), 5)

    centered = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    features = np.column_stack([centered * np.sqrt(128 / np.square(centered).sum(axis=1).mean()), np.ones(N)])
    row_of = {row.tobytes(): i for i, row in enumerate(x)}
    batches = [[row_of[row.tobytes()] for row in candidates[number % 2].batches[number // 2]] for number in range(12)]
    right = (features @ regression(features[labeled], y[labeled], C)).argmax(axis=1) == y
    gains = []
    for batch in batches:
        known = np.concatenate([labeled, batch])
        after = (features @ regression(features[known], y[known], C)).argmax(axis=1) == y
        others = np.setdiff1d(np.arange(N), known)
        gains.append((after[others].astype(int) - right[others]).sum() / (N - 8))
    best = int(np.argmax(gains))
    assert query.indices.tolist() == batches[best]
    np.testing.assert_allclose(query.scores, gains[best], atol=1e-6)
    assert set(query.provenance["candidate"]) == {("one", "other")[best % 2]}
    shown = [n for candidate in candidates for n in candidate.shown]
    assert min(shown) >= 20 and max(shown) <= 72 and len(set(shown)) > 3, "random subsets of at least four batches"


def test_only_a_sample_of_a_large_pool_is_evaluated(task, monkeypatch):
    asked = []

    def oracle(indices):
        asked.append(len(indices))
        return task[1][indices]

    monkeypatch.setattr(module, "EVALUATED", 30)
    context = Context.of(Outputs(embeddings=task[0]), np.arange(8), task[1][:8], n_classes=C)
    assert len(Boss(oracle, ("random",), batches=2).query(context, 4)) == 4
    assert asked == [8, 30, 4, 4]


def test_all_the_rest_may_be_asked_for(task):
    context = Context.of(Outputs(embeddings=task[0]), np.arange(70), task[1][:70], n_classes=C)
    query = Boss(DataSetOracle(task[1]), ("random", "kcenter"), batches=3).query(context, 10)
    assert set(query.indices) == set(range(70, 80))


def test_nobody_else_makes_it(task):
    assert set(ORACLES) == set(ORACLE_STRATEGIES) and not set(ORACLES) & set(STRATEGIES)
    outputs = Outputs(embeddings=task[0])
    with pytest.raises(ValueError, match="'boss' knows the true labels, which only an experiment does"):
        autoal.select(outputs, 3, "boss", labeled=[0], labels=[0])
    with pytest.raises(ValueError, match="knows the true labels"):
        AutoAL(("margin", "boss"))
    with pytest.raises(ValueError, match="knows the true labels"):
        autoal.ActiveLearner(task[0], "linear", "boss", n_classes=C, initial_size=5, budget=20)
    with pytest.raises(TypeError, match="oracle"):
        autoal.select(outputs, 3, Boss, labeled=[0], labels=[0])
    with pytest.raises(TypeError, match="oracle must be a callable"):
        Boss(task[1])


def test_an_oracle_of_another_pool_is_refused(task):
    """As a candidate it would be shown parts of the pool, whose indices are others."""
    x, y = task
    context = Context.of(Outputs(embeddings=x), np.arange(8), (y[:8] + 1) % C, n_classes=C)
    with pytest.raises(ValueError, match="contradicts the labels"):
        Boss(DataSetOracle(y)).query(context, 3)


def test_an_experiment_grants_the_labels(data, tmp_path, monkeypatch):
    monkeypatch.setitem(ORACLE_STRATEGIES, "boss", lambda oracle: Boss(oracle, ("random", "margin"), batches=4))
    settings = Settings(initial_size=6, query_size=3, rounds=2)
    cell = Cell("small", fingerprint(data), "boss", 0, settings)
    one, two = run_cell(cell, data), run_cell(cell, data)
    assert [r["accuracy"] for r in one] == [r["accuracy"] for r in two]
    summary = run_grid([data], ["boss", "random"], [0], settings, tmp_path)
    assert set(summary["aulc"]) == {"boss", "random"}
    with pytest.raises(ValueError, match="unknown strategy 'bos'"):
        run_grid([data], ["bos"], [0], settings, tmp_path)
