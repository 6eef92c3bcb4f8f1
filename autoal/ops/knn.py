"""The k nearest rows: FAISS where it is installed, else matrix products in bounded memory, on CPU or CUDA."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract

METRICS = ("l2", "cosine", "ip")
BACKENDS = ("auto", "faiss", "exact")

# Tiles of the exact search: 4 M distances (16 MB) whatever Q and N are; more fall out of the cache.
TILE_QUERIES = 512
TILE_ROWS = 8192
SHIFT_ROWS = 255
TRAIN_PER_LIST = 64  # rows per IVF list that its k-means sees


class KNN(NamedTuple):
    """The k nearest rows of each query, nearest first; numpy or torch as the queries were.

    Attributes:
        distances: [Q, k] float32. l2: Euclidean; cosine: 1 - cos; ip: the inner product, largest first.
        indices: [Q, k] int64 rows of the database.
    """

    distances: Any
    indices: Any


def knn(
    queries: Any, database: Any, k: int, *, metric: str = "l2", backend: str = "auto", nprobe: int | None = None
) -> KNN:
    """The k rows of the database nearest to each query.

    Args:
        queries: [Q, D] float, numpy or torch.
        database: [N, D] float on the same device.
        k: Number of neighbors. A query that is in the database is its own neighbor.
        metric: "l2", "cosine" (a row of zeros is at distance 1 from all), or "ip" (inner product).
        backend: "exact": our own tiled search, ties to the lowest index (within the rounding of float32; with TF32
            switched on in torch, of TF32). "faiss": FAISS on the CPU. "auto": exact for CUDA tensors; for CPU tensors
            FAISS if it is installed (``ops.backends()["faiss"]["live"]``), else exact.
        nprobe: None searches all rows. A number searches that many lists of a FAISS IVF index: approximate, faster from
            some 100,000 rows on. Distances are exact in any case.

    Raises:
        MissingExtraError: If FAISS is asked for (by name or by ``nprobe``) and not installed.
        TypeError: If an input is no floating point array.
        ValueError: If shapes or devices differ, ``k`` exceeds N, NaN or Inf occur, or options do not go together.
    """
    checks.check_choice(metric, "metric", METRICS)
    checks.check_choice(backend, "backend", BACKENDS)
    q, x = contract.matrix(queries, "queries", "[Q, D]"), contract.matrix(database, "database", "[N, D]")
    if q.shape[1] != x.shape[1]:
        raise ValueError(f"queries and database must have rows of one length, got {q.shape[1]} and {x.shape[1]}")
    if q.device != x.device:
        raise ValueError(f"queries and database must be on one device, got {q.device} and {x.device}")
    k = checks.as_count(k, "k", high=len(x), of="the rows of the database")
    contract.kept_rows(q, "queries", "raise")
    contract.kept_rows(x, "database", "raise")
    if nprobe is not None:
        nprobe = checks.as_count(nprobe, "nprobe", low=1)
    exact = _choose(backend, x, nprobe) == "exact"
    indices = _exact(q, x, k, metric) if exact else _faiss(q, x, k, metric, nprobe)
    distances, indices = _in_order(q, x, indices, metric)
    return KNN(contract.answer(distances, queries), contract.answer(indices, queries))


def _choose(backend: str, x: Tensor, nprobe: int | None) -> str:
    on_cpu = x.device.type == "cpu"
    if backend == "faiss" and not on_cpu:
        raise ValueError(f"backend='faiss' searches on the CPU, got tensors on {x.device}: pass backend='exact'")
    if nprobe is not None and (backend == "exact" or not on_cpu):
        raise ValueError("nprobe needs FAISS on the CPU: leave it out, or pass CPU arrays and backend='faiss'")
    if backend == "auto" and nprobe is None:
        return "faiss" if on_cpu and import_faiss() is not None else "exact"
    if backend != "exact" and import_faiss() is None:
        raise checks.MissingExtraError("faiss", "cpu", "ops.knn with backend='faiss' or nprobe")
    return backend


def import_faiss() -> Any:
    """The module, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def _exact(q: Tensor, x: Tensor, k: int, metric: str) -> Tensor:
    """Tiles of the database outside, so that a memory map is read once; the best so far are kept for all queries."""
    # |q - x| is the same for q and x moved by one vector; near the origin the product form loses fewer digits. The
    # median, not the mean: it is made of the data's own numbers, so that integers stay integers and ties stay ties.
    shift = x[:SHIFT_ROWS].float().median(0).values if metric == "l2" else torch.zeros(x.shape[1], device=x.device)
    best = torch.full((len(q), k), torch.inf, device=x.device)  # [Q, k] ascending
    indices = torch.zeros((len(q), k), dtype=torch.int64, device=x.device)
    for start in range(0, len(x) if k else 0, TILE_ROWS):
        rows = _prepared(x[start : start + TILE_ROWS], shift, metric)  # [R, D]
        # |x|^2 - 2 <q, x> orders as |q - x|^2 does.
        offset, factor = (rows.square().sum(1), -2) if metric == "l2" else (rows.new_zeros(len(rows)), -1)
        for tile in range(0, len(q), TILE_QUERIES):
            here = slice(tile, tile + TILE_QUERIES)
            far = torch.addmm(offset, _prepared(q[here], shift, metric), rows.T, alpha=factor)  # [P, R]
            values, positions = _smallest(far, min(k, len(rows)))
            # A stable sort keeps ties in the order of rows: the best so far are of lower rows.
            best[here], order = _sorted(torch.cat([best[here], values], 1), k)
            indices[here] = torch.cat([indices[here], positions + start], 1).gather(1, order)
    return indices


