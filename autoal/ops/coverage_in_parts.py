"""Coverage greedy of rows that are not held: only those that may be picked are, and the picks stay the same.

A gain only shrinks while picks are made, so that what a row gains by once bounds what it ever will. The kernel picks
among the rows of the largest bounds; those picks that gain no less than the largest bound of all other rows are the
greedy's among all. Then the bounds are brought up to date, and the next rows are held.
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor

from autoal.ops import contract
from autoal.ops.coverage_greedy import NO_GAIN, _estimated_gains, coverage_greedy, draw_targets
from autoal.ops.knn import search
from autoal.ops.rows import PART, Rows

HELD = 1 << 26  # numbers of rows that are held together: 256 MiB
SIMILARITIES = 1 << 22  # held together
SUMMED = 1.0001  # more than the rounding of a sum in float32 adds


class Worth(NamedTuple):
    """What there is to cover: weights, gain and covered [N] as ``coverage_greedy`` has them, and the bandwidth."""

    weights: Tensor
    gain: Tensor
    covered: Tensor
    bandwidth: float


def coverage_in_parts(x: Rows, k: int, worth: Worth, targets: int, seed: int) -> tuple[Tensor, Tensor]:
    """Picks [k] and their gains [k]: those of ``coverage_greedy(x, k, metric="l2", return_gains=True, ...)``.

    Of rows that gain alike within rounding another may be picked, where not all rows are held.

    Args:
        x: [N, D]. Up to 2^26 numbers are held, and ``targets`` rows if these are more; rows may be read several times.
        k: Number of picks.
        worth: Checked.
        targets: How many rows gains are summed over.
        seed: Draws them.
    """
    most = max(HELD // x.width, 2 * targets)
    if len(x) <= most:
        picks, gains, _ = coverage_greedy(
            x.held(),
            k,
            weights=worth.weights,
            gain=worth.gain,
            covered=worth.covered,
            bandwidth=worth.bandwidth,
            metric="l2",
            targets=targets,
            seed=seed,
            return_gains=True,
        )
        return picks, gains
    picks = _picks(x, k, worth, most - targets, *draw_targets(worth.weights, targets, [seed, 0]))
    gains, _ = _estimated_gains(cast(Tensor, x), None, picks, *worth, targets, [seed, 1])
    return picks, gains


def _picks(x: Rows, k: int, worth: Worth, most: int, goals: Tensor, goal_weights: Tensor) -> Tensor:
    """Picks [k], with ``most`` rows held at a time beside the targets ``goals`` [T]."""
    weights, gain, covered, bandwidth = worth
    points = x.take(goals).held()
    bounds = _bounds(x, torch.arange(len(x), device=x.device), worth, goals, goal_weights, points)
    picks, filled = torch.empty(0, dtype=torch.int64, device=x.device), 0
    while True:
        order = bounds.argsort(descending=True, stable=True)
        some, limit = order[:most].sort().values, float(bounds[order[most]])
        rows = torch.cat([goals, some]).unique()
        here = torch.searchsorted(rows, goals)
        barred = ~torch.isin(rows, some) | torch.isin(rows, picks)
        found, gains, _ = torch.ops.autoal.coverage_greedy(
            x.take(rows).held(),
            None,
            here,
            goal_weights,
            weights[rows],
            gain[rows],
            covered[rows],
            barred.nonzero()[:, 0],
            bandwidth,
            min(k - len(picks), int((~barred).sum())),
        )
        sure = int((gains >= limit).sum())  # gains do not grow
        filled += int((gains[:sure] == 0).sum())
        new = rows[found[:sure]]
        picks = torch.cat([picks, new])
        if len(picks) == k:
            contract.warn_of_filling(torch.tensor([filled]), k, NO_GAIN)
            return picks
        if sure:
            covered = torch.maximum(covered, torch.exp(-bandwidth * _squared_distances(x, x.take(new).held())))
            worth = worth._replace(covered=covered)
            bounds[some] = torch.minimum(bounds[some], _bounds(x, some, worth, goals, goal_weights, points))
            bounds[new] = -1
        else:
            bounds[some] = bounds[some].clamp_max(gains[0])


def _squared_distances(x: Rows, points: Tensor) -> Tensor:
    """[N] of each row to the nearest of ``points`` [n, D]; 0 of copies."""
    distances = torch.empty(len(x), device=x.device)
    length = max(1, PART // x.width)
    for part, out in zip(x.parts(length), distances.split(length), strict=True):
        out.copy_(search(Rows(part), Rows(points), 1, "l2", "auto").distances[:, 0])
    return distances.square_()


def _bounds(x: Rows, rows: Tensor, worth: Worth, goals: Tensor, goal_weights: Tensor, points: Tensor) -> Tensor:
    """[n] no less than the gains of ``rows`` [n]: squared distances count as smaller, by what they may be off."""
    weights, gain, covered, bandwidth = worth
    norms = points.square().sum(1)
    column = torch.full((len(x),), -1, device=x.device)
    column[goals] = torch.arange(len(goals), device=x.device)
    bounds = torch.empty(len(rows), device=x.device)
    length = max(1, min(PART // x.width, SIMILARITIES // len(goals)))
    for some, out in zip(rows.split(length), bounds.split(length), strict=True):
        part = x[some]
        own_norms = part.square().sum(1, keepdim=True)
        off = 4 * (x.width + 16) * 2.0**-24 * (own_norms + norms)
        squared = torch.addmm(norms, part, points.T, alpha=-2).add_(own_norms).sub_(off).clamp_min_(0)
        squared.mul_(1 - (x.width + 16) * 2.0**-17)  # the kernel's own may be smaller by that share
        extra = squared.mul_(-bandwidth).exp_().sub_(covered[goals]).clamp_min_(0)
        extra[(column[some] >= 0).nonzero()[:, 0], column[some][column[some] >= 0]] = 0  # its own term is added
        out.copy_(SUMMED * gain[some] * (extra @ goal_weights + weights[some] * (1 - covered[some])))
    return bounds
