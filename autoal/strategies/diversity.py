"""Strategies that spread the batch over the embedding space: k-center greedy and k-means."""

from __future__ import annotations

import numpy as np

from autoal import ops
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

    # Large pools are trained on some samples: 64 a centroid cost 1 % of the inertia beside 256, except where a few far
    # samples hold most of it.
    PER_CENTROID, AT_LEAST = 64, 1 << 16

    def pick(self, context: Context, size: int) -> Picks:
        """Largest cluster first; the score is the number of unlabeled samples in the pick's cluster."""
        seed = int(context.generator(self.name).integers(2**63 - 1))
        clusters = ops.kmeans(
            context.outputs.require("embeddings"),
            size,
            max_points_per_centroid=max(self.PER_CENTROID, self.AT_LEAST // size),
            excluded=context.labeled,
            seed=seed,
        )
        assigned, distances = clusters.assignments.cpu().numpy(), clusters.distances.cpu().numpy()
        unlabeled = context.unlabeled
        by_cluster = unlabeled[np.lexsort((distances[unlabeled], assigned[unlabeled]))]  # the nearest first in each
        found, first, population = np.unique(assigned[by_cluster], return_index=True, return_counts=True)
        order = np.argsort(-population, kind="stable")
        picked = by_cluster[first[order]]
        copies = np.setdiff1d(unlabeled, picked)[: size - len(found)]  # the pool has no more different samples
        scores = np.concatenate([population[order], np.zeros(len(copies))])
        return Picks(np.concatenate([picked, copies]), scores.astype(np.float32))
