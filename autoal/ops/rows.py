"""Rows of a pool that are looked at, without a copy of the pool: some of them, as float32, brought into a metric."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

SHIFT_ROWS = 255
PART = 1 << 18  # numbers that are copied together: 1 MiB


class Rows:
    """All rows of x [N, D], or those kept [M]; indexing them gives float32, copied only where that is no view."""

    def __init__(self, x: Tensor, kept: Tensor | None = None) -> None:
        self._x, self._kept = x, None if kept is None else kept.to(x.device)
        self.width, self.device, self.on_cuda = x.shape[1], x.device, x.is_cuda

    def __len__(self) -> int:
        return len(self._x if self._kept is None else self._kept)

    def __getitem__(self, where: slice | Tensor) -> Tensor:
        return self._x[where if self._kept is None else self._kept[where]].float()

    def parts(self, length: int) -> Iterator[Tensor]:
        """The rows in order, ``length`` of them at a time."""
        for start in range(0, len(self), length):
            yield self[start : start + length]

    def held(self) -> Tensor:
        """All of them at once [M, D], for who cannot do without; made part by part."""
        x = torch.empty(len(self), self.width, device=self.device)
        length = max(1, PART // self.width)
        for part, rows in zip(self.parts(length), x.split(length), strict=True):
            rows.copy_(part)
        return x

    def take(self, which: Tensor) -> Rows:
        """Those of the rows that ``which`` [M] numbers."""
        return Rows(self._x, which if self._kept is None else self._kept[which])

    def columns(self, step: int) -> Rows:
        """Every ``step``-th number of each."""
        return Rows(self._x[:, ::step], self._kept)

    def numbers(self, positions: Tensor) -> Tensor:
        """What the owner of x calls the rows at ``positions``."""
        return positions if self._kept is None else self._kept[positions]

    def spread(self, values: Tensor, missing: float) -> Tensor:
        """``values`` [M, ...] of the rows as [N, ...], with ``missing`` where a row was not kept."""
        if self._kept is None:
            return values
        everywhere = values.new_full((len(self._x), *values.shape[1:]), missing)
        everywhere[self._kept] = values
        return everywhere


def as_rows(x: Tensor | Rows) -> Rows:
    """x [N, D], held or not, as rows."""
    return x if isinstance(x, Rows) else Rows(x)


def sampled(n: int, size: int, seed: int) -> Tensor:
    """``size`` of n row numbers, or all, drawn without replacement, ascending."""
    if size >= n:
        return torch.arange(n)
    return torch.from_numpy(np.sort(np.random.default_rng(seed).choice(n, size, replace=False, shuffle=False)))


def origin(x: Rows, metric: str) -> Tensor:
    """[D] to subtract from all rows before products of them: |q - x| stays, and near the origin loses fewer digits.

    The median of some rows, in even steps since pools may be sorted. Not the mean: it is made of the data's own
    numbers, so that integers stay integers and ties stay ties.
    """
    if metric != "l2" or not len(x):
        return torch.zeros(x.width, device=x.device)
    steps = torch.arange(min(SHIFT_ROWS, len(x)), device=x.device) * len(x) // min(SHIFT_ROWS, len(x))
    return x[steps].median(0).values


def prepared(rows: Tensor, shift: Tensor, metric: str) -> Tensor:
    """Rows whose products, and for l2 norms, order the neighbors."""
    return unit(rows) if metric == "cosine" else rows - shift


def unit(rows: Tensor) -> Tensor:
    """Rows [..., D] of length one; those of zeros as they are. Squares of shares neither vanish nor overflow."""
    largest = rows.abs().amax(-1, keepdim=True) if rows.shape[-1] else rows.sum(-1, keepdim=True)
    shares = rows / torch.where(largest > 0, largest, 1)
    return shares / torch.linalg.vector_norm(shares, dim=-1, keepdim=True).clamp_min(1)
