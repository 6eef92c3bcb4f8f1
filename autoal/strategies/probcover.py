"""ProbCover: balls of one radius around the picks shall hold as much of the pool as possible."""

from __future__ import annotations

import heapq
import warnings

import numpy as np
import torch
from torch import Tensor

from autoal.strategies.base import Picks, Strategy
from autoal.strategies.clustering import kmeans
from autoal.strategies.pool_geometry import OncePerPool, unit_rows
from autoal.types import Context

MOST_TARGETS = 10_000  # samples that are to be covered, and balls whose purity is looked at; of more so many are drawn
TILE_ROWS, TILE_COLUMNS = 8192, 512  # distances held together: 16 MiB
REFRESHED = 64  # degrees counted anew together
SMALLEST_DELTA = 1e-3  # shorter distances of rows of length one may be rounding: then no ball would hold its own center
PURITY_SEED = 0  # the radius is a property of the pool, not of the round in which it is asked for first


class ProbCover(Strategy):
    """Greedy cover: each pick's ball of radius delta holds the most samples that no earlier ball holds.

    Args:
        delta: The radius, between embeddings brought to length one. None: the largest at which 95 % of all balls are
            pure, that is, hold samples of one k-means cluster only, with a cluster per class; found once per pool (and
            number of classes).

    Raises:
        ValueError: If ``delta`` is below 0.001; on a query without it, if the number of classes is not known or 1.

    Warns:
        UserWarning: If the radius that was found tells no samples apart, or only copies are within it.
    """

    name = "probcover"
    needs = ("embeddings",)
    reference = "Yehuda et al. 2022"

    PURITY = 0.95

    def __init__(self, delta: float | None = None) -> None:
        if delta is not None and not delta >= SMALLEST_DELTA:
            raise ValueError(f"delta must be at least {SMALLEST_DELTA}: shorter distances are rounding; got {delta}")
        self.delta = delta
        self._delta_of_pool: OncePerPool[float] = OncePerPool()

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the number of samples that a pick was first to cover.

        When all are covered, every further pick is worth the same: they are drawn at random and score 0.
        """
        unit = unit_rows(context)
        delta = self.delta
        if delta is None:
            if context.n_classes < 2:
                raise ValueError("probcover takes its radius from the number of classes: give n_classes=, or delta=")
            delta = self._radius(context, unit)
        rng = context.generator(self.name)
        unlabeled = context.unlabeled
        targets, worth = context.unchosen, 1.0
        if len(targets) > MOST_TARGETS:
            targets, worth = rng.choice(targets, MOST_TARGETS, replace=False), len(targets) / MOST_TARGETS
        goals = unit[torch.from_numpy(targets)]
        covered = torch.zeros(len(goals), dtype=torch.bool, device=unit.device)
        for part in torch.from_numpy(context.chosen).split(TILE_COLUMNS):
            covered |= _within(goals, unit[part], delta).any(dim=1)
        positions, degrees = cover_greedy(unit[torch.from_numpy(unlabeled)], goals[~covered], delta, size)
        rest = rng.permutation(np.setdiff1d(np.arange(len(unlabeled)), positions))[: size - len(positions)]
        scores = np.concatenate([worth * degrees, np.zeros(len(rest))])
        return Picks(unlabeled[np.concatenate([positions, rest])], scores, {"delta": np.full(size, delta, np.float32)})

    def _radius(self, context: Context, unit: Tensor) -> float:
        """The pure radius of the pool's rows of length one [N, D], found once; at least ``SMALLEST_DELTA``."""
        embeddings, c = context.outputs.require("embeddings"), context.n_classes
        delta = self._delta_of_pool(embeddings, lambda: pure_radius(unit, c, self.PURITY), key=c)
        if not SMALLEST_DELTA < delta < torch.inf:
            found = "one cluster: one pick covers all"
            if delta < torch.inf:
                found = "clusters that touch: picks cover only copies"
            warnings.warn(f"probcover finds no radius, as k-means gives {found} (give delta=)", stacklevel=3)
        return max(delta, SMALLEST_DELTA)


def pure_radius(unit: Tensor, n_classes: int, purity: float) -> float:
    """The largest radius at which so many of the balls around rows [N, D] hold one k-means cluster only; inf of one.

    A ball of radius r (without its boundary) is pure as long as r is at most the distance of its center to the nearest
    row of another cluster. So the radius is an order statistic of these distances, and no grid has to be searched.
    """
    cluster = kmeans(unit, min(n_classes, len(unit)), PURITY_SEED).assignments
    centers = np.arange(len(unit))
    if len(centers) > MOST_TARGETS:
        centers = np.random.default_rng(PURITY_SEED).choice(centers, MOST_TARGETS, replace=False)
    limits = []
    for part in torch.from_numpy(centers).to(unit.device).split(TILE_COLUMNS):
        nearest = torch.full((len(part),), torch.inf, device=unit.device)
        for rows, clusters in zip(unit.split(TILE_ROWS), cluster.split(TILE_ROWS), strict=True):
            squared = _squared_distances(rows, unit[part])
            squared.masked_fill_(clusters[:, None] == cluster[part], torch.inf)
            nearest = torch.minimum(nearest, squared.amin(dim=0))
        limits.append(nearest.clamp_min(0).sqrt())  # near-copies: rounding may have brought it below
    ordered = torch.cat(limits).sort(descending=True).values
    return float(ordered[int(np.ceil(purity * len(ordered))) - 1])


def cover_greedy(unit: Tensor, goals: Tensor, delta: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``size`` rows [U, D] whose balls cover most goals [T, D], one after the other; ties to the lowest row.

    Returns:
        Positions [n] and what each was first to cover [n]; n < size where all goals are covered.

    The graph of all pairs within delta may have U T edges, so it is never held: degrees are counted in tiles once, and
    again for rows that may be best (a degree only falls, so an old one is an upper bound).
    """
    heap = [(-degree, row) for row, degree in enumerate(_degrees(unit, goals, delta).tolist()) if degree]
    heapq.heapify(heap)
    counted = np.zeros(len(unit), np.int64)  # number of picks when a row's degree was counted
    picks: list[int] = []
    degrees: list[int] = []
    while heap and len(picks) < size:
        if counted[heap[0][1]] == len(picks):
            degree, row = heapq.heappop(heap)
            picks.append(row)
            degrees.append(-degree)
            goals = goals[~_within(goals, unit[row : row + 1], delta)[:, 0]]
            continue
        stale: list[int] = []
        while heap and len(stale) < REFRESHED and counted[heap[0][1]] < len(picks):
            stale.append(heapq.heappop(heap)[1])
        counted[stale] = len(picks)
        for row, degree in zip(stale, _degrees(unit[stale], goals, delta).tolist(), strict=True):
            if degree:
                heapq.heappush(heap, (-degree, row))
    return np.array(picks, np.int64), np.array(degrees, np.float64)


def _degrees(rows: Tensor, goals: Tensor, delta: float) -> Tensor:
    """[n] int64, how many goals [T, D] lie within delta of each of rows [n, D]."""
    degrees = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    for degree, tile in zip(degrees.split(TILE_ROWS), rows.split(TILE_ROWS), strict=True):
        for part in goals.split(TILE_COLUMNS):
            degree += _within(tile, part, delta).sum(dim=1)
    return degrees


def _within(a: Tensor, b: Tensor, delta: float) -> Tensor:
    """[n, m] bool, whether rows a [n, D] and b [m, D] are nearer than delta."""
    return _squared_distances(a, b) < delta**2


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[n, m] of rows a [n, D] and b [m, D]."""
    return torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2).add_(a.square().sum(dim=1, keepdim=True))
