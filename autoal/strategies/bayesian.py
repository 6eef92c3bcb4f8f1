"""Strategies that score the disagreement of Monte-Carlo samples: BALD, mean-STD, variation ratio."""

from __future__ import annotations

from torch import Tensor

from autoal import ops
from autoal.ops import MCUncertaintyScores
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.uncertainty import require_distributions
from autoal.types import Context


def mc_uncertainty_scores(context: Context) -> MCUncertaintyScores:
    """All scores [N] of the pool's MC samples: one read, shared by the strategies of a round."""

    def compute() -> MCUncertaintyScores:
        scores = ops.mc_uncertainty_scores(context.outputs.mc_logits, layout="TNC", on_nonfinite="drop")
        require_distributions(scores.entropy, "mc_logits")
        return scores

    return context.once("mc_uncertainty_scores", compute)


class Bald(ScoreStrategy):
    """What a label would tell about the model: H[mean p] - mean H[p]."""

    name = "bald"
    needs = ("mc_logits",)
    reference = "Houlsby et al. 2011; Gal et al. 2017"

    def score(self, context: Context) -> Tensor:
        """[N] mutual information of label and model, in nats."""
        return mc_uncertainty_scores(context).bald


class MeanSTD(ScoreStrategy):
    """The standard deviation over the MC samples, averaged over the classes."""

    name = "mean_std"
    needs = ("mc_logits",)
    reference = "Kampffmeyer et al. 2016"

    def score(self, context: Context) -> Tensor:
        """[N] mean over the classes of the population standard deviation over T."""
        return mc_uncertainty_scores(context).mean_std


class VariationRatio(ScoreStrategy):
    """The share of MC samples that vote against the mode."""

    name = "variation_ratio"
    needs = ("mc_logits",)
    reference = "Freeman 1965; Gal et al. 2017"

    def score(self, context: Context) -> Tensor:
        """[N] 1 - votes of the mode / T."""
        return mc_uncertainty_scores(context).variation_ratio
