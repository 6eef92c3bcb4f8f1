"""Can reducible loss be seen? Spearman's correlation, within a state, of signals and of models of other sets.

Two kinds of run: ``signals_by_state`` samples the states of a run, ``halves_by_state`` correlates at once, for its
signals are no input of a model.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression

from autoal.search.coverage.laplace import top_two
from autoal.search.coverage.signals import SIGNALS
from autoal.search.fit_net import halves

from . import propagation
from .coverage import Coverage
from .tables import at_random
from .task import State, Task, states

ROUNDS, HALF_ROUNDS = (0, 1, 2, 4, 6, 9), (0, 2, 5, 9)
SAMPLES = 200  # of a state
SEEDS_FROM, HALF_SEEDS_FROM = 100, 200  # no seed of the queries' runs
HALVINGS = 4
SMALL = 1e-3  # keeps logarithms finite
TRUTH = "reducible loss"

Scores = dict[str, np.ndarray]  # [n] each, of the same samples
Correlations = dict[str, float]


def signals_by_state(name: str, seed: int, budget: str) -> list[Scores]:
    """``signals_of`` of some samples of some states, and their true reducible loss.

    AutoAL asks in runs of even seeds, chance in the others.
    """
    task, rng, found = Task(name, SEEDS_FROM + seed, budget), np.random.default_rng(seed), []
    for state in states(task, at_random if seed % 2 else Coverage()):
        if state.round in ROUNDS and state.round < task.rounds:
            rows = rng.permutation(state.unlabeled)[:SAMPLES]
            scores = signals_of(state) | {TRUTH: state.reducible}
            found.append({name: score[rows] for name, score in scores.items()})
    return found


def signals_of(state: State) -> Scores:
    """21 signals [N], free of the set's scale."""
    task, p, u, graph = state.task, state.p.numpy(), state.uncertainty, state.task.features.graph
    calibrated, t, doubt = state.p_calibrated.numpy(), propagation.propagated(state), propagation.doubt(state)
    blend = np.sqrt(np.maximum(t * calibrated, 1e-12))
    blend /= blend.sum(1, keepdims=True)
    spread = propagation.squared_distances(task).mean(1)
    distance = (2 - 2 * state.similarity.numpy()).clip(0)
    return {
        **dict(zip(SIGNALS, state.phi.T, strict=True)),
        "u": np.log(u + SMALL),
        "low calibrated confidence": np.log(1 - calibrated.max(1) + SMALL),
        "teacher's doubt": doubt,
        "teacher's margin": unsure(t),
        "teacher's reducible loss": propagation.gain(state),
        "teacher's total variation": propagation.variation(state),
        "disagreement with the blend": 1 - (blend * p).sum(1),
        "blend's margin": unsure(blend),
        "blend's doubt": 1 - blend[np.arange(len(p)), state.predicted],
        "sparse neighborhood": np.log(spread / (np.median(spread) + 1e-9) + SMALL),
        "u of neighbors": u[graph].mean(1),
        "low confidence of neighbors": (1 - p.max(1))[graph].mean(1),
        "distance over the median": np.log(distance / (np.median(distance) + 1e-9) + 1e-2),
        "labels per class": np.full(len(p), np.log(len(state.labeled) / task.n_classes)),
        "classes": np.full(len(p), np.log(task.n_classes)),
        "teacher's doubt of neighbors": doubt[graph].mean(1),
        "teacher's doubt about neighbors": 1 - t[graph].max(2).mean(1),
    }


def unsure(p: np.ndarray) -> np.ndarray:
    """One minus the margin of probabilities [N, C]."""
    first, second = top_two(torch.from_numpy(p))
    return (1 - (first - second)).numpy()


def halves_by_state(name: str, seed: int, budget: str) -> list[Correlations]:
    """How well FitNets of halves of the labels foretell what more labels will change, by state of a random run."""
    task, rng, found = Task(name, HALF_SEEDS_FROM + seed, budget), np.random.default_rng(seed), []
    for state in states(task, at_random):
        if state.round not in HALF_ROUNDS or state.round == task.rounds:
            continue
        rows, x = state.unlabeled, task.x
        split = halves(task.features, state.labeled, task.y[state.labeled], task.n_classes, HALVINGS, rng)
        half = np.stack([one.fit_net.probabilities(x).numpy()[rows] for one in split])  # [2 HALVINGS, U, C]
        p, calibrated = state.p.numpy()[rows], state.p_calibrated.numpy()[rows]
        scores = {
            "u, of these states": state.uncertainty[rows],
            "half against all: gain": (calibrated * np.maximum(0, p - half)).sum(2).mean(0),
            "half against all: total variation": np.abs(p - half).sum(2).mean(0) / 2,
            "mutual information over the halves": entropy(half.mean(0)) - entropy(half).mean(0),
        }
        found.append(correlations(scores, state.reducible[rows]))
    return found


def entropy(p: np.ndarray) -> np.ndarray:
    """Of probabilities [..., C]."""
    return -(p * np.log(p + 1e-9)).sum(-1)


def correlations(scores: Scores, truth: np.ndarray) -> Correlations:
    """Spearman's, of each score [n] with the truth [n]; left out where one of them is constant."""
    varying = {name: score for name, score in scores.items() if np.ptp(score) > 0 and np.ptp(truth) > 0}
    return {name: float(spearmanr(score, truth)[0]) for name, score in varying.items()}


def learned(states_by_set: dict[str, list[Scores]], name: str) -> list[Correlations]:
    """By state of one set: of its signals, and of two models that were fitted to the true answers of all other sets."""
    others = [state for other, found in states_by_set.items() if other != name for state in found]
    x, y = np.concatenate([design(state) for state in others]), np.concatenate([state[TRUTH] for state in others])
    boosting = HistGradientBoostingRegressor(max_iter=150, max_leaf_nodes=15, min_samples_leaf=100, learning_rate=0.06)
    boosting.fit(x, y)
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    rows = np.tile((x - mean) / deviation, (2, 1))  # a share of reducible loss is so much of a row of class 1
    logistic = LogisticRegression(C=0.1, max_iter=1000)
    logistic.fit(rows, np.repeat([1, 0], len(x)), sample_weight=np.concatenate([y, 1 - y]))
    found = []
    for state in states_by_set[name]:
        own = design(state)
        scores = {name: score for name, score in state.items() if name != TRUTH}
        scores["logistic regression"] = logistic.decision_function((own - mean) / deviation)
        scores["gradient boosting"] = boosting.predict(own)
        found.append(correlations(scores, state[TRUTH]))
    return found


def design(state: Scores) -> np.ndarray:
    """[n, 21], without the truth."""
    return np.column_stack([score for name, score in state.items() if name != TRUTH])


def mean_over_sets(by_set: Iterable[list[Correlations]]) -> Correlations:
    """The mean over the sets of the means over their states, where there are any."""
    means: dict[str, list[float]] = {}
    for found in by_set:
        for name in dict.fromkeys(name for state in found for name in state):
            means.setdefault(name, []).append(float(np.mean([state[name] for state in found if name in state])))
    return {name: float(np.mean(values)) for name, values in means.items()}
