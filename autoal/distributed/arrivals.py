"""D^2 sampling over ranks, by Poisson thinning: each row has arrivals of its own, and no sum over rows is needed.

A row's arrivals are a Poisson process whose rate is its weight as last known, too large but never too small. An arrival
counts with the probability (weight by now) / (rate). What counts is then a process of the true rates, and the next that
counts is row i with probability proportional to its weight: the law of D^2 sampling.

A round: the ``size``-th of the next arrivals, over all ranks, ends a window of time; all ranks know the arrivals in
it. Their rows are brought up to date as far as it takes to know which arrivals cannot count; the others go to all
ranks, which go through the arrivals in the order of time and make the same picks. At the end of the window, which is a
stopping time, the rows that arrived begin anew at their lower rates. Gaps and levels are drawn by (seed, row, number)
and times are compared exactly, so that any number of ranks makes the same picks.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autoal.distributed import draws
from autoal.distributed.bounds import Bounds
from autoal.distributed.ranks import Ranks, RanksError
from autoal.distributed.shard import Shard
from autoal.ops import native

SMALLEST, LARGEST = 64, 1024  # arrivals in a window
# Prices, in numbers multiplied, as in csrc/common/rejection.h: of a proposal, and of a row when all are brought up to
# date, besides its evaluations.
PER_PROPOSAL, PER_ROW, PER_EVALUATION = 1 << 14, 1 << 9, 16

ARRIVAL = np.dtype([("time", np.float64), ("id", np.int64), ("number", np.int64)])  # number: among the row's own


def gaps(seed: int, ids: np.ndarray, numbers: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Times between arrival ``numbers`` of rows and the ones before, at these rates; inf where none comes."""
    with np.errstate(divide="ignore", invalid="ignore"):
        waits = -np.log(1.0 - draws.uniform(seed, ids, 2 * numbers)) / rates.astype(np.float64)
    return np.where(rates > 0, waits, np.inf)


