"""The contract of a task model: the classifier that the labels are bought for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import ClassVar

import numpy as np
from torch import Tensor

from autoal.types import Outputs


class TaskModel(ABC):
    """A classifier that is trained from scratch each round and tells in one pass all that strategies ask for.

    Samples are features [N, D] or images [N, H, W(, channels)], as ``autoal.pool.Pool`` holds them.
    """

    name: ClassVar[str]

    def look(self, x: Tensor) -> None:  # noqa: B027  (optional: a model may have no use for it)
        """Takes what the whole pool x [N, ...] shows without labels (mean and scale), once, before the first fit."""

    @abstractmethod
    def fit(self, x: Tensor, y: np.ndarray, n_classes: int, *, seed: int) -> None:
        """Trains on x [L, ...] with class numbers y [L]; deterministic in ``seed`` on one device."""

    @abstractmethod
    def outputs(self, x: Tensor, needs: Collection[str], *, seed: int) -> Outputs:
        """The outputs named in ``needs`` for all of x [N, ...], MC samples included, from one pass over it."""

    @abstractmethod
    def predict(self, x: Tensor) -> np.ndarray:
        """[N] int64 class numbers."""
