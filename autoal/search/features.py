"""A pool's embeddings as the search uses them: made row by row when they are looked at, so that no copy is held."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import centering, part_rows
from autoal.ops.rows import Rows
from autoal.search.coverage.neighbors import neighbor_graph

IN_CACHE = 1 << 17  # numbers in float64, 1 MiB


class Prepared(Rows):
    """Rows [N, D + 1] of a pool, or those kept, as FitNet takes them: centered, scaled, and a last column of ones."""

    def __init__(self, embeddings: Tensor, center: Tensor, scale: float, kept: Tensor | None = None) -> None:
        super().__init__(embeddings, kept)
        self._center, self._scale = center, scale
        self.width += 1

    def __getitem__(self, where: slice | Tensor) -> Tensor:
        rows = super().__getitem__(where)
        x = torch.empty((*rows.shape[:-1], self.width), dtype=torch.float32, device=rows.device)
        length = max(1, IN_CACHE * len(rows) // max(1, rows.numel()))
        for part, out in zip(rows.split(length), x.split(length), strict=True):
            out[..., :-1].copy_(part.double().sub_(self._center)).mul_(self._scale)
        x[..., -1] = 1
        return x

    def take(self, which: Tensor) -> Prepared:
        """Those of the rows that ``which`` [M] numbers."""
        kept = which if self._kept is None else self._kept[which]
        return type(self)(self._x, self._center, self._scale, kept)


class OnSphere(Prepared):
    """The same rows at length one, for the kernel."""

    def __getitem__(self, where: slice | Tensor) -> Tensor:
        return torch.nn.functional.normalize(super().__getitem__(where), dim=-1)


class Features:
    """What the search knows of a pool by its embeddings; computed once, kept while these stay the same.

    Attributes:
        x: [N, D + 1] centered and scaled, with a bias column.
        unit: [N, D + 1] the rows of x at length one.
    """

    def __init__(self, embeddings: Tensor) -> None:
        self._centering = centering(embeddings)
        self._digest = _digest(embeddings)
        self._see(embeddings)

    def _see(self, embeddings: Tensor) -> None:
        self.x, self.unit = Prepared(embeddings, *self._centering), OnSphere(embeddings, *self._centering)

    @cached_property
    def graph(self) -> np.ndarray:
        """[N, k] int64, the nearest neighbors of each point."""
        return neighbor_graph(self.unit)

    def matches(self, embeddings: Tensor) -> bool:
        """Whether these are the features of ``embeddings`` [N, D], which may have changed in place.

        If so they are read from there from now on: where each round brings its own array, the last one is let go of.
        """
        same = embeddings.device == self.x.device and _digest(embeddings) == self._digest
        if same:
            self._see(embeddings)
        return same


def _digest(embeddings: Tensor) -> bytes:
    """SHA-256 of all that is read of them: the shape, and the rows as float32."""
    digest = hashlib.sha256(str(tuple(embeddings.shape)).encode())
    for part in embeddings.split(part_rows(embeddings.shape[1])):
        digest.update(part.to("cpu", torch.float32).contiguous().view(-1).numpy())
    return digest.digest()