def _smallest(far: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k smallest of each row of far [P, R] and their positions, by (value, position): what topk leaves open."""
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


def _prepared(rows: Tensor, shift: Tensor, metric: str) -> Tensor:
    rows = rows.float()
    return torch.nn.functional.normalize(rows, dim=1) if metric == "cosine" else rows - shift


def _faiss(q: Tensor, x: Tensor, k: int, metric: str, nprobe: int | None) -> Tensor:
    faiss = import_faiss()
    zero = torch.zeros(())
    part, rows = (_prepared(y, zero, metric).numpy() for y in (q, x))
    if not len(part) or not k:
        return torch.empty(len(part), k, dtype=torch.int64)
    kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if nprobe is None:
        return torch.from_numpy(faiss.knn(part, rows, k, metric=kind)[1])
    lists = max(1, min(int(len(rows) ** 0.5), len(rows) // 39))
    quantizer = faiss.IndexFlat(rows.shape[1], kind)
    index = faiss.IndexIVFFlat(quantizer, rows.shape[1], lists, kind)
    index.cp.max_points_per_centroid = TRAIN_PER_LIST
    index.train(rows)
    index.add(rows)
    index.nprobe = min(nprobe, lists)
    found = index.search(part, k)[1]
    while len(short := np.flatnonzero((found < 0).any(1))):  # fewer than k rows in the lists: look into more
        index.nprobe = min(2 * index.nprobe, lists)
        found[short] = index.search(part[short], k)[1]
    return torch.from_numpy(found)


def _in_order(q: Tensor, x: Tensor, indices: Tensor, metric: str) -> tuple[Tensor, Tensor]:
    """Distances [Q, k] of the rows found, computed directly (copies get 0), and both in (distance, index) order."""
    distances = torch.empty(indices.shape, dtype=torch.float32, device=x.device)
    step = max(1, TILE_QUERIES * TILE_ROWS // max(1, indices.shape[1] * x.shape[1]))
    for start in range(0, len(q), step):
        rows = x[indices[start : start + step]].float()  # [P, k, D]
        part = q[start : start + step].float()[:, None, :]
        if metric == "l2":
            exact = (rows - part).square_().sum(2).sqrt_()
        elif metric == "ip":
            exact = (rows * part).sum(2)
        else:
            normalize = torch.nn.functional.normalize
            exact = (1 - (normalize(rows, dim=2) * normalize(part, dim=2)).sum(2)).clamp_min_(0)
        distances[start : start + step] = exact
    indices, order = indices.sort(dim=1)
    distances = distances.gather(1, order)
    order = distances.argsort(dim=1, stable=True, descending=metric == "ip")
    return distances.gather(1, order), indices.gather(1, order)
