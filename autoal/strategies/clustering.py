"""k-means as a stage of other strategies: the clusters of a pool, or one sample to stand for each cluster."""

from __future__ import annotations

import numpy as np

from autoal.strategies.diversity import KMeans


def kmeans(points: np.ndarray, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroids [k, D] of points [N, D] float32 and each point's cluster [N]."""
    return KMeans()._clusters(points, k, seed)


def representatives(points: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Positions [k]: of each of k clusters of points [N, D] the one nearest to the centroid, largest cluster first."""
    if k == len(points):
        return np.arange(k)
    centroids, assigned = kmeans(points, k, seed)
    order = np.argsort(-np.bincount(assigned, minlength=k), kind="stable")
    return KMeans()._nearest_distinct(centroids[order], points)
