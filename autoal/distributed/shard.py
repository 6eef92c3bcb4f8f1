"""A rank's part of the pool: consecutive rows, whose global numbers follow those of the lower ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.distributed.ranks import Ranks
from autoal.ops import contract, native
from autoal.ops.kcenter_greedy import inverse_norms

MOST_ROWS = 2**31 - 1  # of a shard
TOGETHER = 4096  # rows that are fetched from their owners by one collective


def shard_matrix(value: Any) -> Tensor:
    """The shard [n, D] as the kernels read it.

    Raises:
        TypeError, ValueError: If it is no [N, D] float array of the host's memory, or has too many rows.
    """
    x = contract.matrix(value, "shard", "[N, D]")
    if x.device.type != "cpu":
        raise ValueError(
            f"shard must be in the host's memory, where bounds over ranks are computed; got a tensor on {x.device}: "
            "pass shard.cpu() (the group may be NCCL all the same)"
        )
    if len(x) > MOST_ROWS:
        raise ValueError(f"shard may have at most {MOST_ROWS:,} rows, got {len(x):,}: use more ranks")
    return x


def describe(x: Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """What must be alike of shards x [n, D], and what each has of its own; for ``agree``."""
    alike = {
        "columns": x.shape[1],
        "dtype": str(x.dtype).removeprefix("torch."),
        # Kernels of another instruction set round sums otherwise: ranks would choose different rows among candidates.
        "instruction set (AUTOAL_CPU)": native.cpu.isa(),
    }
    squares = torch.ops.autoal.squared_norms(x) if len(x) else torch.empty(0)
    bad = (~(squares <= checks.LARGEST_SQUARE)).nonzero()[:, 0]  # NaN compares false
    finite = torch.isfinite(x[bad]).all(1)
    return alike, {"rows": len(x), "nonfinite": bad[~finite].tolist(), "too_large": bad[finite].tolist()}


@dataclass(frozen=True)
class Shard:
    """Rows of this rank and where they stand in the pool.

    Attributes:
        x: [n, D].
        scale: [n] by which rows are multiplied, or None.
        starts: [ranks + 1] the first global row of each rank, and the number of rows in all.
        rank: This one.
    """

    x: Tensor
    scale: Tensor | None
    starts: np.ndarray
    rank: int

    @classmethod
    def of(cls, x: Tensor, metric: str, ranks: Ranks, own: list[dict[str, Any]]) -> Shard:
        """The shard x [n, D], after what all ranks told in ``describe``.

        Raises:
            ValueError: If rows on any rank cannot be used, naming them by their global numbers.
        """
        starts = np.cumsum([0, *(each["rows"] for each in own)])
        for fault, words in (
            ("nonfinite", "shard holds NaN or Inf in {}: repair them on their rank"),
            ("too_large", "shard is too large in {}: squared distances overflow float32, so scale it down"),
        ):
            rows = [int(start) + row for start, each in zip(starts, own, strict=False) for row in each[fault]]
            if rows:
                raise ValueError(words.format(checks.name_rows(rows) + " of the pool"))
        scale = inverse_norms(x) if metric == "cosine" and len(x) else None
        return cls(x, scale, starts, ranks.rank)

    @property
    def start(self) -> int:
        """The global number of the first row."""
        return int(self.starts[self.rank])

    @property
    def end(self) -> int:
        """One more than the global number of the last row."""
        return int(self.starts[self.rank + 1])

    @property
    def total(self) -> int:
        """Rows of all ranks."""
        return int(self.starts[-1])

    def read(self, positions: Tensor) -> Tensor:
        """Rows of this shard as the metric sees them, float32 [len(positions), D]."""
        rows = self.x[positions].float()
        return rows if self.scale is None else rows * self.scale[positions, None]

    def positions_here(self, ids: np.ndarray) -> np.ndarray:
        """Those of the global ``ids`` that lie here, as positions in this shard."""
        return ids[(ids >= self.start) & (ids < self.end)] - self.start

    def fetch(self, ids: np.ndarray, ranks: Ranks, what: str) -> Tensor:
        """The rows ``ids`` [L] of the pool, the same on all ranks: [L, D] float32 as the metric sees them, on all."""
        rows = torch.empty(len(ids), self.x.shape[1])
        for begin in range(0, len(ids), TOGETHER):
            some = ids[begin : begin + TOGETHER]
            owner = np.searchsorted(self.starts, some, side="right") - 1
            counts = np.bincount(owner, minlength=ranks.size)
            sent = torch.zeros(int(counts.max()), self.x.shape[1])
            sent[: counts[self.rank]] = self.read(torch.from_numpy(self.positions_here(some)))
            for rank, part in enumerate(ranks.gather(sent, what)):
                where = torch.from_numpy(np.flatnonzero(owner == rank) + begin)
                rows[where] = part[: counts[rank]]
        ranks.traffic.rows_sent += len(ids)
        return rows
