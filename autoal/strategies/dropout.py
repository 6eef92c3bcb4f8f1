"""The classic uncertainty scores of a mean prediction: over the Monte-Carlo samples instead of one pass."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal import ops
from autoal.ops import UncertaintyScores
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.uncertainty import require_distributions
from autoal.types import Context

NUMBERS = 1 << 24  # MC probabilities held at a time


def mean_probabilities(mc_logits: Tensor) -> Tensor:
    """pbar [N, C] float32, the mean over T of softmax of mc_logits [T, N, C]; no second [T, N, C] is held."""
    n_samples, n, n_classes = mc_logits.shape
    step = max(1, NUMBERS // (n_samples * n_classes))
    parts = [mc_logits[:, i : i + step].float().softmax(dim=2).mean(dim=0) for i in range(0, n, step)]
    return torch.cat(parts)


def scores_of_the_mean(context: Context) -> UncertaintyScores:
    """The three scores [N] of the mean prediction: one pass, shared by the strategies of a round."""

    def compute() -> UncertaintyScores:
        pbar = mean_probabilities(context.outputs.require("mc_logits"))
        scores = ops.uncertainty_scores(pbar, kind="probs", on_nonfinite="drop")
        require_distributions(scores.entropy, "mc_logits")
        return scores

    return context.once("uncertainty scores of the mean", compute)


class LeastConfidenceDropout(ScoreStrategy):
    """The most likely class of the mean over MC samples is unlikely: 1 - pbar(1)."""

    name = "least_confidence_dropout"
    needs = ("mc_logits",)
    reference = "Lewis & Gale 1994; Gal et al. 2017"

    def score(self, context: Context) -> Tensor:
        """[N] 1 - pbar(1)."""
        return scores_of_the_mean(context).least_confidence


class MarginDropout(ScoreStrategy):
    """The two most likely classes of the mean over MC samples are close: 1 - (pbar(1) - pbar(2))."""

    name = "margin_dropout"
    needs = ("mc_logits",)
    reference = "Scheffer et al. 2001; Gal et al. 2017"

    def score(self, context: Context) -> Tensor:
        """[N] 1 - (pbar(1) - pbar(2))."""
        return scores_of_the_mean(context).margin


class EntropyDropout(ScoreStrategy):
    """The mean over MC samples is flat: H[pbar], in nats."""

    name = "entropy_dropout"
    needs = ("mc_logits",)
    reference = "Shannon 1948; Gal et al. 2017"

    def score(self, context: Context) -> Tensor:
        """[N] entropy of the mean, in nats."""
        return scores_of_the_mean(context).entropy
