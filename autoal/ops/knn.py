"""The k nearest rows, exactly or by an inverted file that tells its recall; by FAISS where it is installed."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract, with_faiss
from autoal.ops.exact import exact
from autoal.ops.inverted_file import InvertedFile
from autoal.ops.nearest import in_order
from autoal.ops.rows import Rows, sampled

METRICS = ("l2", "cosine", "ip")
SAMPLE = 256  # queries searched exactly too, so that an approximate answer can tell its recall

# With fewer rows or queries, or more of the lists to look into, exact search is done before an inverted file is.
WORTH_ROWS, WORTH_QUERIES, WORTH_SHARE = 20_000, 4_000, 1 / 4


class _Neighbors(NamedTuple):
    distances: Any
    indices: Any


class KNN(_Neighbors):
    """The k nearest rows of each query, nearest first: ``distances, indices``, and beside the pair how they were found.

    Attributes:
        distances: [Q, k] float32. l2: Euclidean; cosine: 1 - cos; ip: the inner product, largest first. Numpy or torch
            as the queries were.
        indices: [Q, k] int64 rows of the database.
        recall: Share of the k nearest that were found: 1.0 of an exact search, else measured on 256 of the queries (on
            all, if there are fewer) by searching them exactly too. A row as near as the k-th counts as found.
        nprobe: How many lists of the inverted file were searched; None: the search was exact.
        backend: "faiss" or "torch", who searched.
    """

    recall: float
    nprobe: int | None
    backend: str

    def __new__(cls, distances: Any, indices: Any, recall: float, nprobe: int | None, backend: str) -> KNN:
        """A pair with attributes, so that it unpacks to two."""
        pair = super().__new__(cls, distances, indices)
        pair.recall, pair.nprobe, pair.backend = recall, nprobe, backend
        return pair

    def __getnewargs__(self) -> tuple[Any, ...]:
        """What a copy is made of."""
        return (*self, self.recall, self.nprobe, self.backend)


def knn(
    queries: Any,
    database: Any,
    k: int,
    *,
    metric: str = "l2",
    backend: str = "auto",
    nprobe: int | None = None,
    recall: float | None = None,
    on_nonfinite: str = "raise",
) -> KNN:
    """The k rows of the database nearest to each query; exact, unless ``nprobe`` or ``recall`` is given.

    Args:
        queries: [Q, D] float, numpy (memory maps too) or torch.
        database: [N, D] float on the same device.
        k: Number of neighbors. A query that is in the database is its own neighbor.
        metric: "l2", "cosine" (a row of zeros is at distance 1 from all), or "ip" (inner product).
        backend: "exact": our own products over all rows. "faiss": tiles are searched by FAISS, on the device of the
            arrays (on CUDA by its GPU build). "auto": by FAISS for CPU arrays if it is installed
            (``ops.backends()["faiss"]["live"]``), else by our own products. Who searches changes no answer: rows are
            compared by the distances that are told, ties go to the lowest index, and products only rule rows out.
        nprobe: Each query looks into that many of about sqrt(N) lists of rows (an inverted file, IVF): approximate,
            with the recall told. Distances are those of the rows found.
        recall: In (0, 1), instead of ``nprobe``: the smallest nprobe, in powers of two, that reaches this on a sample
            of the queries; what the answer tells is measured on others. Where exact search is cheaper (fewer than 4,000
            queries or 20,000 rows, or more than a quarter of the lists), that is done.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = they are nobody's neighbors, and as queries have none:
            index -1, at distance inf (ip: -inf).

    Returns:
        ``distances, indices``, which also has the attributes ``recall``, ``nprobe`` and ``backend``.

    Raises:
        MissingExtraError: If FAISS is asked for and not installed.
        TypeError: If an input is no floating point array.
        ValueError: If shapes or devices differ, ``k`` exceeds N, rows are not finite, or options do not go together.

    References:
        Johnson, Douze & Jegou 2019 (FAISS); Sivic & Zisserman 2003 (inverted files).
    """
    checks.check_choice(metric, "metric", METRICS)
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    q, x = contract.matrix(queries, "queries", "[Q, D]"), contract.matrix(database, "database", "[N, D]")
    if q.shape[1] != x.shape[1]:
        raise ValueError(f"queries and database must have rows of one length, got {q.shape[1]} and {x.shape[1]}")
    if q.device != x.device:
        raise ValueError(f"queries and database must be on one device, got {q.device} and {x.device}")
    nprobe, recall = check_effort(backend, nprobe, recall)
    rows = Rows(x, contract.kept_rows(x, "database", on_nonfinite))
    asking = rows if queries is database else Rows(q, contract.kept_rows(q, "queries", on_nonfinite))
    k = checks.as_count(k, "k", high=len(rows), of="the rows of the database")
    found = search(asking, rows, k, metric, backend, nprobe, recall)
    distances = asking.spread(found.distances, -torch.inf if metric == "ip" else torch.inf)
    indices = asking.spread(rows.numbers(found.indices), -1)
    distances, indices = (contract.answer(part, queries) for part in (distances, indices))
    return KNN(distances, indices, found.recall, found.nprobe, found.backend)


def search(
    q: Rows, x: Rows, k: int, metric: str, backend: str, nprobe: int | None = None, recall: float | None = None
) -> KNN:
    """What ``knn`` does once its arguments are checked; indices are positions in x."""
    by_faiss = with_faiss.chosen(backend, x.device, k)
    who = "faiss" if by_faiss else "torch"
    if backend != "exact" and k and len(q):
        worth = recall is not None and len(q) >= WORTH_QUERIES and len(x) >= WORTH_ROWS
        if nprobe is not None or worth:
            found = _approximate(q, x, k, metric, nprobe, recall, by_faiss)
            if found is not None:
                return KNN(*found, who)
    distances, indices = exact(q, x, k, metric, by_faiss=by_faiss)
    return KNN(distances, indices, 1.0, None, who)


def check_effort(backend: str, nprobe: Any, recall: Any) -> tuple[int | None, float | None]:
    """``nprobe`` as a count, ``recall`` as a share, at most one of them given."""
    if backend == "exact" and nprobe is not None:
        raise ValueError("nprobe looks into some lists, backend='exact' at all rows: leave out one of them")
    if recall is None:
        return (None if nprobe is None else checks.as_count(nprobe, "nprobe", low=1)), None
    if nprobe is not None:
        raise ValueError("give recall or nprobe, not both: recall chooses nprobe")
    if isinstance(recall, bool) or not isinstance(recall, (int, float, np.integer, np.floating)):
        raise TypeError(f"recall must be a number between 0 and 1, got {recall!r}")
    if not 0 < recall < 1:
        raise ValueError(f"recall must lie between 0 and 1, got {recall}: leave it out for an exact search")
    return None, float(recall)


def _approximate(
    q: Rows, x: Rows, k: int, metric: str, nprobe: int | None, target: float | None, by_faiss: bool
) -> tuple[Tensor, Tensor, float, int] | None:
    """Distances and indices of what an inverted file finds, its recall and nprobe; None where exact search is cheaper.

    With a target, half of the sample chooses nprobe and the other half tells: what was chosen by looks too good.
    """

    def exactly(queries: Rows) -> Tensor:
        return exact(queries, x, k, metric, by_faiss=by_faiss)[0]

    index = InvertedFile(x, metric, by_faiss=by_faiss)
    held = sampled(len(q), SAMPLE if target is None else 2 * SAMPLE, seed=0).to(q.device)
    if target is not None:
        choosing, held = q.take(held[::2]), held[1::2]
        truth, nprobe = exactly(choosing), 1
        while _recall(in_order(choosing, x, index.search(choosing, k, nprobe), metric)[0], truth, metric) < target:
            nprobe *= 2
            if nprobe > WORTH_SHARE * index.lists:
                return None
    nprobe = min(nprobe or 1, index.lists)
    distances, indices = in_order(q, x, index.search(q, k, nprobe), metric)
    return distances, indices, _recall(distances[held], exactly(q.take(held)), metric), nprobe


def _recall(found: Tensor, truth: Tensor, metric: str) -> float:
    """Share of ``found`` [Q, k] that is as near as the k-th of ``truth`` [Q, k]: of ties, any will do."""
    last = truth[:, -1:]
    return float((found >= last if metric == "ip" else found <= last).double().mean())
