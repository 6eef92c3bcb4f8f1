"""Selections from a pool that lies in parts on many processes: the answers of ``autoal.ops`` on the pool as a whole.

Every rank of an existing ``torch.distributed`` group calls the same function with its own part and gets the same
answer. Nothing here starts a process: torchrun, Slurm, Ray and Accelerate do.
"""

from __future__ import annotations

from autoal.distributed.kcenter_greedy import KCenter, kcenter_greedy
from autoal.distributed.kmeanspp import KMeansPP, kmeanspp
from autoal.distributed.ranks import RanksError, Traffic
from autoal.distributed.top_k import TopK, top_k
from autoal.distributed.two_rounds import TwoRounds, kcenter_two_rounds

__all__ = [
    "KCenter",
    "KMeansPP",
    "RanksError",
    "TopK",
    "Traffic",
    "TwoRounds",
    "kcenter_greedy",
    "kcenter_two_rounds",
    "kmeanspp",
    "top_k",
]
