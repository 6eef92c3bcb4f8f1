"""k-means as a stage of strategies: the clusters of a pool, or one sample to stand for each cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from autoal import ops

# Large pools are trained on some samples: 64 a centroid cost 1 % of the inertia beside 256, except where a few far
# samples hold most of it.
PER_CENTROID, AT_LEAST = 64, 1 << 16


def kmeans(points: Tensor, k: int, seed: int, excluded: Any = None) -> ops.KMeans:
    """``ops.kmeans`` of points [N, D], on as many of them as a strategy needs."""
    per_centroid = max(PER_CENTROID, AT_LEAST // k)
    return ops.kmeans(points, k, max_points_per_centroid=per_centroid, excluded=excluded, seed=seed)


def representatives(points: Tensor, k: int, seed: int, excluded: np.ndarray | None = None) -> tuple[Any, Any]:
    """Of each of k clusters of points [N, D] the one nearest to the centroid, largest cluster first.

    Returns:
        Rows [k] int64, none of those ``excluded``; where the points hold fewer different ones, the lowest others last.
        How many points [k] there are in each row's cluster; 0 for the others.
    """
    found = kmeans(points, k, seed, excluded)
    assigned, distances = found.assignments.cpu().numpy(), found.distances.cpu().numpy()
    free = np.flatnonzero(assigned >= 0)
    by_cluster = free[np.lexsort((distances[free], assigned[free]))]  # the nearest first in each
    taken, first, population = np.unique(assigned[by_cluster], return_index=True, return_counts=True)
    order = np.argsort(-population, kind="stable")
    nearest = by_cluster[first[order]]
    others = np.setdiff1d(free, nearest)[: k - len(taken)]
    return np.concatenate([nearest, others]), np.concatenate([population[order], np.zeros(len(others), np.int64)])
