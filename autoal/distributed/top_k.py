"""The highest of scores that lie in parts on the ranks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.distributed import agreement
from autoal.distributed.ranks import Ranks, Traffic
from autoal.ops import contract


class TopK(NamedTuple):
    """The answer of ``top_k``, the same on all ranks; arrays are numpy or torch as the scores were.

    Attributes:
        indices: [k] int64 rows of the pool, the highest score first, ties by lowest row.
        scores: [k] float32.
        traffic: What it took between the ranks.
    """

    indices: Any
    scores: Any
    traffic: Traffic


def top_k(scores_shard: Any, k: int, *, group: Any = None, timeout: float = 300.0) -> TopK:
    """The ``k`` highest scores of a pool that lies in parts on the ranks of a group; all ranks call this together.

    Args:
        scores_shard: [n] float scores of this rank's rows, on any device; may be empty. -inf is a score like any other.
        k: Number of rows in all.
        group: As in ``kcenter_greedy``.
        timeout: Seconds that this rank waits for the others at a time.

    Returns:
        Indices, scores and traffic: two collectives, one that all agree by and one of k keys per rank.

    Raises:
        TypeError, ValueError: If scores are no [n] floats or NaN, ``k`` is more than there are, or ranks differ.
        RanksError: If a rank is not there within ``timeout``, or gone.
    """
    ranks = Ranks.of(group, timeout)

    def find() -> tuple[agreement.Facts, agreement.Facts, Tensor]:
        scores = checks.as_floats(scores_shard, "scores_shard", "[N]")
        missing = torch.isnan(scores).nonzero()[:, 0].tolist()
        return {"k": checks.as_count(k, "k")}, {"rows": len(scores), "missing": missing}, scores.float().cpu()

    own, kept = agreement.agree(ranks, "top_k", find)
    starts = np.cumsum([0, *(each["rows"] for each in own)])
    missing = [int(start) + row for start, each in zip(starts, own, strict=False) for row in each["missing"]]
    if missing:
        raise ValueError(
            f"scores_shard holds NaN in {checks.name_rows(missing)} of the pool: repair them on their rank"
        )
    k = contract.check_k(k, int(starts[-1]))

    scores = kept.numpy()
    best = highest(scores, k)
    told = np.empty(len(best), np.dtype([("score", np.float32), ("id", np.int64)]))
    told["score"], told["id"] = scores[best], best + starts[ranks.rank]
    every = ranks.gather_records(told, k, "the top scores")  # by rank, hence by row where scores are equal
    every = every[highest(every["score"], k)]
    indices, values = (torch.from_numpy(np.ascontiguousarray(every[name])) for name in ("id", "score"))
    return TopK(contract.answer(indices, scores_shard), contract.answer(values, scores_shard), ranks.traffic)


def highest(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k highest scores, or of all: the highest first, ties by lowest position."""
    places = np.arange(len(scores))
    if 0 < k < len(scores):
        places = np.flatnonzero(scores >= np.partition(scores, len(scores) - k)[len(scores) - k])
    return places[np.argsort(-scores[places], kind="stable")][:k]
