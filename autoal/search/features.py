"""A pool's embeddings as the search uses them; computed once, kept while the embeddings stay the same."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import CHUNK, prepare
from autoal.search.coverage.neighbors import neighbor_graph


class Features:
    """Embeddings of a pool: prepared for FitNet, and on the unit sphere for the kernel.

    Attributes:
        x: [N, D + 1] float32, centered and scaled, with a bias column.
        unit: [N, D + 1] float32, the rows of x at length one.
    """

    def __init__(self, embeddings: Tensor) -> None:
        self.x = prepare(embeddings)
        self.unit = torch.nn.functional.normalize(self.x, dim=1)
        self._digest = _digest(embeddings)

    @cached_property
    def graph(self) -> np.ndarray:
        """[N, k] int64, the nearest neighbors of each point."""
        return neighbor_graph(self.unit)

    def matches(self, embeddings: Tensor) -> bool:
        """Whether these are the features of ``embeddings`` [N, D], which may have changed in place."""
        return embeddings.device == self.x.device and _digest(embeddings) == self._digest


def _digest(embeddings: Tensor) -> bytes:
    """SHA-256 of all that ``prepare`` reads: the shape, and the rows as float32."""
    digest = hashlib.sha256(str(tuple(embeddings.shape)).encode())
    for part in embeddings.split(CHUNK):
        digest.update(part.to("cpu", torch.float32).contiguous().view(-1).numpy())
    return digest.digest()
