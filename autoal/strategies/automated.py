"""What the published automated strategies share: candidates that are asked for their batches, and rounds remembered."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

import numpy as np

from autoal.search.autoal import DEFAULT_CANDIDATES
from autoal.search.candidates import Candidates
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.frozen import features, fit_net
from autoal.strategies.rounds import Round, Rounds
from autoal.types import Context


class Automated(Strategy, Generic[Round]):
    """Chooses, pick by pick or for the whole batch, which of its candidates to follow.

    Outputs that a candidate needs and nobody gave are drawn from a FitNet on the embeddings, as in ``AutoAL``. An
    object serves one run: it remembers its queries, learns from those that have been answered, and, asked again before
    an answer came, gives the same query again.

    Args:
        candidates: Names, classes or objects of strategies, users' own included.

    Raises:
        TypeError: If a candidate is no strategy.
        ValueError: If a name is unknown or comes twice.
    """

    needs = ("embeddings", "labels")

    def __init__(self, candidates: Iterable[str | type[Strategy] | Strategy] = DEFAULT_CANDIDATES) -> None:
        self.candidates = Candidates(candidates)
        self.wants = tuple(name for name in self.candidates.needs if name not in self.needs)
        self._rounds: Rounds[Round] = Rounds()

    def settle(self, asked: np.ndarray) -> None:
        """Forgets the others of the last query."""
        self._rounds.settle(asked)

    def batches(self, context: Context, size: int) -> list[np.ndarray]:
        """The batch [B] of each candidate, pool indices, best first."""
        return self.candidates.batches(context, fit_net(context), features(context), size)

    def answered(self, context: Context) -> list[Round]:
        """The earlier rounds, oldest first."""
        return self._rounds.before(context)

    def picks(self, indices: np.ndarray, scores: np.ndarray, arms: np.ndarray, weights: np.ndarray) -> Picks:
        """The batch ``indices`` [B] with ``scores`` [B]: whose pick each is, arms [B], and the candidates' weights."""
        names = np.array(self.candidates.names)
        shares = dict(zip(self.candidates.names, weights.tolist(), strict=True))
        return Picks(indices, scores, {"candidate": names[arms]}, shares)


def class_of(context: Context) -> np.ndarray:
    """[N] the class number of each sample, -1 where it is not known."""
    assert context.labels is not None
    classes = np.full(len(context), -1)
    classes[context.labeled] = context.labels
    return classes


class Nominees:
    """The candidates' batches, from each of which the best that is not taken yet is nominated.

    A batch is as long as the query, so that there always is one.
    """

    def __init__(self, batches: list[np.ndarray]) -> None:
        self.batches = batches
        self.next = [0] * len(batches)
        self.taken: set[int] = set()

    def of(self, arm: int) -> int:
        """The pool index that candidate ``arm`` nominates."""
        while int(self.batches[arm][self.next[arm]]) in self.taken:
            self.next[arm] += 1
        return int(self.batches[arm][self.next[arm]])

    def take(self, index: int) -> None:
        """Takes a sample out of all batches."""
        self.taken.add(index)
