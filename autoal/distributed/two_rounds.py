"""k-center in two rounds (composable core-sets: Malkomes et al. 2015): few collectives and passes over the data, other
picks than the traversal's, and a certificate of how good they are."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.distributed import agreement
from autoal.distributed.bounds import Bounds
from autoal.distributed.ranks import Ranks, Traffic
from autoal.distributed.shard import Shard, describe, shard_matrix
from autoal.ops import contract
from autoal.ops.kcenter_greedy import kcenter_greedy


class TwoRounds(NamedTuple):
    """The answer of ``kcenter_two_rounds``, the same on all ranks.

    Attributes:
        indices: [k] int64 rows of the pool in pick order; numpy or torch, as the shard was.
        radius: The largest distance of any row of the pool to its nearest pick, as measured.
        lower_bound: No k centers have a smaller radius, rows of the pool or not.
        traffic: What it took between the ranks.
    """

    indices: Any
    radius: float
    lower_bound: float
    traffic: Traffic

    @property
    def certificate(self) -> str:
        """The figures in words."""
        found = f"{len(self.indices)} picks, radius {self.radius:.6g}; no choice has less than {self.lower_bound:.6g}"
        return f"{found}: at most {self.radius / self.lower_bound:.3g} times the best" if self.lower_bound else found


def kcenter_two_rounds(
    shard: Any, k: int, *, group: Any = None, metric: str = "l2", seed: int = 0, timeout: float = 300.0
) -> TwoRounds:
    """k-center by the picks of each rank among its own rows, and the picks among all of these.

    The radius is at most 4 times the best; how far off it is in fact, the certificate says. The picks depend on how the
    pool is shared. Each shard is read for its own picks, and once more to measure.

    Args:
        shard: [n, D], as in ``kcenter_greedy``. Each rank must be able to hold ranks * k rows.
        k: Number of picks in all.
        group: As in ``kcenter_greedy``.
        metric: "l2" or "cosine".
        seed: Draws each rank's first pick.
        timeout: Seconds that this rank waits for the others at a time.

    Raises:
        TypeError, ValueError, RanksError: As ``kcenter_greedy``.

    Warns:
        DuplicatesWarning: If the pool has fewer different rows than ``k``.
    """
    ranks = Ranks.of(group, timeout)

    def find() -> tuple[agreement.Facts, agreement.Facts, Tensor]:
        checks.check_choice(metric, "metric", ("l2", "cosine"))
        x = shard_matrix(shard)
        alike, own = describe(x)
        alike["k"] = checks.as_count(k, "k")
        alike["metric"] = metric
        alike["seed"] = checks.as_count(seed, "seed", high=contract.MAX_SEED)
        return alike, own, x

    own, x = agreement.agree(ranks, "kcenter_two_rounds", find)
    part = Shard.of(x, metric, ranks, own)
    k = contract.check_k(k, part.total)
    if k == 0:
        nothing = torch.empty(0, dtype=torch.int64)
        return TwoRounds(contract.answer(nothing, shard), np.inf, 0.0, ranks.traffic)

    mine = min(k, len(part.x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", contract.DuplicatesWarning)  # of one shard; what counts is the pool
        local = kcenter_greedy(part.x, mine, metric=metric, seed=seed) if mine else torch.empty(0, dtype=torch.int64)
    sent = np.empty(mine, np.dtype([("id", np.int64), ("point", np.float32, (part.x.shape[1],))]))
    sent["id"], sent["point"] = local.numpy() + part.start, part.read(local).numpy()
    every = ranks.gather_records(sent, min(k, int(np.diff(part.starts).max())), "the picks of each rank")
    ranks.traffic.rows_sent += len(every)
    points = torch.from_numpy(np.ascontiguousarray(every["point"]))
    picks, reach = kcenter_greedy(points, k, first=0, return_radius=True)  # of one length already, if need be

    bounds = Bounds(part, k)
    bounds.add(points[picks])
    bounds.refresh(np.arange(len(part.x)), np.full(len(part.x), -1, np.float32))
    farthest = bounds.value.max() if len(part.x) else torch.tensor(0.0)
    radius = float(np.sqrt(max(float(each) for each in ranks.gather(farthest[None], "how far rows are from picks"))))
    # The picks and the farthest row are k + 1 points at least so far apart, two of which any k centers leave together.
    apart = min(radius, float(reach[k - 2])) if k > 1 else radius
    lower = apart / 2
    if metric == "cosine":
        radius, lower = radius**2 / 2, lower**2 / 2
    return TwoRounds(contract.answer(torch.from_numpy(every["id"][picks.numpy()]), shard), radius, lower, ranks.traffic)
