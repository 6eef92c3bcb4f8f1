"""Strategies that spread the batch over the embedding space: k-center greedy and k-means."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn import cluster

from autoal import checks, ops
from autoal.strategies.base import Picks, Strategy
from autoal.types import Context


class KCenter(Strategy):
    """Farthest-first traversal: each pick is the sample farthest from everything labeled or picked (core-set)."""

    name = "kcenter"
    needs = ("embeddings",)
    reference = "Sener & Savarese 2018; Gonzalez 1985"

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the covering radius that remains after the pick."""
        seed = int(context.generator(self.name).integers(2**63 - 1))
        indices, radius = ops.kcenter_greedy(
            context.outputs.embeddings, size, labeled=context.labeled, seed=seed, return_radius=True
        )
        return Picks(indices.cpu().numpy(), radius.cpu().numpy())


class KMeans(Strategy):
    """k-means with one cluster per pick; of each cluster the sample nearest to its centroid."""

    name = "kmeans"
    needs = ("embeddings",)
    reference = "Zhdanov 2019"

    ITERATIONS = 20
    NEIGHBORS = 8  # nearest samples tried per centroid before the slow path

    def pick(self, context: Context, size: int) -> Picks:
        """Largest cluster first; the score is the number of unlabeled samples in the pick's cluster."""
        unlabeled = context.unlabeled
        points = context.outputs.require("embeddings")[unlabeled].float().cpu().contiguous().numpy()  # [U, D]
        if size == len(points):
            return Picks(unlabeled, np.ones(size, np.float32))
        seed = int(context.generator(self.name).integers(2**31 - 1))
        centroids, assigned = self._clusters(points, size, seed)
        population = np.bincount(assigned, minlength=size)
        order = np.argsort(-population, kind="stable")
        picked = self._nearest_distinct(centroids[order], points)
        return Picks(unlabeled[picked], population[order].astype(np.float32))

    def _clusters(self, points: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Centroids [B, D] of points [U, D] and each point's cluster [U]: by FAISS, or else by scikit-learn."""
        try:
            import faiss
        except ImportError:
            how = checks.how_to_install("cpu")
            warnings.warn(f"FAISS is not installed: 'kmeans' runs on scikit-learn, slower; {how}", stacklevel=2)
            found = cluster.KMeans(size, n_init=1, max_iter=self.ITERATIONS, random_state=seed).fit(points)
            return found.cluster_centers_, found.labels_
        kmeans = faiss.Kmeans(
            points.shape[1], size, niter=self.ITERATIONS, seed=seed, min_points_per_centroid=1, verbose=False
        )
        kmeans.train(points)
        return np.asarray(kmeans.centroids), kmeans.index.search(points, 1)[1][:, 0]

    def _nearest_distinct(self, centroids: np.ndarray, points: np.ndarray) -> np.ndarray:
        """For each centroid [B, D] in turn, the nearest point [U, D] that is not taken: positions [B]."""
        _, nearest = ops.knn(centroids, points, min(self.NEIGHBORS, len(points)))
        taken = np.zeros(len(points), dtype=bool)
        picked = np.empty(len(centroids), np.int64)
        for b, candidates in enumerate(nearest):
            free = candidates[~taken[candidates]]
            if not len(free):  # many copies of a point, or crowded centroids
                rest = np.flatnonzero(~taken)
                free = rest[[np.square(points[rest] - centroids[b]).sum(axis=1).argmin()]]
            picked[b] = free[0]
            taken[free[0]] = True
        return picked
