"""Which rows are copies of each other to a metric: equal hashes are looked for, and equal numbers decide."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from autoal.ops.rows import Rows, unit

NUMBERS = 1 << 18  # looked at together: 4 MiB of products
COLUMNS = 32  # looked at first, since rows that are no copies mostly differ in them


def firsts(x: Rows, metric: str) -> Tensor:
    """[N] the lowest position of a copy of each row. A row whose hash is that of others by chance stays by itself.

    By cosine copies are rows of one direction, to the last bit: of what is told of a row that is all that enters. Rows
    that are some power of two apart are, and rows of integers that are multiples of one; others round to neighbors.
    """
    lowest = torch.arange(len(x), device=x.device)
    some, alike = lowest, x
    for step in sorted({1, max(1, x.width // COLUMNS)}, reverse=True):
        first = _first_of(_hashes(alike, metric, step))
        shared = first.bincount(minlength=len(some))[first] > 1
        first, some = some[first[shared]], some[shared]
        alike = x.take(some)
    for part in torch.arange(len(some), device=x.device).split(_part_rows(x)):
        same = (_told_apart(alike[part], metric) == _told_apart(x[first[part]], metric)).all(1)
        lowest[some[part]] = torch.where(same, first[part], some[part])
    return lowest


def among_first(x: Rows, most: int, metric: str) -> Tensor:
    """[N] whether a row is among the first ``most`` copies of itself."""
    ordered, order = firsts(x, metric).sort(stable=True)
    rank = torch.arange(len(x), device=x.device) - torch.searchsorted(ordered, ordered)
    return torch.empty_like(rank, dtype=torch.bool).index_copy_(0, order, rank < most)


def _told_apart(rows: Tensor, metric: str) -> Tensor:
    """What distances are computed of."""
    return unit(rows) if metric == "cosine" else rows


def _part_rows(x: Rows) -> int:
    return max(1, NUMBERS // max(1, x.width))


def _first_of(hashes: Tensor) -> Tensor:
    """[N] the lowest position of each hash."""
    groups = hashes.unique(return_inverse=True)[1]
    positions = torch.arange(len(hashes), device=hashes.device)
    return torch.full_like(positions, len(hashes)).scatter_reduce(0, groups, positions, "amin")[groups]


def _hashes(x: Rows, metric: str, step: int) -> Tensor:
    """[N] of every ``step``-th column: sums modulo 2^64, which, unlike those of floats, are the same in any order.

    Rows that differ share a hash with probability 2^-49 at most: halves of a number's bits differ by a multiple of 2^15
    at most, +1 from -1 for one, and whole ones by one of 2^31, which would leave 2^-33.
    """
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, (2 * len(range(0, x.width, step)),), generator=generator).to(x.device)
    if metric == "cosine":  # a direction takes all columns
        parts: Iterator[Tensor] = (unit(part)[:, ::step] for part in x.parts(_part_rows(x)))
    else:
        some = x.columns(step)
        parts = some.parts(_part_rows(some))
    sums = (((part + 0.0).view(torch.int16) * factors).sum(1) for part in parts)  # -0 becomes 0
    return torch.cat([factors[:0], *sums])
