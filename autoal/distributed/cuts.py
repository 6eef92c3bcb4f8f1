"""Keys of rows, and cuts among them that all ranks find alike without telling each other every key.

A row's key is its bound and its global number: larger bounds come first, then lower numbers. Bounds are compared as the
bits of their floats, whose order as integers is that of the numbers as long as these are not negative; centers have the
bound -1, below everything.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

EXACT = 32  # of a rank's largest keys, so many are told one by one; from there on every (number / EXACT)-th


class Cut(NamedTuple):
    """A key; rows whose keys are larger are above it."""

    bits: int
    row: int

    @property
    def bound(self) -> float:
        """The bound that the bits stand for; -1 of ``BOTTOM``."""
        return float(np.int32(self.bits).view(np.float32)) if self.bits >= 0 else -1.0


BOTTOM = Cut(-1, 0)  # all rows that are no centers are above it


def _ladder() -> np.ndarray:
    steps, end = [], 0
    while end < 2**31:
        end += max(1, end // EXACT)
        steps.append(end)
    return np.array(steps)


LADDER = _ladder()  # the places, from the largest key on, whose keys are told


class Entries(NamedTuple):
    """Rows that stand for others: each for itself and those between it and the entry before."""

    bits: np.ndarray  # [M] int64
    row: np.ndarray  # [M] int64
    stands_for: np.ndarray  # [M] int64

    def above(self, cut: Cut) -> np.ndarray:
        """[M] bool."""
        return (self.bits > cut.bits) | ((self.bits == cut.bits) & (self.row < cut.row))

    def where(self, mask: np.ndarray) -> Entries:
        """Those of the mask [M]."""
        return Entries(*(column[mask] for column in self))

    def most_above(self, cut: Cut) -> int:
        """How many rows of the rank that told these, in order, are above the cut at most."""
        above = int(self.above(cut).sum())
        return int(self.stands_for[:above].sum()) + (int(self.stands_for[above]) - 1 if above < len(self.row) else 0)


NOTHING = Entries(*(np.empty(0, np.int64) for _ in range(3)))


def higher(a: Cut, b: Cut) -> Cut:
    """That of the two which fewer rows are above."""
    return max(a, b, key=lambda cut: (cut.bits, -cut.row))


def join(parts: list[Entries]) -> Entries:
    """All entries."""
    return Entries(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def above(bits: np.ndarray, start: int, cut: Cut) -> np.ndarray:
    """Positions of the rows above the cut; bits [n] int32 of rows ``start`` and on."""
    mask = bits > cut.bits
    lower = min(max(cut.row - start, 0), len(bits))
    mask[:lower] |= bits[:lower] == cut.bits
    return np.flatnonzero(mask)


def sketch(bits: np.ndarray, start: int, most: int) -> Entries:
    """The ``most`` largest keys of the rows, which are no centers, by those at the places of the ladder."""
    rows = np.arange(len(bits))
    if most < len(bits):
        rows = np.flatnonzero(bits >= np.partition(bits, len(bits) - most)[len(bits) - most])
    rows = rows[np.argsort(-bits[rows].astype(np.int64), kind="stable")][:most]
    rows = rows[bits[rows] >= 0]
    ends = np.append(LADDER[: np.searchsorted(LADDER, len(rows))], len(rows))[: len(rows)]
    rows = rows[ends - 1]
    return Entries(bits[rows].astype(np.int64), rows + start, np.diff(ends, prepend=0))


def pack(entries: Entries) -> np.ndarray:
    """[len(LADDER) + 1, 3] int64, the same shape for any entries."""
    packed = np.zeros((len(LADDER) + 1, 3), np.int64)
    packed[: len(entries.row)] = np.stack(entries, axis=1)
    return packed


def unpack(packed: np.ndarray) -> Entries:
    """What ``pack`` packed."""
    return Entries(*packed[packed[:, 2] > 0].T)


def cut_above(entries: Entries, rows: int) -> Cut:
    """The cut that ``rows`` rows, by what the entries stand for, are above; ``BOTTOM`` if there are no more."""
    order = np.lexsort((entries.row, -entries.bits))
    place = int(np.searchsorted(np.cumsum(entries.stands_for[order]), rows, side="right"))
    if place == len(order):
        return BOTTOM
    return Cut(int(entries.bits[order[place]]), int(entries.row[order[place]]))
