"""Strategies that score one probability vector: least confidence, margin, entropy."""

from __future__ import annotations

from torch import Tensor

from autoal import checks, ops
from autoal.ops import UncertaintyScores
from autoal.strategies.base import ScoreStrategy
from autoal.types import Context


def uncertainty_scores(context: Context) -> UncertaintyScores:
    """All three scores [N] of the pool's logits: one read, shared by the strategies of a round."""

    def compute() -> UncertaintyScores:
        scores = ops.uncertainty_scores(context.outputs.logits, on_nonfinite="drop")
        require_distributions(scores.entropy, "logits")
        return scores

    return context.once("uncertainty_scores", compute)


def checked_logits(context: Context) -> Tensor:
    """The pool's logits [N, C], for who reads them without an op.

    Raises:
        ValueError: Naming rows that are no distribution.
    """
    uncertainty_scores(context)
    return context.outputs.require("logits")


def require_distributions(scores: Tensor, name: str) -> None:
    """Raises ValueError naming the output and the rows of the pool that an op dropped: their scores [N] are -inf."""
    dropped = scores.isneginf().nonzero()[:, 0].tolist()
    if dropped:
        raise ValueError(f"{name} holds NaN, +inf or nothing but -inf in {checks.name_rows(dropped)}: repair them")


class LeastConfidence(ScoreStrategy):
    """The most likely class is unlikely: 1 - p(1)."""

    name = "least_confidence"
    needs = ("logits",)
    reference = "Lewis & Gale 1994"

    def score(self, context: Context) -> Tensor:
        """[N] 1 - p(1)."""
        return uncertainty_scores(context).least_confidence


class Margin(ScoreStrategy):
    """The two most likely classes are close: 1 - (p(1) - p(2))."""

    name = "margin"
    needs = ("logits",)
    reference = "Scheffer et al. 2001"

    def score(self, context: Context) -> Tensor:
        """[N] 1 - (p(1) - p(2))."""
        return uncertainty_scores(context).margin


class Entropy(ScoreStrategy):
    """The predicted distribution is flat: its entropy in nats."""

    name = "entropy"
    needs = ("logits",)
    reference = "Shannon 1948; Settles 2009"

    def score(self, context: Context) -> Tensor:
        """[N] entropy in nats."""
        return uncertainty_scores(context).entropy
