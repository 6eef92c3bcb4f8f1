"""Cluster-Margin: uncertain samples, taken in turn from the clusters of a hierarchy that is built once."""

from __future__ import annotations

import numpy as np
import torch
from scipy.cluster import hierarchy
from torch import Tensor

from autoal.strategies.base import Picks, Strategy
from autoal.strategies.pool_geometry import OncePerPool
from autoal.strategies.uncertainty import uncertainty_scores
from autoal.types import Context

MOST_ROWS = 4096  # in one hierarchy: its distances take 64 MiB
BLOCK = 256  # rows whose distances to all are computed together


class ClusterMargin(Strategy):
    """The 10 B samples of smallest margin, taken in turn from the clusters they lie in, smallest cluster first.

    The clusters are those of average linkage over the whole pool, cut where they hold ten samples on average.
    """

    name = "clustermargin"
    needs = ("logits", "embeddings")
    reference = "Citovsky et al. 2021"

    SHORTLIST = 10  # samples of small margin per pick
    MEAN_CLUSTER_SIZE = 10

    def __init__(self) -> None:
        self._clusters: OncePerPool[np.ndarray] = OncePerPool()

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is 1 - (p(1) - p(2)), which within a cluster does not decide: the turn is random."""
        embeddings = context.outputs.require("embeddings")
        clusters = self._clusters(embeddings, lambda: average_linkage_clusters(embeddings, self.MEAN_CLUSTER_SIZE))
        unlabeled = context.unlabeled
        margin = uncertainty_scores(context).margin.cpu().numpy()
        shortlist = unlabeled[np.argsort(-margin[unlabeled], kind="stable")[: self.SHORTLIST * size]]

        shortlist = context.generator(self.name).permutation(shortlist)
        found, cluster, population = np.unique(clusters[shortlist], return_inverse=True, return_counts=True)
        turn = np.empty(len(shortlist), np.int64)  # how many of its cluster come before a sample
        by_cluster = np.argsort(cluster, kind="stable")
        first = np.cumsum(population) - population
        turn[by_cluster] = np.arange(len(shortlist)) - first[cluster[by_cluster]]
        picks = np.lexsort((found[cluster], population[cluster], turn))[:size]
        columns = {"cluster": clusters[shortlist[picks]], "cluster_size": population[cluster[picks]]}
        return Picks(shortlist[picks], margin[shortlist[picks]], columns)


def average_linkage_clusters(embeddings: Tensor, mean_size: int) -> np.ndarray:
    """[N] int64 cluster numbers: average linkage of embeddings [N, D], cut so that there are N / mean_size clusters.

    A hierarchy holds all distances, so a large pool is divided first, again and again in halves along its principal
    direction, and the hierarchies of the parts are cut at one height.
    """
    points = embeddings.float().cpu()
    parts = _halved(points, np.arange(len(points)))
    trees = [hierarchy.linkage(_distances(points[part]), "average") if len(part) > 1 else None for part in parts]
    heights = np.sort(np.concatenate([tree[:, 2] for tree in trees if tree is not None] or [np.zeros(0)]))
    merges = min(len(points) - -(-len(points) // mean_size), len(heights))
    cut = heights[merges - 1] if merges else -1.0
    clusters = np.zeros(len(points), np.int64)
    seen = 0
    for part, tree in zip(parts, trees, strict=True):
        found = np.ones(1, int) if tree is None else hierarchy.fcluster(tree, cut, "distance")
        clusters[part] = found + seen
        seen += found.max()
    return clusters


def _halved(points: Tensor, rows: np.ndarray) -> list[np.ndarray]:
    """``rows`` of points [N, D] in parts of at most ``MOST_ROWS`` that lie together."""
    if len(rows) <= MOST_ROWS:
        return [rows]
    centered = points[rows] - points[rows].mean(dim=0)
    centered /= centered.abs().max().clamp_min(torch.finfo(centered.dtype).tiny)  # or squares might vanish or overflow
    direction = torch.linalg.eigh(centered.T @ centered).eigenvectors[:, -1]
    order = np.argsort((centered @ direction).numpy(), kind="stable")
    return [part for half in np.array_split(rows[order], 2) for part in _halved(points, np.sort(half))]


def _distances(points: Tensor) -> np.ndarray:
    """Distances of all pairs of points [n, D], above the diagonal row by row: [n (n - 1) / 2] float64."""
    rows = points.double()
    blocks = (torch.cdist(rows[i : i + BLOCK], rows[i:]).numpy() for i in range(0, len(rows), BLOCK))
    return np.concatenate([row[i + 1 :] for block in blocks for i, row in enumerate(block)])
