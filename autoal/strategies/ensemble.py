"""The variation ratio of an ensemble: members that learnt on their own vote, and samples they disagree on are asked."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal import checks
from autoal.search.fit_net import FitNet
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.bayesian import mc_uncertainty_scores
from autoal.strategies.frozen import features
from autoal.types import Context

CHUNK = 8192  # rows whose votes are taken at a time


class EnsembleVariationRatio(ScoreStrategy):
    """The share of an ensemble's members that vote against its mode.

    Members are softmax regressions on the embeddings, each fitted to a bootstrap sample of the labels: these heads are
    convex, so that other than in the paper's networks different initial weights alone make no different members.

    Args:
        members: How many are fitted.
        given: The context's ``mc_logits`` are the logits of an ensemble's members already: they vote, and none is
            fitted. MC-dropout samples look the same and are none; therefore it must be said.
    """

    name = "ensemble_variation_ratio"
    needs: tuple[str, ...] = ("embeddings", "labels")
    reference = "Beluch et al. 2018"

    def __init__(self, members: int = 5, given: bool = False) -> None:
        self.members = checks.as_count(members, "members", low=2)
        self.given = given
        if given:
            self.needs = ("mc_logits",)

    def score(self, context: Context) -> Tensor:
        """[N] 1 - votes of the mode / members."""
        if self.given:
            return mc_uncertainty_scores(context).variation_ratio
        assert context.labels is not None
        x, rng = features(context), context.generator(self.name)
        votes = torch.empty(len(context), self.members, dtype=torch.int64)
        for member in range(self.members):
            drawn = rng.integers(len(context.labeled), size=len(context.labeled))
            rows = torch.from_numpy(context.labeled[drawn])
            head = FitNet.fitted(x[rows], context.labels[drawn], context.n_classes)
            for i in range(0, len(x), CHUNK):
                votes[i : i + CHUNK, member] = head.logits(x[i : i + CHUNK]).argmax(dim=1)
        return variation_ratio(votes)


def variation_ratio(votes: Tensor) -> Tensor:
    """[N] 1 - the share of the mode among the votes [N, M], class numbers."""
    mode = votes.mode(dim=1).values
    return 1 - (votes == mode[:, None]).float().mean(dim=1)
