"""Neighborhood disagreement: the model says something else of a sample's nearest neighbors than of the sample."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.search.features import Features
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.pool_geometry import OncePerPool
from autoal.strategies.uncertainty import checked_logits
from autoal.types import Context

CHUNK = 1 << 16  # samples whose neighbors' probabilities are gathered together


class NeighborDisagreement(ScoreStrategy):
    """The ten nearest neighbors are unlikely to be of the sample's predicted class: 1 - their mean p of it."""

    name = "neighbor_disagreement"
    needs = ("logits", "embeddings")
    reference = "autoal: a signal of its SearchNet"

    def __init__(self) -> None:
        self._graph: OncePerPool[Tensor] = OncePerPool()

    def score(self, context: Context) -> Tensor:
        """[N] 1 - mean over the neighbors j of p_j[predicted class]; neighbors are the same as SearchNet's."""
        embeddings = context.outputs.require("embeddings")
        p = checked_logits(context).float().softmax(dim=1)
        neighbors = self._graph(embeddings, lambda: torch.from_numpy(Features(embeddings).graph)).to(p.device)
        if not neighbors.shape[1]:
            return p.new_zeros(len(p))
        predicted = p.argmax(dim=1, keepdim=True)  # [N, 1]
        parts = zip(neighbors.split(CHUNK), predicted.split(CHUNK), strict=True)
        return 1 - torch.cat([p[nearest, label].mean(dim=1) for nearest, label in parts])
