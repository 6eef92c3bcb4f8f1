"""Conditions under which strategies are compared: what is done to the pool, by the seed alone, before any label."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from autoal import checks
from autoal.experiment.datasets import DataSet


@dataclass(frozen=True)
class Condition:
    """What is done to a data set's pool, in this order; the test set stays as it is.

    All draws depend on the seed and on nothing else, so strategies of one seed meet the same pool, and one condition
    does not move the draws of another.

    Attributes:
        imbalance: Samples of the largest class per sample of the smallest, with an exponential profile between; which
            class has which rank is drawn. 1 leaves the pool as it is.
        pool_size: A random part of the pool of that size; None is all.
        label_noise: Share of the pool's labels that are another class, drawn with equal chances.
        duplicates: How many times the pool holds each sample.
    """

    imbalance: float = 1.0
    pool_size: int | None = None
    label_noise: float = 0.0
    duplicates: int = 1

    def check(self) -> None:
        """Raises ValueError if a number is out of range."""
        if not 1 <= self.imbalance < float("inf"):
            raise ValueError(
                f"imbalance must be largest : smallest class, a number of at least 1; got {self.imbalance}"
            )
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise must be the share of wrong labels, in [0, 1]; got {self.label_noise}")
        if self.pool_size is not None:
            checks.as_count(self.pool_size, "pool_size", low=1)
        checks.as_count(self.duplicates, "duplicates", low=1)

    @property
    def label(self) -> str:
        """What results call it; empty where nothing is done."""
        parts = []
        if self.imbalance != 1:
            parts.append(f"imbalance={self.imbalance:g}")
        if self.pool_size is not None:
            parts.append(f"pool-size={self.pool_size}")
        if self.label_noise:
            parts.append(f"label-noise={self.label_noise:g}")
        if self.duplicates > 1:
            parts.append(f"duplicates={self.duplicates}")
        return " ".join(parts)

    def size(self, data: DataSet, seed: int) -> int:
        """How many samples the pool will have.

        Raises:
            ValueError: If the data set has too few samples or classes for this condition.
        """
        size = len(data.y_train) if self.imbalance == 1 else int(self._class_sizes(data, seed).sum())
        if self.pool_size is not None:
            if self.pool_size > size:
                raise ValueError(
                    f"pool_size must be at most {size}, the samples of {data.name!r}; got {self.pool_size}"
                )
            size = self.pool_size
        if self.label_noise and data.n_classes < 2:
            raise ValueError(f"label_noise needs another class to take a label from; {data.name!r} has one")
        return size * self.duplicates

    def applied(self, data: DataSet, seed: int) -> DataSet:
        """The data set with its pool so treated; what stays as it is is not copied."""
        rows = self._rows(data, seed)
        y = data.y_train if rows is None else data.y_train[rows]
        if self.label_noise:
            rng = generator(seed, "label noise")
            wrong = rng.choice(len(y), round(self.label_noise * len(y)), replace=False)
            y = y.copy()
            y[wrong] = (y[wrong] + rng.integers(1, data.n_classes, len(wrong))) % data.n_classes
        x = data.x_train if rows is None else data.x_train[rows]
        if self.duplicates > 1:
            x, y = np.concatenate([x] * self.duplicates), np.tile(y, self.duplicates)
        return replace(data, x_train=x, y_train=y)

    def _rows(self, data: DataSet, seed: int) -> np.ndarray | None:
        """Which rows of the pool stay, ascending; None is all of them."""
        rows = None
        if self.imbalance != 1:
            rng = generator(seed, "imbalance members")
            rows = np.concatenate(
                [
                    rng.choice(np.flatnonzero(data.y_train == c), size, replace=False)
                    for c, size in enumerate(self._class_sizes(data, seed))
                ]
            )
        if self.pool_size is not None:
            among = np.arange(len(data.y_train)) if rows is None else np.sort(rows)
            rows = generator(seed, "pool size").choice(among, self.pool_size, replace=False)
        return None if rows is None else np.sort(rows)

    def _class_sizes(self, data: DataSet, seed: int) -> np.ndarray:
        """[C] how many of each class a long-tailed pool keeps: as many as its profile and the rarest class allow."""
        c = data.n_classes
        if c < 2:
            raise ValueError(f"imbalance needs at least two classes; {data.name!r} has {c}")
        profile = np.empty(c)
        profile[generator(seed, "imbalance").permutation(c)] = self.imbalance ** (-np.arange(c) / (c - 1))
        counts = np.bincount(data.y_train, minlength=c)
        largest = int((counts / profile + 1e-9).min())  # 1e-9: 100 / 0.1 must not be 999
        if largest < self.imbalance:
            raise ValueError(
                f"imbalance {self.imbalance:g} leaves no whole sample in the smallest class of {data.name!r} with seed "
                f"{seed}, whose largest can have {largest}: choose a smaller one"
            )
        return np.rint(largest * profile).astype(np.int64)


AS_IT_IS = Condition()


def generator(seed: int, purpose: str) -> np.random.Generator:
    """A random generator keyed by (seed, purpose), apart from those of the learner and the strategies."""
    return np.random.default_rng([seed, *f"condition: {purpose}".encode()])


def task(dataset: str, condition: str) -> str:
    """What results call a data set under a condition."""
    return f"{dataset}, {condition}" if condition else dataset
