"""Which rows are copies of each other: equal hashes are looked for, and equal numbers decide."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.ops.rows import Rows

NUMBERS = 1 << 20  # looked at together: 8 MiB of products


def firsts(x: Rows) -> Tensor:
    """[N] the lowest position of a copy of each row. A row whose hash is that of others by chance stays by itself."""
    positions = torch.arange(len(x), device=x.device)
    if not len(x):
        return positions
    part_rows = max(1, NUMBERS // max(1, x.width))
    factors = torch.randint(-(2**63), 2**63 - 1, (x.width,), generator=torch.Generator().manual_seed(0)).to(x.device)
    groups = torch.cat([_hashes(part, factors) for part in x.parts(part_rows)]).unique(return_inverse=True)[1]
    lowest = torch.full_like(positions, len(x)).scatter_reduce(0, groups, positions, "amin")[groups]
    same = torch.cat([(x[part] == x[lowest[part]]).all(1) for part in positions.split(part_rows)])
    return torch.where(same, lowest, positions)


def few_of_each(x: Rows, most: int) -> Tensor:
    """Positions, ascending, of the first ``most`` copies of each row."""
    ordered, order = firsts(x).sort(stable=True)
    rank = torch.arange(len(x), device=x.device) - torch.searchsorted(ordered, ordered)
    return order[rank < most].sort().values


def _hashes(rows: Tensor, factors: Tensor) -> Tensor:
    """[N] sums modulo 2^64, which, unlike those of floats, are the same in any order; of -0 that of 0."""
    return ((rows + 0.0).view(torch.int32) * factors).sum(1)
