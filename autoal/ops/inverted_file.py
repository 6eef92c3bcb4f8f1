"""Approximate search: rows in lists by their nearest centroid, and each query looks into the lists nearest to it.

FAISS's index of this kind copies the database and goes through the lists query by query. Here the queries of a list are
searched together, as a tile of exact search: matrix products, no copy, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.ops.kmeans import lloyd
from autoal.ops.nearest import merged, nearest, scan
from autoal.ops.rows import Rows, origin, prepared, sampled

TRAIN_PER_LIST = 64  # rows that the lists' centroids are trained on
ITERATIONS = 5  # lists need not be good clusters, only compact
PAIRS = 1 << 22  # of queries and lists, held together


class InvertedFile:
    """About sqrt(N) lists of row numbers.

    Attributes:
        lists: How many.
    """

    def __init__(self, x: Rows, metric: str, *, by_faiss: bool) -> None:
        self._x, self._metric, self._by_faiss = x, metric, by_faiss
        self._shift = origin(x, metric)
        self.lists = max(1, int(len(x) ** 0.5))
        some = x[sampled(len(x), TRAIN_PER_LIST * self.lists, seed=0).to(x.device)]
        if metric == "cosine":
            some = prepared(some, self._shift, metric)
        self._centroids = Rows(lloyd(some, self.lists, 0, ITERATIONS, 0.0, by_faiss).centroids)
        # The inner product with a centroid is the mean over its list, but would not make compact lists.
        lists_of = nearest(x, self._centroids, 1, "l2" if metric == "ip" else metric, by_faiss=by_faiss)[:, 0]
        self._members = lists_of.argsort(stable=True).split(lists_of.bincount(minlength=self.lists).tolist())

    def search(self, q: Rows, k: int, nprobe: int) -> Tensor:
        """Positions [Q, k] in x of the k nearest rows in ``nprobe`` lists, or in as many more as it takes to find k."""
        parts = torch.arange(len(q), device=q.device).split(max(1, PAIRS // nprobe))
        return torch.cat([self._found(q.take(part), k, nprobe) for part in parts])

    def _found(self, q: Rows, k: int, nprobe: int) -> Tensor:
        probes = nearest(q, self._centroids, nprobe, self._metric, by_faiss=self._by_faiss).flatten()
        askers = (probes.argsort(stable=True) // nprobe).split(probes.bincount(minlength=self.lists).tolist())
        best = torch.full((len(q), k), torch.inf, device=q.device)
        indices = torch.full((len(q), k), -1, device=q.device)
        for members, which in zip(self._members, askers, strict=True):
            if len(members) and len(which):
                asking, part, few = q.take(which), self._x.take(members), min(k, len(members))
                values, positions = scan(asking, part, few, self._metric, self._shift, by_faiss=self._by_faiss)
                best[which], indices[which] = merged(best[which], indices[which], values, members[positions])
        short = (indices < 0).any(1).nonzero()[:, 0]
        if len(short):
            indices[short] = self._found(q.take(short), k, min(2 * nprobe, self.lists))
        return indices
