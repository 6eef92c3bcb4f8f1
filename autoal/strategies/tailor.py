"""TAILOR: Thompson sampling over candidate strategies, rewarded for labels of rare classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from autoal.search.autoal import DEFAULT_CANDIDATES
from autoal.strategies.automated import Automated, Nominees, class_of
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.rounds import Asked
from autoal.types import Context


@dataclass
class TailorRound(Asked):
    """A query, and whose pick each was: arms [B]."""

    PER_PICK = ("picks", "arms")

    arms: np.ndarray


class Tailor(Automated[TailorRound]):
    """Candidates whose picks turn out to be of rare classes are followed more often (Thompson sampling).

    Which classes a candidate's picks have is a Dirichlet law per candidate, learnt from the answers. For each pick a
    class distribution theta_k is drawn for every candidate k, and the candidate of the largest expected reward
    <theta_k, v> is followed, v_y = 1 / max(1, labels of class y so far).

    Args:
        candidates: Names, classes or objects of strategies.
        discount: What an answer counts a round later, relative to a new one.
    """

    name = "tailor"
    reference = "Zhang et al. 2023"

    def __init__(
        self, candidates: Iterable[str | type[Strategy] | Strategy] = DEFAULT_CANDIDATES, discount: float = 0.9
    ) -> None:
        super().__init__(candidates)
        if not 0 < discount <= 1:
            raise ValueError(f"discount must lie in (0, 1]; got {discount}")
        self.discount = discount

    def pick(self, context: Context, size: int) -> Picks:
        """Pick by pick; the score is the expected reward of the candidate as it was drawn."""
        concentration = self.posterior(context)  # [S, C]
        assert context.labels is not None
        reward = 1 / np.maximum(1, np.bincount(context.labels, minlength=context.n_classes))  # [C]
        nominees = Nominees(self.batches(context, size))
        rng = context.generator(self.name)
        picks, arms, scores = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        for b in range(size):
            theta = rng.standard_gamma(concentration)  # Dirichlet draws, once they are divided by their sums
            expected = theta @ reward / theta.sum(axis=1)
            arms[b] = expected.argmax()
            picks[b], scores[b] = nominees.of(arms[b]), expected[arms[b]]
            nominees.take(picks[b])
        self._rounds.add(TailorRound(len(context.labeled), picks, arms))
        shares = np.bincount(arms, minlength=len(self.candidates)) / size
        return self.picks(picks, scores, arms, shares)

    def posterior(self, context: Context) -> np.ndarray:
        """[S, C] the Dirichlet laws: one, and the answers so far, older ones discounted."""
        classes = class_of(context)
        counts = np.zeros((len(self.candidates), context.n_classes))
        for asked in self.answered(context):
            counts *= self.discount
            known = classes[asked.picks] >= 0
            np.add.at(counts, (asked.arms[known], classes[asked.picks][known]), 1)
        return 1 + counts
