"""Strategies that spread the batch over the embedding space: k-center greedy and k-means."""

from __future__ import annotations

import numpy as np

from autoal import ops
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.clustering import representatives
from autoal.types import Context


class KCenter(Strategy):
    """Farthest-first traversal: each pick is the sample farthest from everything chosen or picked (core-set)."""

    name = "kcenter"
    needs = ("embeddings",)
    reference = "Sener & Savarese 2018; Gonzalez 1985"

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the covering radius that remains after the pick."""
        seed = int(context.generator(self.name).integers(2**63 - 1))
        indices, radius = ops.kcenter_greedy(
            context.outputs.embeddings,
            size,
            labeled=context.chosen,
            excluded=context.closed,
            seed=seed,
            return_radius=True,
        )
        return Picks(indices.cpu().numpy(), radius.cpu().numpy())


class KMeans(Strategy):
    """k-means with one cluster per pick; of each cluster the sample nearest to its centroid."""

    name = "kmeans"
    needs = ("embeddings",)
    reference = "Zhdanov 2019"

    def pick(self, context: Context, size: int) -> Picks:
        """Largest cluster first; the score is the number of unlabeled samples in the pick's cluster."""
        seed = int(context.generator(self.name).integers(2**63 - 1))
        picked, population = representatives(context.outputs.require("embeddings"), size, seed, context.barred)
        return Picks(picked, population.astype(np.float32))
