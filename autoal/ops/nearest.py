"""Exact search: the k nearest of all rows, tile by tile in bounded memory, by matrix products or by FAISS."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.ops import with_faiss
from autoal.ops.rows import Rows, origin, prepared

# Tiles of our products: 4 M distances (16 MB) whatever Q and N are; more fall out of the cache.
TILE_QUERIES = 512
TILE_ROWS = 8192
# FAISS has tiles of its own in these, which only bound the copies that it is given.
FAISS_QUERIES = 8192
FAISS_NUMBERS = 1 << 22  # of the database, 16 MB


def nearest(q: Rows, x: Rows, k: int, metric: str, *, by_faiss: bool) -> Tensor:
    """Positions [Q, k] in x of the nearest rows; ties to the lowest (our products)."""
    return scan(q, x, k, metric, origin(x, metric), by_faiss=by_faiss)[1]


def scan(q: Rows, x: Rows, k: int, metric: str, shift: Tensor, *, by_faiss: bool) -> tuple[Tensor, Tensor]:
    """What orders the k nearest [Q, k], ascending, and their positions in x; k is at most the number of rows.

    Numbers of the same ``shift`` can be compared. Tiles of x are outside, so that a memory map is read once; the best
    so far are kept for all queries.
    """
    smallest, tile_rows, tile_queries = (
        (with_faiss.smallest, max(1, FAISS_NUMBERS // x.width), FAISS_QUERIES)
        if by_faiss
        else (_smallest, TILE_ROWS, TILE_QUERIES)
    )
    best = torch.full((len(q), k), torch.inf, device=x.device)  # [Q, k] ascending
    indices = torch.zeros((len(q), k), dtype=torch.int64, device=x.device)
    for start in range(0, len(x) if k else 0, tile_rows):
        rows = prepared(x[start : start + tile_rows], shift, metric)  # [R, D]
        for tile in range(0, len(q), tile_queries):
            here = slice(tile, tile + tile_queries)
            values, positions = smallest(prepared(q[here], shift, metric), rows, min(k, len(rows)), metric)
            if start == 0:
                best[here, : values.shape[1]], indices[here, : values.shape[1]] = values, positions
            else:  # the best so far come first: they are of lower rows
                best[here], indices[here] = merged(best[here], indices[here], values, positions + start)
    return best, indices


def merged(best: Tensor, indices: Tensor, values: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """The k smallest of ``best`` [P, k] and ``values`` [P, m], ascending, and their numbers; of ties the first."""
    best, order = _sorted(torch.cat([best, values], 1), best.shape[1])
    return best, torch.cat([indices, others], 1).gather(1, order)


def in_order(q: Rows, x: Rows, indices: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Distances [Q, k] of the rows found, computed directly (copies get 0), and both in (distance, index) order."""
    distances = torch.empty(indices.shape, dtype=torch.float32, device=x.device)
    step = max(1, TILE_QUERIES * TILE_ROWS // max(1, indices.shape[1] * x.width))
    for start in range(0, len(q), step):
        rows = x[indices[start : start + step]]  # [P, k, D]
        part = q[start : start + step][:, None, :]
        if metric == "l2":
            exact = (rows - part).square_().sum(2).sqrt_()
        elif metric == "ip":
            exact = (rows * part).sum(2)
        else:
            normalize = torch.nn.functional.normalize
            exact = (1 - (normalize(rows, dim=2) * normalize(part, dim=2)).sum(2)).clamp_min_(0)
        distances[start : start + step] = exact
    if indices.shape[1] == 1:
        return distances, indices
    indices, order = indices.sort(dim=1)
    distances = distances.gather(1, order)
    order = distances.argsort(dim=1, stable=True, descending=metric == "ip")
    return distances.gather(1, order), indices.gather(1, order)


def _smallest(q: Tensor, x: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """As ``with_faiss.smallest``, by (value, position), which topk leaves open."""
    # |x|^2 - 2 <q, x> orders as |q - x|^2 does.
    offset, factor = (x.square().sum(1), -2) if metric == "l2" else (x.new_zeros(len(x)), -1)
    far = torch.addmm(offset, q, x.T, alpha=factor)  # [P, R]
    if k == 1:
        return far.min(1, keepdim=True)  # the first of ties, and much faster than topk
    values, positions = far.topk(min(k + 1, far.shape[1]), dim=1, largest=False)
    if far.shape[1] > k:
        tied = values[:, k - 1] == values[:, k]  # topk took any of the ties
        values, positions = values[:, :k], positions[:, :k]
        if bool(tied.any()):
            values[tied], positions[tied] = _sorted(far[tied], k)
    positions, order = positions.sort(dim=1)
    values, order = _sorted(values.gather(1, order), k)
    return values, positions.gather(1, order)


def _sorted(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row, ascending, ties by position, and their positions."""
    values, positions = values.sort(dim=1, stable=True)
    return values[:, :k], positions[:, :k]
