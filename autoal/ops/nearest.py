"""The k nearest of all rows by float32 products, tile by tile in bounded memory, ours or FAISS's; `exact.py` proves."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.ops import with_faiss
from autoal.ops.rows import Rows, origin, prepared, unit

# Tiles of our products: 4 M distances (16 MB) whatever Q and N are; more fall out of the cache.
TILE_QUERIES = 512
TILE_ROWS = 8192
# FAISS has tiles of its own in these, which only bound the copies that it is given.
FAISS_QUERIES = 8192
FAISS_NUMBERS = 1 << 22  # of the database, 16 MB


def nearest(q: Rows, x: Rows, k: int, metric: str, *, by_faiss: bool) -> Tensor:
    """Positions [Q, k] in x of the nearest rows, within the rounding of products."""
    return scan(q, x, k, metric, origin(x, metric), by_faiss=by_faiss)[1]


def scan(q: Rows, x: Rows, k: int, metric: str, shift: Tensor, *, by_faiss: bool) -> tuple[Tensor, Tensor]:
    """What orders the k nearest [Q, k], ascending, and their positions in x; k is at most the number of rows.

    That is |q - x|^2 (l2), else the inner product of prepared rows times -1; of the same ``shift`` it can be compared.
    Tiles of x are outside, so that a memory map is read once; the best so far are kept for all queries.
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
    k = best.shape[1]
    best, order = torch.cat([best, values], 1).sort(dim=1, stable=True)
    best, order = best[:, :k], order[:, :k]
    return best, torch.cat([indices, others], 1).gather(1, order)


def in_order(q: Rows, x: Rows, indices: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Distances [Q, k] of the rows found, computed directly (copies get 0), and both in (distance, index) order."""
    distances = torch.empty(indices.shape, dtype=torch.float32, device=x.device)
    step = max(1, TILE_QUERIES * TILE_ROWS // max(1, indices.shape[1] * x.width))
    for start in range(0, len(q), step):
        here = slice(start, start + step)
        distances[here] = told(x[indices[here]], q[here][:, None, :], metric)  # of [P, k, D]
    if indices.shape[1] == 1:
        return distances, indices
    indices, order = indices.sort(dim=1)
    distances = distances.gather(1, order)
    order = distances.argsort(dim=1, stable=True, descending=metric == "ip")
    return distances.gather(1, order), indices.gather(1, order)


def told(x: Tensor, q: Tensor, metric: str) -> Tensor:
    """The distances between rows x and q [..., D] that are told, of differences where the metric has them."""
    if metric == "ip":
        return (x * q).sum(-1)
    if metric == "l2":
        return (x - q).square_().sum(-1).sqrt_()
    x, q = unit(x), unit(q)
    # 1 - cos = |x - q|^2 / 2 keeps its digits where it is small.
    half = (x - q).square_().sum(-1).div_(2)
    return half.masked_fill_(~(x.any(-1) & q.any(-1)), 1)


def _smallest(q: Tensor, x: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """As ``with_faiss.smallest``."""
    # |x|^2 - 2 <q, x> orders as |q - x|^2 does.
    offset, factor = (x.square().sum(1), -2) if metric == "l2" else (x.new_zeros(len(x)), -1)
    far = torch.addmm(offset, q, x.T, alpha=factor)  # [P, R]
    # min is much faster than topk
    values, positions = far.min(1, keepdim=True) if k == 1 else far.topk(k, dim=1, largest=False)
    return values + q.square().sum(1, keepdim=True) if metric == "l2" else values, positions
