"""TypiClust: the most typical sample of each cluster that has no label yet."""

from __future__ import annotations

import heapq

import numpy as np
import torch
from torch import Tensor

from autoal import ops
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.clustering import kmeans
from autoal.strategies.pool_geometry import unit_rows
from autoal.types import Context


class TypiClust(Strategy):
    """k-means into min(L + B, 500) clusters; the most typical sample of the largest ones without a label.

    What is pending counts as labeled.
    """

    name = "typiclust"
    needs = ("embeddings",)
    reference = "Hacohen et al. 2022"

    MOST_CLUSTERS = 500
    SMALLEST_CLUSTER = 5  # smaller ones come last
    NEIGHBORS = 20

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the typicality, one over the mean distance to 20 neighbors in the cluster.

        Where every cluster has a label, those with the fewest come first.
        """
        points = unit_rows(context)
        chosen, barred = context.chosen, context.barred
        k = min(len(chosen) + size, self.MOST_CLUSTERS, len(points))
        seed = int(context.generator(self.name).integers(2**31 - 1))
        assigned = kmeans(points, k, seed).assignments.cpu().numpy()
        sizes = np.bincount(assigned, minlength=k)
        labels = np.bincount(assigned[chosen], minlength=k)
        left = sizes - np.bincount(assigned[barred], minlength=k)
        is_barred = np.zeros(len(points), dtype=bool)
        is_barred[barred] = True
        members = np.split(np.argsort(assigned, kind="stable"), np.cumsum(sizes)[:-1])

        heap = [(sizes[c] < self.SMALLEST_CLUSTER, labels[c], -sizes[c], c) for c in range(k) if left[c]]
        heapq.heapify(heap)
        waiting: dict[int, list[tuple[int, float]]] = {}  # what may be asked of the clusters seen so far, best last
        picked: list[tuple[int, float]] = []
        taken_from: list[int] = []
        while len(picked) < size:
            small, count, minus_size, c = heapq.heappop(heap)
            if c not in waiting:
                typical = typicality(points[torch.from_numpy(members[c])], self.NEIGHBORS)
                order = [i for i in np.argsort(-typical, kind="stable")[::-1] if not is_barred[members[c][i]]]
                waiting[c] = [(members[c][i], typical[i]) for i in order]
            picked.append(waiting[c].pop())
            taken_from.append(c)
            if waiting[c]:
                heapq.heappush(heap, (small, count + 1, minus_size, c))
        indices, scores = (np.array(column) for column in zip(*picked, strict=True))
        return Picks(indices, scores, {"cluster": np.array(taken_from), "cluster_size": sizes[taken_from]})


LARGEST_TYPICALITY = 1e6  # of copies, and of points nearer than float32 tells
RECALL = 0.95  # of the neighbors in clusters of 20,000 and more, where finding all compares all pairs


def typicality(points: Tensor, neighbors: int) -> np.ndarray:
    """[n] ``ops.typicality`` of points [n, D] by their nearest others, so many or all; 0 if alone."""
    k = min(neighbors, len(points) - 1)
    if not k:
        return np.zeros(len(points), np.float32)
    return ops.typicality(points, k, recall=RECALL).scores.clamp_max(LARGEST_TYPICALITY).cpu().numpy()
