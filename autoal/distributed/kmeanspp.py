"""D^2 sampling over the ranks of a process group: the law of ``ops.kmeanspp`` on the pool as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from autoal import checks
from autoal.distributed import agreement
from autoal.distributed.arrivals import Sampler
from autoal.distributed.ranks import Ranks, Traffic
from autoal.distributed.shard import Shard, describe, shard_matrix
from autoal.ops import contract, reference


class KMeansPP(NamedTuple):
    """The answer of ``kmeanspp``, the same on all ranks.

    Attributes:
        indices: [k] int64 rows of the pool in pick order; numpy or torch, as the shard was.
        traffic: What it took between the ranks.
    """

    indices: Any
    traffic: Traffic


def kmeanspp(
    shard: Any,
    k: int,
    *,
    group: Any = None,
    first: int | None = None,
    seed: int = 0,
    timeout: float = 300.0,
    progress: Callable[[int], None] | None = None,
) -> KMeansPP:
    """D^2 sampling of a pool that lies in parts on the ranks of a group; all ranks call this together.

    Each pick is a row with probability proportional to its squared distance to the nearest pick so far. The same seed
    gives the same picks for any number of ranks; they are other draws than those of ``ops.kmeanspp``, of the same law.

    Args:
        shard: [n, D], as in ``kcenter_greedy``.
        k: Number of picks in all.
        group: As in ``kcenter_greedy``.
        first: The first pick, a global row; without it one drawn uniformly by ``seed``.
        seed: Fixes all draws.
        timeout: Seconds that this rank waits for the others at a time.
        progress: Called with the number of picks so far, on each rank that passes it.

    Returns:
        Indices and traffic, the same on all ranks.

    Raises:
        TypeError, ValueError: As ``ops.kmeanspp``, on all ranks where it is one's fault; if ranks ask for different
            things.
        RanksError: If a rank is not there within ``timeout``, or gone.

    Warns:
        DuplicatesWarning: If only copies of picks were left for the last picks.
    """
    ranks = Ranks.of(group, timeout)

    def find() -> tuple[agreement.Facts, agreement.Facts, Tensor]:
        x = shard_matrix(shard)
        alike, own = describe(x)
        alike["k"] = checks.as_count(k, "k")
        alike["seed"] = checks.as_count(seed, "seed", high=contract.MAX_SEED)
        alike["first"] = None if first is None else checks.as_count(first, "first")
        return alike, own, x

    own, x = agreement.agree(ranks, "kmeanspp", find)
    part = Shard.of(x, "l2", ranks, own)
    k = contract.check_k(k, part.total)
    if first is not None:
        first = checks.as_count(first, "first", high=part.total - 1, of="the rows of the pool")
    picks: list[int] = []
    if k:
        sampler = Sampler(
            part, ranks, int(reference.uniform(seed, 0) * part.total) if first is None else first, k, seed
        )
        sampler.run(progress)
        contract.warn_of_filling(torch.tensor([sampler.filled]), k)
        picks = sampler.picks
    return KMeansPP(contract.answer(torch.tensor(picks, dtype=torch.int64), shard), ranks.traffic)
