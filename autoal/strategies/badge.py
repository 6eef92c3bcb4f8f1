"""BADGE: diverse, uncertain batches by D^2 sampling of gradient embeddings."""

from __future__ import annotations

import torch

from autoal import ops
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.uncertainty import checked_logits
from autoal.types import Context


class Badge(Strategy):
    """k-means++ over the last layer's gradients g = (p - onehot(argmax p)) (x) h, which are never formed."""

    name = "badge"
    needs = ("logits", "embeddings")
    reference = "Ash et al. 2020"

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the pick's gradient norm |g|."""
        logits, embeddings = checked_logits(context), context.outputs.require("embeddings")
        seed = int(context.generator(self.name).integers(2**63 - 1))
        picked = ops.gradient_kmeanspp(logits, embeddings, size, excluded=context.barred, seed=seed)
        p = logits[picked].float().softmax(dim=1)
        p -= torch.nn.functional.one_hot(p.argmax(dim=1), p.shape[1])
        norm = p.norm(dim=1) * embeddings[picked].float().norm(dim=1)
        return Picks(picked.cpu().numpy(), norm.cpu().numpy())
