"""Farthest-first over ranks, blocked lazy: bounds may be out of date, picks are made among the rows that cannot be.

A round:
1. All ranks know a cut that about ``goal`` rows are above. They bring theirs up to date.
2. They tell sketches of their keys: one collective. From these all find a narrower cut, which few rows are above.
3. The rows above it go to all ranks: the second collective. As they are up to date, every rank makes the same picks
   among them, as long as the best is above the narrower cut.
4. From the sketches and the candidates' new keys all find the next cut.

The picks are exact because no other row's bound is above the cut (docs/kcenter_greedy.md has the argument).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal.distributed import cuts
from autoal.distributed.agreement import raise_any
from autoal.distributed.bounds import Bounds
from autoal.distributed.checkpoint import Checkpoint
from autoal.distributed.cuts import Cut, Entries
from autoal.distributed.ranks import Ranks, RanksError
from autoal.distributed.shard import Shard
from autoal.ops import native

CANDIDATES = 1024  # rows that go to all ranks in a round, about; every rank compares each pick with all of them
NO_DISTANCE = -1.0  # of a first pick that is given


class Candidates(NamedTuple):
    """Rows that all ranks know.

    Attributes:
        ids: [W] ascending global rows.
        bounds: [W] float32, up to date.
        points: [W, D] float32, as the metric sees them.
    """

    ids: np.ndarray
    bounds: Tensor
    points: Tensor

    def entries(self) -> Entries:
        """Their keys; without those that are centers."""
        bits = self.bounds.numpy().view(np.int32).astype(np.int64)
        entries = Entries(bits, self.ids, np.ones_like(self.ids))
        return entries.where(bits >= 0)


class Traversal:
    """The selection as one rank knows it: bounds of its own rows, picks and embeddings of the centers of all."""

    def __init__(self, shard: Shard, ranks: Ranks, labeled: np.ndarray, first: int | None, k: int) -> None:
        self.picks: list[int] = []
        self.distances: list[float] = []  # squared, of each pick when it was made, and of the one after the last
        self._shard, self._ranks, self._labeled, self._k = shard, ranks, labeled, k
        if first is not None and k:
            self.picks, self.distances = [first], [NO_DISTANCE]
        self._bounds = Bounds(shard, len(labeled) + k)
        self._bits = self._bounds.value.numpy().view(np.int32)  # of the same memory

    @property
    def filled(self) -> int:
        """How many picks are copies of centers."""
        return self.distances[: self._k].count(0.0)

    def radius(self) -> np.ndarray:
        """[k] after each pick: how far the next one was."""
        after = (self.distances[1:] + [0.0] * self._k)[: self._k]
        return np.sqrt(np.array(after, np.float32))

    def run(self, checkpoint: Checkpoint | None, progress: Callable[[int], None] | None) -> None:
        """Makes the picks, or those after the checkpoint's, and finds how far one more would be."""
        failure = ""
        if checkpoint is not None and (stored := checkpoint.load()):
            self.picks, self.distances = stored[0][: self._k], stored[1][: self._k + 1]
            if len(self.picks) < self._k:  # the one after the file's last is to be a pick
                del self.distances[len(self.picks) :]
        goal, known = CANDIDATES, cuts.NOTHING
        if not self._done:
            centers = np.concatenate([self._labeled, np.array(self.picks, np.int64)])
            self._bounds.start(centers, self._ranks)
            self._bounds.value[torch.from_numpy(self._shard.positions_here(centers))] = -1.0
            known = cuts.join(self._tell_sketches(2 * goal, failure))
        while not self._done:
            self._ranks.traffic.rounds += 1
            cut = cuts.cut_above(known, goal)
            self._refresh(cut)
            sketches = self._tell_sketches(2 * goal + 2 * CANDIDATES, failure)
            known = cuts.join(sketches)
            narrow = cuts.higher(cut, cuts.cut_above(known, CANDIDATES))
            candidates = self._send_above(narrow, max(sketch.most_above(narrow) for sketch in sketches))
            self._pick_among(candidates, narrow)
            self._keep(candidates)
            goal = _next_goal(goal, int(known.stands_for[known.above(cut)].sum()), self._shard.total)
            known = cuts.join([known.where(~known.above(narrow)), candidates.entries()])
            if checkpoint is not None:
                failure = checkpoint.save(self.picks, self.distances)
            if progress is not None:
                progress(len(self.picks))
        if checkpoint is not None:
            raise_any(self._ranks.share({"error": checkpoint.save(self.picks, self.distances, now=True)}, "the end"))
        if progress is not None:
            progress(len(self.picks))

    @property
    def _done(self) -> bool:
        everything = self._shard.total - len(self._labeled)
        return len(self.picks) == self._k and (len(self.distances) > self._k or self._k in (0, everything))

    def _refresh(self, cut: Cut) -> None:
        """Brings the rows above the cut up to date; one that falls below it is left where that is known."""
        rows = cuts.above(self._bits, self._shard.start, cut)
        below = np.nextafter(np.float32(cut.bound), np.float32(-2))  # at its very bound rows may be above the cut
        self._bounds.refresh(rows, np.full(len(rows), below))

    def _tell_sketches(self, most: int, failure: str) -> list[Entries]:
        """Sketches of the keys of all ranks; each tells with its own how far it is, and whether it failed."""
        state = [len(self.picks), self.picks[-1] if self.picks else -1, bool(failure)]
        message = np.concatenate([[state], cuts.pack(cuts.sketch(self._bits, self._shard.start, most))])
        what = f"the ranks' bounds, {len(self.picks)} picks made"
        told = [part.numpy() for part in self._ranks.gather(torch.from_numpy(message), what)]
        if any(part[0, 2] for part in told):
            raise_any(self._ranks.share({"error": failure}, "the reason why a rank failed"))
        if any((part[0, :2] != told[0][0, :2]).any() for part in told):
            raise RanksError(
                f"ranks made different picks, which must not be: {[part[0, :2].tolist() for part in told]}"
            )
        return [cuts.unpack(part[1:]) for part in told]

    def _send_above(self, cut: Cut, most: int) -> Candidates:
        """The rows above the cut, at most so many on any rank, known to all."""
        rows = torch.from_numpy(cuts.above(self._bits, self._shard.start, cut))
        columns = self._shard.x.shape[1]
        record = np.dtype([("id", np.int64), ("bound", np.float32), ("point", np.float32, (columns,))])
        mine = np.empty(len(rows), record)
        mine["id"], mine["bound"] = rows.numpy() + self._shard.start, self._bounds.value[rows].numpy()
        mine["point"] = self._shard.read(rows).numpy()
        every = self._ranks.gather_records(mine, most, f"candidates, {len(self.picks)} picks made")
        self._ranks.traffic.rows_sent += len(every)
        ids, bounds, points = (np.ascontiguousarray(every[name]) for name in ("id", "bound", "point"))
        return Candidates(ids, torch.from_numpy(bounds), torch.from_numpy(points))

    def _pick_among(self, candidates: Candidates, cut: Cut) -> None:
        """Picks while the best is above the cut, and lowers the candidates' bounds."""
        ids, bounds, points = candidates
        if not len(ids):
            return
        before = int(np.searchsorted(ids, cut.row))
        wanted = min(self._k + 1 - len(self.distances), len(ids))
        positions, distances = native.farthest_among(points, bounds, cut.bound, before, wanted)
        self.distances += distances.tolist()
        positions = positions[: self._k - len(self.picks)]
        self._bounds.add(points[positions])
        self.picks += ids[positions.numpy()].tolist()
        if cut.bits <= 0 and float(bounds.max()) == 0.0 and not self._done:
            self._fill()

    def _fill(self) -> None:
        """Only copies of centers are left: the free rows in order."""
        need = self._k - len(self.picks)
        taken = np.concatenate([self._labeled, np.array(self.picks, np.int64)])
        free = np.setdiff1d(np.arange(need + len(taken)), taken)[:need]
        self.picks += free.tolist()
        self.distances += [0.0] * (self._k + 1 - len(self.distances))

    def _keep(self, candidates: Candidates) -> None:
        """What came of this rank's own candidates."""
        here = (candidates.ids >= self._shard.start) & (candidates.ids < self._shard.end)
        self._bounds.set(candidates.ids[here] - self._shard.start, candidates.bounds[torch.from_numpy(here)])


def _next_goal(goal: int, survivors: int, total: int) -> int:
    """How many rows to bring up to date next, so that about as many survive it as can be sent."""
    if 2 * survivors < CANDIDATES:
        return min(2 * goal, max(total, CANDIDATES))
    return max(goal // 2, CANDIDATES) if survivors > 2 * CANDIDATES else goal
