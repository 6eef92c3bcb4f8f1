"""The pool: all samples, and which of them have a label. The only place that keeps that account."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from autoal import checks


class Pool:
    """Samples x [N, ...] with the labels known so far.

    Args:
        x: [N, D] float features, or [N, H, W] / [N, H, W, 3] images (uint8, or float in [0, 1]).

    Attributes:
        x: The samples as a tensor; shares memory with what came where possible.
        labeled: [L] int64 pool indices in the order in which their labels came.
        labels: [L] int64 class numbers of ``labeled``.

    Raises:
        TypeError: If x is no array of numbers.
        ValueError: If x is empty, has a wrong number of axes, or holds NaN or Inf.
    """

    def __init__(self, x: Any) -> None:
        self.x = as_samples(x, "x")
        if len(self.x) == 0:
            raise ValueError("x must hold at least one sample, got none")
        self._class_of = np.full(len(self.x), -1, np.int64)
        self.labeled = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> np.ndarray:
        """[L] int64 class numbers of ``labeled``."""
        return self._class_of[self.labeled]

    @property
    def unlabeled(self) -> np.ndarray:
        """[U] int64 pool indices without a label, ascending."""
        return np.flatnonzero(self._class_of < 0)

    def label(self, indices: Any, labels: Any) -> None:
        """Records labels [B] of the samples ``indices`` [B]. Nothing is recorded if anything is wrong.

        Raises:
            TypeError: If they are not integers.
            ValueError: If an index is outside the pool, repeats or has a label already, or the lengths differ.
        """
        new = checks.as_indices(indices, "indices", len(self))
        classes = checks.as_labels(labels, "labels", len(new))
        known = new[self._class_of[new] >= 0]
        if len(known):
            raise ValueError(f"indices must be unlabeled samples; {known[0]} has a label already")
        self._class_of[new] = classes
        self.labeled = np.concatenate([self.labeled, new])


def as_samples(x: Any, name: str) -> Tensor:
    """``x`` as a tensor of features [N, D] or images [N, H, W(, channels)]; images may be uint8."""
    if (isinstance(x, np.ndarray) and x.dtype == np.uint8) or (isinstance(x, Tensor) and str(x.dtype) == "torch.uint8"):
        tensor = x if isinstance(x, Tensor) else checks.tensor_of(np.ascontiguousarray(x))
        if tensor.ndim not in (3, 4):
            raise ValueError(
                f"{name} must be images [N, H, W] or [N, H, W, 3] where it is uint8, got {checks.describe(x)}: "
                "features are float, convert them with .astype('float32')"
            )
        return tensor
    axes = {2: "[N, D]", 3: "[N, H, W]", 4: "[N, H, W, channels]"}
    ndim = getattr(x, "ndim", 2)
    if ndim not in axes:
        raise ValueError(f"{name} must be features [N, D] or images [N, H, W(, channels)], got {checks.describe(x)}")
    tensor = checks.as_floats(x, name, axes[ndim])
    checks.require_finite(tensor, name)
    return tensor
