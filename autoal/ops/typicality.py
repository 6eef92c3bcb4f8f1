"""How densely a pool lies around each row: one over the mean distance to its nearest others."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from autoal import checks
from autoal.ops import contract
from autoal.ops.knn import check_effort, search
from autoal.ops.rows import Rows


class Typicality(NamedTuple):
    """Density around each row.

    Attributes:
        scores: [N] float32, higher = denser; numpy or torch as the points were.
        recall: Share of the nearest others that were found; 1.0 of an exact search.
    """

    scores: Any
    recall: float


def typicality(
    points: Any,
    k: int = 20,
    *,
    metric: str = "l2",
    backend: str = "auto",
    nprobe: int | None = None,
    recall: float | None = None,
    on_nonfinite: str = "raise",
) -> Typicality:
    """1 / (mean distance of each row to its k nearest other rows); inf where these are all copies of it.

    Neighbors that an approximate search misses are replaced by farther ones, so that scores are never too high.

    Args:
        points: [N, D] float, numpy (memory maps too) or torch. All pairs are compared, unless ``recall`` or ``nprobe``
            is given; memory is 12 (k + 1) bytes a row, and twice that for a moment.
        k: Number of neighbors, from 1 to N - 1.
        metric: "l2" or "cosine".
        backend: As in ``ops.knn``.
        nprobe: As in ``ops.knn``.
        recall: As in ``ops.knn``; there a row counts as its own neighbor, here it does not.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = go on as if they were not there; they score -inf.

    Raises:
        MissingExtraError: If FAISS is asked for and not installed.
        TypeError: If ``points`` are no floating point array.
        ValueError: If ``k`` does not fit the pool, rows are not finite, or options do not go together.

    References:
        Hacohen, Dekel & Weinshall 2022 (TypiClust).
    """
    checks.check_choice(metric, "metric", ("l2", "cosine"))
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    nprobe, recall = check_effort(backend, nprobe, recall)
    x = contract.matrix(points, "points", "[N, D]")
    rows = Rows(x, contract.kept_rows(x, "points", on_nonfinite))
    if len(rows) < 2:
        raise ValueError(f"points must hold at least two rows that take part, got {len(rows)}: density is of others")
    k = checks.as_count(k, "k", low=1, high=len(rows) - 1, of="the other rows of points")
    found = search(rows, rows, k + 1, metric, backend, nprobe, recall)
    own = found.indices == torch.arange(len(rows), device=x.device)[:, None]
    own[:, -1] |= ~own.any(1)  # a row with many copies need not find itself: it drops its last neighbor
    scores = 1 / found.distances[~own].view(len(rows), k).mean(1)
    others = (found.recall * (k + 1) - 1) / k
    return Typicality(contract.answer(rows.spread(scores, -torch.inf), points), others)
