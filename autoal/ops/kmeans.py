"""k-means for large pools: k-means++ seeding and Lloyd's iterations on some of the rows, then every row its cluster."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract, with_faiss
from autoal.ops.exact import exact
from autoal.ops.rows import Rows, sampled

BLOCK = 256  # rows that are summed in float32


class KMeans(NamedTuple):
    """Clusters of rows; arrays are numpy or torch as the points were.

    Attributes:
        centroids: [K, D] float32, means of the rows that they were trained on.
        assignments: [N] int64, the cluster of the nearest centroid; -1 of rows that take no part.
        distances: [N] float32, Euclidean, to that centroid; inf of rows that take no part.
        inertia: Sum of the squared distances.
        iterations: How many were made.
        trained_on: How many rows the iterations saw.
        backend: "faiss" or "torch", who searched for the nearest centroids.
    """

    centroids: Any
    assignments: Any
    distances: Any
    inertia: float
    iterations: int
    trained_on: int
    backend: str


def kmeans(
    points: Any,
    n_clusters: int,
    *,
    iterations: int = 25,
    tolerance: float = 1e-3,
    max_points_per_centroid: int = 256,
    excluded: Any = None,
    seed: int = 0,
    backend: str = "auto",
    on_nonfinite: str = "raise",
) -> KMeans:
    """Lloyd's k-means from k-means++ seeds; the same seed gives the same clusters.

    An empty cluster moves to the row farthest from its centroid. Memory beside outputs: a float32 copy of the rows
    trained on (none of a float32 pool that all trains), and tiles.

    Args:
        points: [N, D] float, numpy (memory maps too: read once, and for the rows trained on) or torch.
        n_clusters: K, up to the number of rows that take part.
        iterations: At most so many.
        tolerance: Stops when an iteration lowers the inertia by no more than this share of it.
        max_points_per_centroid: Larger pools are trained on so many times K rows, drawn at random; all are assigned.
        excluded: [E] int64 rows that take no part.
        seed: Draws the rows trained on, and the seeds.
        backend: Who searches for nearest centroids; as in ``ops.knn``.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = they take no part.

    Raises:
        MissingExtraError: If FAISS is asked for and not installed.
        TypeError: If ``points`` are no floating point array, indices no integers, or ``tolerance`` is no number.
        ValueError: If shapes, indices or ``n_clusters`` do not fit, or rows are not finite.

    Warns:
        DuplicatesWarning: If clusters are empty in the end, mostly because there are fewer different rows.

    References:
        Lloyd 1982; Arthur & Vassilvitskii 2007.
    """
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    seed = checks.as_count(seed, "seed", high=contract.MAX_SEED)
    iterations = checks.as_count(iterations, "iterations")
    per_centroid = checks.as_count(max_points_per_centroid, "max_points_per_centroid", low=1)
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float, np.integer, np.floating)):
        raise TypeError(f"tolerance must be a number of at least 0, got {tolerance!r}")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0, got {tolerance}")
    x = contract.matrix(points, "points", "[N, D]")
    kept = contract.kept_rows(x, "points", on_nonfinite)
    out = contract.rows_beside(x, checks.as_indices(() if excluded is None else excluded, "excluded", len(x)))
    rows = Rows(x, _without(kept, out, len(x)))
    n_clusters = checks.as_count(n_clusters, "n_clusters", low=1, high=len(rows), of="the rows that take part")
    by_faiss = with_faiss.chosen(backend, x.device, 1)

    size = min(per_centroid * n_clusters, len(rows))
    training = rows if size == len(rows) else rows.take(sampled(len(rows), size, seed).to(x.device))
    centroids, assigned, distances, made = lloyd(training[:], n_clusters, seed, iterations, tolerance, by_faiss)
    if size < len(rows):
        assigned, distances = _assign(rows, centroids, by_faiss)
    inertia = _inertia(distances)
    if n_empty := len(_empty(assigned, n_clusters)):
        why = "points hold fewer different rows" if inertia == 0 else "more iterations would move them"
        warnings.warn(f"{n_empty} of {n_clusters} clusters are empty: {why}", contract.DuplicatesWarning, stacklevel=2)
    placed = (centroids, rows.spread(assigned, -1), rows.spread(distances, torch.inf))
    centroids, assigned, distances = (contract.answer(part, points) for part in placed)
    return KMeans(centroids, assigned, distances, inertia, made, size, "faiss" if by_faiss else "torch")


class Lloyd(NamedTuple):
    """Centroids [K, D], the nearest of each row [S] and the distance to it [S], and how many iterations were made."""

    centroids: Tensor
    assigned: Tensor
    distances: Tensor
    iterations: int


def lloyd(x: Tensor, n_clusters: int, seed: int, iterations: int, tolerance: float, by_faiss: bool) -> Lloyd:
    """Lloyd's iterations on rows x [S, D] from k-means++ seeds; see ``kmeans``."""
    rows = Rows(x)
    centroids = x[_seeds(x, n_clusters, seed)]
    assigned, distances = _assign(rows, centroids, by_faiss)
    inertia, made = _inertia(distances), 0
    while made < iterations:
        made += 1
        centroids = _means(x, assigned, distances, n_clusters)
        assigned, distances = _assign(rows, centroids, by_faiss)
        before, inertia = inertia, _inertia(distances)
        settled = inertia == 0 or not len(_empty(assigned, n_clusters))
        if settled and before - inertia <= tolerance * before:
            break
    return Lloyd(centroids, assigned, distances, made)


