"""What a strategy remembers of its queries: one entry a round, however often it was asked in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from autoal.types import Context


@dataclass
class Asked:
    """A query of an earlier round.

    Attributes:
        n_labeled: Number of labels before it.
        picks: [B] pool indices.
        PER_PICK: The names of the fields that have a row for each pick.
    """

    PER_PICK: ClassVar[tuple[str, ...]] = ("picks",)

    n_labeled: int
    picks: np.ndarray


Round = TypeVar("Round", bound=Asked)


class Rounds(Generic[Round]):
    """The queries of one run.

    Attributes:
        asked: Oldest first.
    """

    def __init__(self) -> None:
        self.asked: list[Round] = []
        self._newest = np.empty(0, np.int64)  # the last query's picks

    def before(self, context: Context) -> list[Round]:
        """The earlier rounds.

        What was asked with as many labels as there are now belongs to this round: it is forgotten, since it is asked
        again, but for what is pending.
        """
        earlier = [asked for asked in self.asked if asked.n_labeled < len(context.labeled)]
        now = [asked for asked in self.asked if asked.n_labeled == len(context.labeled)]
        self.asked = earlier + [kept for kept in (_only(asked, context.pending) for asked in now) if len(kept.picks)]
        return earlier

    def add(self, asked: Round) -> None:
        """The newest query; with what is left of earlier ones of its round it is one."""
        self._newest = asked.picks
        if self.asked and self.asked[-1].n_labeled == asked.n_labeled:
            last = self.asked.pop()
            joined: dict[str, Any] = {
                name: np.concatenate([getattr(last, name), getattr(asked, name)]) for name in asked.PER_PICK
            }
            asked = replace(asked, **joined)
        self.asked.append(asked)

    def settle(self, indices: np.ndarray) -> None:
        """Forgets all picks of the newest query but ``indices``."""
        if self.asked:
            last = self.asked[-1]
            self.asked[-1] = _only(last, np.setdiff1d(last.picks, np.setdiff1d(self._newest, indices)))


def _only(asked: Round, indices: np.ndarray) -> Round:
    """The query as if only those of ``indices`` had been its picks."""
    kept = np.isin(asked.picks, indices)
    fields: dict[str, Any] = {name: getattr(asked, name)[kept] for name in asked.PER_PICK}
    return replace(asked, **fields)
