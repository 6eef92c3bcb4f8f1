"""Who answers a query: any callable from pool indices [B] to class numbers [B]. People answer by ask and tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from autoal import checks

Oracle = Callable[[np.ndarray], np.ndarray]


class DataSetOracle:
    """Answers from known labels, for experiments.

    Args:
        y: [N] class numbers of the whole pool.
    """

    def __init__(self, y: Any) -> None:
        self.y = checks.as_labels(y, "y", len(y))
        self.n_classes = int(self.y.max()) + 1 if len(self.y) else 0

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """[B] class numbers of the samples ``indices`` [B]."""
        return self.y[indices]


class NoisyOracle(DataSetOracle):
    """Answers wrongly for a fixed random share of the samples, each time with the same other class.

    Args:
        y: [N] class numbers of the whole pool.
        rate: Share of wrong answers, in [0, 1].
        seed: Which samples are answered wrongly, and how.
    """

    def __init__(self, y: Any, rate: float, *, seed: int = 0) -> None:
        super().__init__(y)
        if not 0 <= rate <= 1:
            raise ValueError(f"rate must be the share of wrong answers, in [0, 1]; got {rate}")
        if self.n_classes < 2 and rate > 0:
            raise ValueError("rate must be 0 where there is one class: no answer can be wrong")
        rng = np.random.default_rng(seed)
        wrong = rng.random(len(self.y)) < rate
        shift = rng.integers(1, max(self.n_classes, 2), len(self.y))
        self.y = np.where(wrong, (self.y + shift) % self.n_classes, self.y)