def _without(kept: Tensor | None, out: Tensor, n: int) -> Tensor | None:
    """The rows kept, less those that are out; None: all n."""
    if not len(out):
        return kept
    mask = torch.zeros(n, dtype=torch.bool, device=out.device)
    mask[slice(None) if kept is None else kept] = True
    mask[out] = False
    return mask.nonzero()[:, 0]


def _seeds(x: Tensor, n_clusters: int, seed: int) -> Tensor:
    return torch.ops.autoal.kmeanspp(x, -1, n_clusters, seed)[0]


def _assign(x: Rows, centroids: Tensor, by_faiss: bool) -> tuple[Tensor, Tensor]:
    """The nearest centroid of each row and the distance to it, both [N]."""
    distances, indices = exact(x, Rows(centroids), 1, "l2", by_faiss=by_faiss)
    return indices[:, 0], distances[:, 0]


def _means(x: Tensor, assigned: Tensor, distances: Tensor, n_clusters: int) -> Tensor:
    """[K, D]: of each cluster's rows the mean, summed in the order of rows; of an empty one a row far from its own."""
    counts = assigned.bincount(minlength=n_clusters)
    order = assigned.argsort(stable=True)
    # In float32 a long sum loses its rows: at most BLOCK of them at a time, whose sums are summed in float64.
    starts = counts.cumsum(0) - counts
    blocks = (counts + BLOCK - 1) // BLOCK
    block_of = torch.arange(n_clusters, device=x.device).repeat_interleave(blocks)
    number = torch.arange(len(block_of), device=x.device) - (blocks.cumsum(0) - blocks)[block_of]
    parts = torch.nn.functional.embedding_bag(order, x, starts[block_of] + number * BLOCK, mode="sum")
    sums = torch.zeros((n_clusters, x.shape[1]), dtype=torch.float64, device=x.device).index_add_(
        0, block_of, parts.double()
    )
    means = (sums / counts.clamp_min(1)[:, None]).float()
    if len(empty := (counts == 0).nonzero()[:, 0]):
        means[empty] = x[distances.sort(descending=True, stable=True).indices[: len(empty)]]
    return means


def _empty(assigned: Tensor, n_clusters: int) -> Tensor:
    return (assigned.bincount(minlength=n_clusters) == 0).nonzero()[:, 0]


def _inertia(distances: Tensor) -> float:
    return float(distances.double().square().sum())
