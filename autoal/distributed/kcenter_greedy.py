"""k-center greedy over the ranks of a process group: the picks of ``ops.kcenter_greedy`` on the pool as a whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.distributed import agreement
from autoal.distributed.checkpoint import Checkpoint
from autoal.distributed.fingerprint import digest
from autoal.distributed.ranks import Ranks, Traffic
from autoal.distributed.shard import Shard, describe, shard_matrix
from autoal.distributed.traversal import Traversal
from autoal.ops import contract, reference

NO_LIMIT = 2**62  # of pool indices, until the number of rows is known


class KCenter(NamedTuple):
    """The answer of ``kcenter_greedy``, the same on all ranks.

    Attributes:
        indices: [k] int64 rows of the pool in pick order; numpy or torch, as the shard was.
        radius: [k] float32: the largest distance of any row of the pool to its nearest center after each pick.
        traffic: What it took between the ranks.
    """

    indices: Any
    radius: Any
    traffic: Traffic


def kcenter_greedy(
    shard: Any,
    k: int,
    *,
    group: Any = None,
    labeled: Any = None,
    first: int | None = None,
    metric: str = "l2",
    seed: int = 0,
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 30.0,
    timeout: float = 300.0,
    progress: Callable[[int], None] | None = None,
) -> KCenter:
    """Farthest-first traversal of a pool that lies in parts on the ranks of a group; all ranks call this together.

    The pool is the shards one after the other: global row = rows of the lower ranks + row of the shard. The answer is
    that of ``ops.kcenter_greedy`` on the pool, to the last bit, for any number of ranks.

    Args:
        shard: [n, D] float of this rank, numpy (memory maps too) or torch in the host's memory. Shards may differ in
            length and be empty ([0, D]), not in D and dtype.
        k: Number of picks in all.
        group: A ``torch.distributed`` group (gloo or NCCL); without it the default one, or this process alone if there
            is none. This function starts no process.
        labeled: [L] int64 global rows that are centers already, the same on all ranks; they are never picked.
        first: The first pick, a global row. Without it: the row farthest from ``labeled``, or one drawn by ``seed``.
        metric: "l2" or "cosine", as in ``ops.kcenter_greedy``.
        seed: Draws the first pick where nothing else fixes it.
        checkpoint: A file that the lowest rank writes while picks are made, and that a call with the same pool and
            arguments goes on from, with any number of ranks and any ``k``. It stays when all picks are made.
        checkpoint_seconds: How far apart it is written at least.
        timeout: Seconds that this rank waits for the others at a time. Larger than the time for a pass over the largest
            shard, by which ranks may be apart.
        progress: Called with the number of picks so far, on each rank that passes it.

    Returns:
        Indices, radius and traffic, the same on all ranks.

    Raises:
        TypeError, ValueError: As ``ops.kcenter_greedy``, on all ranks where it is one's fault; if ranks ask for
            different things; if the checkpoint is another selection's, naming what differs.
        RanksError: If a rank is not there within ``timeout``, or gone.

    Warns:
        DuplicatesWarning: If only copies of centers were left for the last picks.
    """
    ranks = Ranks.of(group, timeout)

    def find() -> tuple[agreement.Facts, agreement.Facts, Tensor]:
        checks.check_choice(metric, "metric", ("l2", "cosine"))
        x = shard_matrix(shard)
        alike, own = describe(x)
        alike["k"] = checks.as_count(k, "k")
        alike["metric"] = metric
        alike["seed"] = checks.as_count(seed, "seed", high=contract.MAX_SEED)
        alike["first"] = None if first is None else checks.as_count(first, "first")
        alike["labeled"] = digest(np.sort(checks.as_indices(() if labeled is None else labeled, "labeled", NO_LIMIT)))
        if isinstance(checkpoint_seconds, bool) or not isinstance(checkpoint_seconds, (int, float)):
            raise TypeError(f"checkpoint_seconds must be a number of seconds, got {checkpoint_seconds!r}")
        if not checkpoint_seconds >= 0:
            raise ValueError(f"checkpoint_seconds must be at least 0; got {checkpoint_seconds}")
        alike["checkpoint (given or not)"] = checkpoint is not None
        return alike, own, x

    own, x = agreement.agree(ranks, "kcenter_greedy", find)
    part = Shard.of(x, metric, ranks, own)
    centers = np.sort(checks.as_indices(() if labeled is None else labeled, "labeled", part.total))
    if first is not None:
        first = checks.as_count(first, "first", high=part.total - 1, of="the rows of the pool")
        if first in centers:
            raise ValueError(f"first must be a row that is not labeled; row {first} is")
    k = contract.check_k(k, part.total - len(centers))

    store = None
    if checkpoint is not None:
        drawn = first is None and not len(centers)
        arguments = {"metric": metric, "labeled": digest(centers), "first": first, "seed": seed if drawn else None}
        store = Checkpoint(Path(checkpoint), "kcenter_greedy", arguments, part, ranks, checkpoint_seconds)
    if first is None and not len(centers) and part.total:
        first = int(reference.uniform(seed, 0) * part.total)
    traversal = Traversal(part, ranks, centers, first, k)
    traversal.run(store, progress)

    contract.warn_of_filling(torch.tensor([traversal.filled]), k)
    picks, radius = torch.tensor(traversal.picks, dtype=torch.int64), torch.from_numpy(traversal.radius())
    # Between rows of length one |x - y|^2 = 2 (1 - cos).
    radius = radius.square() / 2 if metric == "cosine" else radius
    return KCenter(contract.answer(picks, shard), contract.answer(radius, shard), ranks.traffic)
