"""Strategies that score one probability vector: least confidence, margin, entropy."""

from __future__ import annotations

from torch import Tensor

from autoal import ops
from autoal.ops import UncertaintyScores
from autoal.strategies.base import ScoreStrategy
from autoal.types import Context


def uncertainty_scores(context: Context) -> UncertaintyScores:
    """All three scores [N] of the pool's logits: one read, shared by the strategies of a round."""
    return context.once("uncertainty_scores", lambda: ops.uncertainty_scores(context.outputs.logits))


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
