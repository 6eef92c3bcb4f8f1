"""How far the rows of a shard are, at most, from the centers of all ranks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoal.distributed.ranks import Ranks
from autoal.distributed.shard import Shard
from autoal.ops import native


class Bounds:
    """Squared distances of the rows to the nearest center that they have met: upper bounds, exact once they met all.

    Attributes:
        value: [n] float32.
        seen: [n] int32: a row has met the first so many centers.
        centers: [M, D] float32 as the metric sees them, in the same order on all ranks.
    """

    def __init__(self, shard: Shard, most_centers: int) -> None:
        self._shard = shard
        self._memory = torch.empty(most_centers, shard.x.shape[1])
        self.value = torch.full((len(shard.x),), torch.inf)
        self.seen = torch.zeros(len(shard.x), dtype=torch.int32)
        self.centers = self._memory[:0]

    def start(self, ids: np.ndarray, ranks: Ranks) -> None:
        """Makes rows of the pool centers, of which all rows meet one; the others when they are looked at."""
        self.add(self._shard.fetch(ids[:1], ranks, "the first center"))
        everything = np.arange(len(self.value))
        self.refresh(everything, np.full(len(everything), -1, np.float32))
        self.add(self._shard.fetch(ids[1:], ranks, "the embeddings of centers"))

    def add(self, points: Tensor) -> None:
        """Makes [m, D] points centers, which no row has met."""
        count = len(self.centers)
        self.centers = self._memory[: count + len(points)]
        self.centers[count:] = points

    def refresh(self, rows: np.ndarray, floors: np.ndarray) -> None:
        """Brings rows [m] up to date, but for those whose bound falls to its floor [m] float32 or below."""
        behind = self.seen.numpy()[rows] < len(self.centers)
        which, until = torch.from_numpy(rows[behind]), torch.from_numpy(floors[behind])
        native.refresh_bounds(self._shard.x, self._shard.scale, self.centers, which, until, self.value, self.seen)

    def set(self, rows: np.ndarray, values: Tensor) -> None:
        """What is known of rows [m] that met all centers elsewhere."""
        self.value[torch.from_numpy(rows)] = values
        self.seen[torch.from_numpy(rows)] = len(self.centers)
