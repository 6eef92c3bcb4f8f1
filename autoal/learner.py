"""The active-learning loop, one line per stage, until the budget is spent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoal import checks, models
from autoal.constraints import Constraints, as_constraints, random_sample
from autoal.constraints import query as constrained_query
from autoal.models import TaskModel
from autoal.oracle import Oracle
from autoal.pool import Pool
from autoal.strategies import Strategy, resolve
from autoal.types import OUTPUT_NAMES, Context, Query


@dataclass(frozen=True)
class Round:
    """What one round did; round 0 is the initial sample, where the pool had no labels.

    Attributes:
        number: Counts from 0.
        query: What was asked and answered; where other samples were answered than asked for, these, with scores 0.
        labeled: Labels in all, after the round.
        fit_seconds, query_seconds: What training the model and making the query took.
    """

    number: int
    query: Query
    labeled: int
    fit_seconds: float
    query_seconds: float


class ActiveLearner:
    """Spends a labeling budget on a pool, round by round: ask, label, learn.

    Args:
        pool: A ``Pool``, or its samples: features [N, D] or images [N, H, W(, 3)]. Labels that a ``Pool`` has already
            are learned from at once, and there is no initial sample then.
        model: The task model: a name (``autoal.models.MODELS``) or an object.
        strategy: A name, class or object; an object serves one run.
        oracle: Who answers in ``run``: a callable from indices [B] to class numbers [B]. Without one, use ask and tell.
        initial_size: Labels of the first round, drawn at random from ``seed`` alone: strategies are compared paired.
        query_size: Labels per later round.
        budget: Labels in all.
        n_classes: C; by default what the oracle knows.
        constraints: Rules of each query, also of the initial sample, but that there is no distance before there is a
            model. Quotas and the cost budget are a query's, not the run's.
        seed: Source of all randomness.

    Attributes:
        constraints: May be replaced between queries, say by what is pending now.
        rounds: What each round so far did.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a name is unknown, sizes do not fit the pool, or the pool's labels exceed the classes.
    """

    def __init__(
        self,
        pool: Pool | Any,
        model: TaskModel | str = "linear",
        strategy: Strategy | type[Strategy] | str = "autoal",
        *,
        oracle: Oracle | None = None,
        initial_size: int = 100,
        query_size: int = 100,
        budget: int = 1000,
        n_classes: int | None = None,
        constraints: Constraints | None = None,
        seed: int = 0,
    ) -> None:
        self.pool = pool if isinstance(pool, Pool) else Pool(pool)
        self.model = models.resolve(model)
        self.strategy = resolve(strategy)
        self.oracle = oracle
        self.constraints = constraints
        n, pool_size = len(self.pool), "the samples of the pool"
        if constraints is not None:
            excluded = np.setdiff1d(as_constraints(constraints).rows("excluded", n), self.pool.labeled)
            n, pool_size = n - len(excluded), "the samples that are not excluded"
        self.initial_size = checks.as_count(initial_size, "initial_size", low=1, high=n, of=pool_size)
        self.query_size = checks.as_count(query_size, "query_size", low=1)
        self.budget = checks.as_count(budget, "budget", low=self.initial_size, high=n, of=pool_size)
        self.seed = checks.as_count(seed, "seed", high=2**63 - 1)
        known = n_classes if n_classes is not None else getattr(oracle, "n_classes", None)
        if known is None:
            raise ValueError("n_classes must be given where the oracle does not know it: the number of classes")
        self.n_classes = checks.as_count(known, "n_classes", low=1)
        self.rounds: list[Round] = []
        self._initial = np.empty(0, np.int64)  # what of the initial sample is still to be answered
        self._asked: tuple[Query, float] | None = None
        self._check_classes(self.pool.labels)
        self.model.look(self.pool.x)
        if len(self.pool.labeled):
            self._fit()

    def run(self, *, progress: bool = False, callback: Callable[[Round], None] | None = None) -> list[Round]:
        """Asks, lets the oracle answer and learns until the budget is spent; ``callback`` sees each round.

        Raises:
            ValueError: If there is no oracle.
        """
        if self.oracle is None:
            raise ValueError(
                "run needs oracle=, a callable from indices to labels; a person answers through ask and tell"
            )
        with _progress_bar(self.budget, progress) as bar:
            bar.update(len(self.pool.labeled))
            while self.remaining:
                query = self.ask()
                done = self.tell(query.indices, self.oracle(query.indices))
                bar.update(len(query))
                if callback is not None:
                    callback(done)
        return self.rounds

    @property
    def remaining(self) -> int:
        """Labels that the budget still allows."""
        return max(0, self.budget - len(self.pool.labeled))

    def ask(self) -> Query:
        """What to label next: the initial sample until it is answered, then the strategy's query.

        Asking twice gives the same query.

        Raises:
            ValueError: If the budget is spent, or constraints do not fit the pool or leave nothing to ask.
        """
        if self._asked is None:
            if not self.remaining:
                raise ValueError(f"the budget of {self.budget} labels is spent: raise budget to go on")
            start = time.perf_counter()
            if not len(self.pool.labeled):
                self._initial = self._initial_sample()
            self._initial = self._initial[np.isin(self._initial, self.pool.unlabeled)]
            query = unscored(self._initial[: self.remaining]) if len(self._initial) else self._query()
            self._asked = query, time.perf_counter() - start
        return self._asked[0]

    def tell(self, indices: Any, labels: Any) -> Round:
        """Records labels [B] of the samples ``indices`` [B], asked for or not, and learns from all labels so far.

        Raises:
            TypeError: If they are not integers.
            ValueError: If there are none, or they do not fit the pool, the classes or each other; then nothing is
                recorded.
        """
        new = checks.as_indices(indices, "indices", len(self.pool))
        if not len(new):
            raise ValueError("indices must hold at least one sample that has a label now, got none")
        self._check_classes(checks.as_labels(labels, "labels", len(new)))
        self.pool.label(new, labels)
        query, seconds = unscored(new), 0.0
        if self._asked is not None and set(new.tolist()) == set(self._asked[0].indices.tolist()):
            query, seconds = self._asked
        self._asked = None
        start = time.perf_counter()
        self._fit()
        fit_seconds = time.perf_counter() - start
        self.rounds.append(Round(len(self.rounds), query, len(self.pool.labeled), fit_seconds, seconds))
        return self.rounds[-1]

    def _initial_sample(self) -> np.ndarray:
        """[initial_size] pool indices, drawn from the seed alone, or what constraints allow of a random order."""
        rng = np.random.default_rng([self.seed, 0])
        if self.constraints is None:
            return rng.choice(len(self.pool), self.initial_size, replace=False)
        return random_sample(len(self.pool), self.initial_size, self.constraints, rng)

    def _query(self) -> Query:
        """One round, stage by stage."""
        size = min(self.query_size, self.remaining)
        needs = {*self.strategy.needs, *self.strategy.wants}.intersection(OUTPUT_NAMES)
        if self.constraints is not None and self.constraints.min_distance is not None:
            needs.add("embeddings")
        seed = int(np.random.SeedSequence([self.seed, len(self.rounds)]).generate_state(1, np.uint32)[0])
        start = time.perf_counter()
        outputs = self.model.outputs(self.pool.x, needs or {"logits"}, seed=seed)
        inference = time.perf_counter() - start
        context = Context.of(
            outputs, self.pool.labeled, self.pool.labels, n_classes=self.n_classes, seed=seed, inputs=self.pool.x
        )
        query = constrained_query(self.strategy, context, size, self.constraints)
        for stage in ("inference", "total"):
            query.timings[stage] = query.timings.get(stage, 0.0) + inference
        return query

    def _fit(self) -> None:
        labeled = self.pool.labeled
        self.model.fit(self.pool.x[labeled], self.pool.labels, self.n_classes, seed=self.seed)

    def _check_classes(self, labels: np.ndarray) -> None:
        """Raises ValueError if a label [L] is none of the classes."""
        if len(labels) and labels.max() >= self.n_classes:
            raise ValueError(f"labels must lie in [0, {self.n_classes}), the classes; got {labels.max()}")


def unscored(indices: np.ndarray) -> Query:
    """A query that no strategy made: all scores are 0."""
    return Query(indices, np.zeros(len(indices), np.float32))


def _progress_bar(total: int, shown: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit="label", disable=not shown)