def levels(seed: int, arrivals: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """[A] float32: an arrival counts if its row's weight is above this by now; ``rates`` [A] are the row's."""
    shares = draws.uniform(seed, arrivals["id"], 2 * arrivals["number"] + 1)
    return (shares * rates.astype(np.float64)).astype(np.float32)


def first_arrivals(seed: int, pending: np.ndarray, rates: np.ndarray, size: int) -> np.ndarray:
    """The first ``size`` arrivals of rows, in order, given the next of each row; a row may have many."""
    found, latest, more = pending, pending, 1
    while True:
        found = found[np.lexsort((found["number"], found["id"], found["time"]))][:size]
        end = found["time"][-1] if len(found) == size else np.inf
        behind = latest["time"] < end
        if not behind.any():
            return found
        latest, rates = latest[behind], rates[behind]
        following = np.repeat(latest[:, None], more + 1, axis=1)
        following["number"] += np.arange(more + 1)
        new = following[:, 1:]
        following["time"][:, 1:] = gaps(seed, new["id"], new["number"], np.broadcast_to(rates[:, None], new.shape))
        following["time"] = np.cumsum(following["time"], axis=1)
        found, latest, more = np.concatenate([found, new.ravel()]), new[:, -1], 2 * more


class Sampler:
    """The selection as one rank knows it; ``picks`` are those of all."""

    def __init__(self, shard: Shard, ranks: Ranks, first: int, k: int, seed: int) -> None:
        self.picks = [first]
        self.filled = 0
        self._shard, self._ranks, self._k, self._seed = shard, ranks, k, seed
        n = len(shard.x)
        self._bounds = Bounds(shard, k)
        self._weight = self._bounds.value.numpy()
        self._time, self._number = np.full(n, np.inf), np.full(n, -1)  # of each row's next arrival
        numbers = [("id", np.int64), ("rate", np.float32), ("weight", np.float32)]
        self._record = np.dtype([*numbers, ("point", np.float32, (shard.x.shape[1],))])

    def run(self, progress: Callable[[int], None] | None) -> None:
        """Makes the picks."""
        self._bounds.start(np.array(self.picks), self._ranks)
        self._begin_anew(np.arange(len(self._time)), 0.0)
        size, wasted, known = SMALLEST, 0, 1
        while len(self.picks) < self._k:
            self._ranks.traffic.rounds += 1
            told = self._tell_next(size)
            every = np.concatenate(told)
            if not len(every):
                self._fill()
                break
            every = every[np.lexsort((every["number"], every["id"], every["time"]))][:size]
            before = len(self.picks)
            self._window(every)
            accepted = len(self.picks) - before
            wasted += (len(every) - accepted) * (PER_PROPOSAL + self._price(before - known))
            if wasted > self._shard.total * (PER_ROW + self._price(len(self.picks) - known)):
                self._refresh_all(float(every["time"][-1]))
                wasted, known = 0, len(self.picks)
            size = _next_size(size, accepted)
            if progress is not None:
                progress(len(self.picks))

    def _price(self, evaluations: int) -> int:
        return evaluations * (self._shard.x.shape[1] + PER_EVALUATION)

    def _begin_anew(self, rows: np.ndarray, now: float) -> None:
        """The next arrivals of rows whose rates are other ones from now on: the gaps under way are not used."""
        self._number[rows] += 1
        self._time[rows] = now + gaps(self._seed, rows + self._shard.start, self._number[rows], self._weight[rows])

    def _tell_next(self, size: int) -> list[np.ndarray]:
        """The next ``size`` arrivals of each rank; fewer where no row has any weight."""
        rows = np.arange(len(self._time))
        if size < len(rows):
            rows = np.flatnonzero(self._time <= np.partition(self._time, size - 1)[size - 1])
        rows = rows[np.isfinite(self._time[rows])]
        pending = np.empty(len(rows), ARRIVAL)
        pending["time"], pending["id"] = self._time[rows], rows + self._shard.start
        pending["number"] = self._number[rows]
        message = np.full(size + 1, np.array((np.inf, -1, -1), ARRIVAL))
        message[0] = (np.inf, self.picks[-1], len(self.picks))
        if len(rows):
            message[1:] = first_arrivals(self._seed, pending, self._weight[rows], size)
        what = f"the ranks' next arrivals, {len(self.picks)} picks made"
        told = [
            part.numpy().view(ARRIVAL) for part in self._ranks.gather(torch.from_numpy(message.view(np.uint8)), what)
        ]
        if any(part[0] != told[0][0] for part in told):
            raise RanksError(f"ranks made different picks, which must not be: {[part[0].tolist() for part in told]}")
        return [part[np.isfinite(part["time"])] for part in told]

    def _window(self, arrivals: np.ndarray) -> None:
        """Goes through arrivals, in the order of time, which are all there are up to the last."""
        ids = np.unique(arrivals["id"])
        here = (ids >= self._shard.start) & (ids < self._shard.end)
        rows, mine = ids[here] - self._shard.start, np.isin(arrivals["id"], ids[here])
        place = np.searchsorted(ids[here], arrivals["id"][mine])
        rates, met = self._weight[rows].copy(), self._bounds.seen.numpy()[rows].copy()
        floors = np.full(len(rows), np.inf, np.float32)
        np.minimum.at(floors, place, levels(self._seed, arrivals[mine], rates[place]))
        self._bounds.refresh(rows, floors)
        # At or below its floor a row's arrivals count not, whatever it has not met yet. That much is certain; its bound
        # depends on how centers were met.
        over = self._weight[rows] <= floors
        self._weight[rows[over]] = floors[over]
        self._bounds.seen[torch.from_numpy(rows[over])] = torch.from_numpy(met[over])
        self._number[rows] += np.bincount(place, minlength=len(rows))

        owners = np.searchsorted(self._shard.starts, ids, side="right") - 1
        sent = np.empty(int((~over).sum()), self._record)
        sent["id"], sent["rate"], sent["weight"] = ids[here][~over], rates[~over], self._weight[rows[~over]]
        sent["point"] = self._shard.read(torch.from_numpy(rows[~over])).numpy()
        most = int(np.bincount(owners).max())
        candidates = self._ranks.gather_records(sent, most, f"candidates, {len(self.picks)} picks made")
        self._ranks.traffic.rows_sent += len(candidates)
        weights = self._pick_among(candidates, arrivals[np.isin(arrivals["id"], candidates["id"])])
        self._bounds.set(rows[~over], weights[torch.from_numpy(np.isin(candidates["id"], ids[here]))])
        self._begin_anew(rows, float(arrivals["time"][-1]))

    def _pick_among(self, candidates: np.ndarray, arrivals: np.ndarray) -> Tensor:
        """Picks the candidates whose arrivals count, in the order of time; gives the candidates' weights then."""
        points, weights = (torch.from_numpy(np.ascontiguousarray(candidates[name])) for name in ("point", "weight"))
        place = np.searchsorted(candidates["id"], arrivals["id"])
        everyone, floors = torch.arange(len(candidates)), torch.full((len(candidates),), -1.0)
        picked: list[int] = []
        for candidate, level in zip(place, levels(self._seed, arrivals, candidates["rate"][place]), strict=True):
            if len(self.picks) < self._k and float(weights[candidate]) > level:
                self.picks.append(int(candidates["id"][candidate]))
                picked.append(int(candidate))
                point, met = points[candidate : candidate + 1], torch.zeros(len(candidates), dtype=torch.int32)
                native.refresh_bounds(points, None, point, everyone, floors, weights, met)
        self._bounds.add(points[picked])
        return weights

    def _refresh_all(self, now: float) -> None:
        """Brings all rows up to date; those whose weights were too large begin anew."""
        rows = np.flatnonzero(self._weight > 0)
        before = self._weight[rows].copy()
        self._bounds.refresh(rows, np.full(len(rows), -1, np.float32))
        self._begin_anew(rows[self._weight[rows] != before], now)

    def _fill(self) -> None:
        """Every weight is 0: the rows that are free, in order."""
        self.filled = self._k - len(self.picks)
        taken = np.array(self.picks)
        self.picks += np.setdiff1d(np.arange(self._k), taken)[: self.filled].tolist()


def _next_size(size: int, accepted: int) -> int:
    """Of the window that follows one of this size."""
    if 4 * accepted < size:
        return min(2 * size, LARGEST)
    return max(size // 2, SMALLEST) if 2 * accepted > size else size
