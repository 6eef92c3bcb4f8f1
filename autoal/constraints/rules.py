"""Quota, cost and distance: what each allows while picks are taken one after the other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from autoal import ops
from autoal.ops.nearest import told

SLICE = 1 << 16  # rows whose distances to picks are looked at together
ROUNDING = 1e-9  # of a budget: three times 0.1 is within 0.3


class Rule(ABC):
    """Which samples may still be taken.

    Attributes:
        name: The constraint's, for messages.
    """

    name: ClassVar[str]

    @abstractmethod
    def allows(self, rows: np.ndarray) -> np.ndarray:
        """[n] bool: which of ``rows`` [n] could be the next."""

    @abstractmethod
    def take(self, row: int, rest: np.ndarray) -> np.ndarray:
        """Takes an allowed row; [n] bool: which of the rows ``rest`` [n], allowed before, are so still."""

    def narrow(self, rows: np.ndarray) -> np.ndarray:
        """Those of ``rows`` that are allowed; from now on nobody asks about others."""
        return rows[self.allows(rows)]

    def room(self, rows: np.ndarray) -> int:
        """An upper bound of how many of ``rows`` [n], all allowed, can be taken."""
        return len(rows)


class Quota(Rule):
    """At most ``limits`` [G] samples of each group; ``codes`` [N] says of which group a sample is."""

    name = "quota"

    def __init__(self, codes: np.ndarray, limits: np.ndarray) -> None:
        self.codes, self.left = codes, limits.copy()

    def allows(self, rows: np.ndarray) -> np.ndarray:
        return self.left[self.codes[rows]] > 0

    def take(self, row: int, rest: np.ndarray) -> np.ndarray:
        group = self.codes[row]
        self.left[group] -= 1
        return np.ones(len(rest), bool) if self.left[group] > 0 else self.codes[rest] != group

    def room(self, rows: np.ndarray) -> int:
        return int(np.minimum(np.bincount(self.codes[rows], minlength=len(self.left)), self.left).sum())


class CostBudget(Rule):
    """The samples taken cost at most ``budget`` together; ``costs`` [N] float64."""

    name = "cost_budget"

    def __init__(self, costs: np.ndarray, budget: float) -> None:
        self.costs, self.budget, self.spent = costs, budget * (1 + ROUNDING), 0.0

    def allows(self, rows: np.ndarray) -> np.ndarray:
        return self.spent + self.costs[rows] <= self.budget

    def take(self, row: int, rest: np.ndarray) -> np.ndarray:
        self.spent += self.costs[row]
        return self.allows(rest)

    def room(self, rows: np.ndarray) -> int:
        cheapest = self.spent + np.cumsum(np.sort(self.costs[rows]))
        return int(np.searchsorted(cheapest, self.budget, side="right"))


class MinDistance(Rule):
    """No sample taken is nearer than ``least`` to another, or to one of ``chosen``."""

    name = "min_distance"

    def __init__(self, embeddings: Tensor, least: float, metric: str, chosen: np.ndarray) -> None:
        self.embeddings, self.least, self.metric = embeddings, least, metric
        self.centers = chosen.tolist()
        self.seen = 0  # centers that are known to be far enough from all rows that are still asked about

    def allows(self, rows: np.ndarray) -> np.ndarray:
        far = np.ones(len(rows), bool)
        if self.seen == len(self.centers):
            return far
        centers = self._rows(np.array(self.centers[self.seen :]))
        for start in range(0, len(rows), SLICE):
            here = slice(start, start + SLICE)
            nearest = ops.knn(self._rows(rows[here]), centers, 1, metric=self.metric).distances[:, 0]
            far[here] = nearest.cpu().numpy() >= self.least
        return far

    def take(self, row: int, rest: np.ndarray) -> np.ndarray:
        self.centers.append(row)
        center = self._rows(np.array([row]))
        return told(self._rows(rest), center, self.metric).cpu().numpy() >= self.least

    def narrow(self, rows: np.ndarray) -> np.ndarray:
        rows = super().narrow(rows)
        self.seen = len(self.centers)
        return rows

    def _rows(self, rows: np.ndarray) -> Tensor:
        return self.embeddings[torch.from_numpy(rows).to(self.embeddings.device)].float()
