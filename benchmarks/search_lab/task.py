"""Active learning of a FitNet on a small pool: what a seed draws, the rounds, and the state that a query sees."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import RIDGE, scale_of
from autoal.ops.rows import Rows
from autoal.search.coverage.kernel import bandwidth, kernel_of_similarity, nearest_similarity
from autoal.search.coverage.laplace import laplace_uncertainty
from autoal.search.coverage.signals import signals
from autoal.search.features import Features
from autoal.search.fit_net import FitNet

from .data import load

POOL, TEST = 1_500, 2_000  # samples at most
ROUNDS, FEWEST_ROUNDS = 10, 4
MOST_LABELED = 0.6  # of the pool, at the end


class Task:
    """A pool whose labels are hidden, a test set and a plan; all drawn from the set's name and the seed.

    Args:
        name: Of the data set.
        seed: Of the split and the initial labels.
        budget: "low": a label per class and round, or ten; "high": five times as many.

    Attributes:
        features: Of the pool, N samples.
        x, unit: [N, D + 1] the same, held; at length one.
        y: [N] class numbers.
        x_test, y_test: [M, D + 1] prepared features, [M] class numbers.
        initial: [L] the first labeled samples.
        query_size, rounds: B, and how many queries.
    """

    def __init__(self, name: str, seed: int, budget: str) -> None:
        x, y = load(name)
        order = np.random.default_rng([zlib.crc32(name.encode()), seed]).permutation(len(x))
        test, pool = np.split(order, [min(TEST, len(x) * 3 // 10)])
        pool = pool[:POOL]
        self.seed, self.n_classes = seed, int(y.max()) + 1
        self.features = Features(torch.from_numpy(x[pool]))
        self.x, self.unit = self.features.x.held(), self.features.unit.held()
        self.y, self.y_test = y[pool], y[test]
        center = x[pool].mean(axis=0, dtype=np.float64)
        squares = np.square(x[pool] - center).mean(axis=0)
        prepared = (x[test] - center) * scale_of(torch.from_numpy(squares), torch.from_numpy(center))
        self.x_test = torch.from_numpy(np.column_stack([prepared, np.ones(len(test))]).astype(np.float32))
        self.query_size = max(self.n_classes, 10) if budget == "low" else 5 * max(self.n_classes, 8)
        self.rounds = ROUNDS
        while self.query_size * (1 + self.rounds) > MOST_LABELED * len(pool):
            if self.rounds > FEWEST_ROUNDS:
                self.rounds -= 1
            else:
                self.query_size = self.query_size * 2 // 3
        self.initial = np.random.default_rng([seed, 7]).choice(len(pool), self.query_size, replace=False)

    @cached_property
    def p_full(self) -> np.ndarray:
        """[N] what the FitNet of all labels of the pool gives to the true class."""
        return self.of_truth(FitNet.fitted(self.x, self.y, self.n_classes))

    def of_truth(self, fit_net: FitNet) -> np.ndarray:
        """[N] the probability that a FitNet gives to the true class."""
        return fit_net.probabilities(self.x).numpy()[np.arange(len(self.y)), self.y]


task_of = lru_cache(1)(Task)  # the queries of a task come one after the other


@dataclass(frozen=True)
class State:
    """A round before its query.

    Attributes:
        task: What is learned.
        labeled: [L] indices into the pool.
        fit_net: Fitted to these.
        round: Number of queries before.
    """

    task: Task
    labeled: np.ndarray
    fit_net: FitNet
    round: int

    @cached_property
    def unlabeled(self) -> np.ndarray:
        """[U] the other indices, ascending."""
        return np.setdiff1d(np.arange(len(self.task.y)), self.labeled)

    @property
    def accuracy(self) -> float:
        """Of FitNet on the test set."""
        return float(np.mean(self.fit_net.logits(self.task.x_test).argmax(1).numpy() == self.task.y_test))

    @cached_property
    def p(self) -> Tensor:
        """[N, C] FitNet's probabilities."""
        return self.fit_net.probabilities(self.task.x)

    @cached_property
    def z(self) -> Tensor:
        """[N, C] FitNet's logits."""
        return self.fit_net.logits(self.task.x)

    @cached_property
    def predicted(self) -> np.ndarray:
        """[N] FitNet's classes."""
        return self.p.argmax(1).numpy()

    @cached_property
    def uncertainty(self) -> np.ndarray:
        """u [N], calibrated."""
        x = self.task.x
        return laplace_uncertainty(Rows(x), Rows(self.z), self.fit_net.weight, x[self.labeled]).numpy()

    @cached_property
    def p_calibrated(self) -> Tensor:
        """pt [N, C], the probabilities behind u, whose terms ``autoal/search/coverage/laplace.py`` explains."""
        x = self.task.x.double()
        z, squares, p = self.z.clone(), x.square(), self.p[self.labeled].double()
        for c in range(self.task.n_classes):
            rows = x[self.labeled] * (p[:, c] * (1 - p[:, c])).sqrt()[:, None]
            _, singular, axes = torch.linalg.svd(rows, full_matrices=False)
            known = singular.square() / (singular.square() + RIDGE)  # how far the labels fix the weight on an axis
            variance = (squares.sum(1) - (x @ axes.T).square() @ known) / RIDGE
            z[:, c] *= (1 + torch.pi / 8 * variance).rsqrt()
        return torch.softmax(z, dim=1)

    @cached_property
    def gamma(self) -> float:
        """The product's bandwidth."""
        return bandwidth(self.task.unit[self.labeled])

    @cached_property
    def similarity(self) -> Tensor:
        """[N] the inner product of each sample with the labeled one that is nearest."""
        unit = self.task.unit
        return nearest_similarity(Rows(unit), unit[self.labeled])

    @cached_property
    def phi(self) -> np.ndarray:
        """[N, 4] SearchNet's signals."""
        covered = kernel_of_similarity(self.similarity.clone(), self.gamma)
        return signals(self.z, np.arange(len(self.task.y)), self.task.features.graph, covered)

    @property
    def reducible(self) -> np.ndarray:
        """[N] how much more all labels of the pool give to the true class than these do; 0 where it is less."""
        return np.maximum(0, self.task.p_full - self.task.of_truth(self.fit_net))

    def generator(self, purpose: int) -> np.random.Generator:
        """Keyed by seed, round and purpose, so that runs are paired."""
        return np.random.default_rng([self.task.seed, self.round, purpose])


Query = Callable[[State], np.ndarray]  # picks [B], indices into the pool


def states(task: Task, query: Query) -> Iterator[State]:
    """The state of every round, and the last one after all queries."""
    labeled, fit_net = task.initial, None
    for number in range(task.rounds + 1):
        fit_net = FitNet.fitted(task.x[labeled], task.y[labeled], task.n_classes, fit_net)
        state = State(task, labeled, fit_net, number)
        yield state
        if number < task.rounds:
            labeled = np.concatenate([labeled, query(state)])
