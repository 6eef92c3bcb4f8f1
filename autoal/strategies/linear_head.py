"""The model's last layer, found again from its outputs: strategies see logits and embeddings, but no model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.types import Context

CHUNK = 8192  # samples converted to float64 together
UNEXPLAINED = 0.01  # share of the logits' variance above which they are said not to be linear
RANK_TOLERANCE = 1e-12  # of the Gram matrix, relative to its largest eigenvalue: 1e-6 of the embeddings'


@dataclass(frozen=True)
class LinearHead:
    """logits = embeddings @ weight + bias, up to a number per sample, which a softmax does not see.

    Attributes:
        weight: [D, C] float32.
        bias: [C] float32.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """[n, C] logits of embeddings [n, D]."""
        return torch.addmm(self.bias, embeddings.float(), self.weight)


def linear_head(context: Context) -> LinearHead:
    """The least-squares fit of the pool's logits on its embeddings, once per round: exact where the head is linear.

    Raises:
        ValueError: If logits are not finite.

    Warns:
        UserWarning: If more than 1 % of the logits' variance is left: what follows is then about another head.
    """
    return context.once(
        "linear_head", lambda: _fit(context.outputs.require("embeddings"), context.outputs.require("logits"))
    )


def _fit(embeddings: Tensor, logits: Tensor) -> LinearHead:
    checks.require_finite(logits, "logits")
    n, d, c = *embeddings.shape, logits.shape[1]
    gram, cross = np.zeros((d + 1, d + 1)), np.zeros((d + 1, c))
    squares = 0.0
    for x, z in zip(embeddings.split(CHUNK), logits.split(CHUNK), strict=True):
        z = z.double() - z.double().mean(dim=1, keepdim=True)
        x = torch.cat([x.double(), x.new_ones(len(x), 1, dtype=torch.float64)], dim=1)
        gram += (x.T @ x).cpu().numpy()
        cross += (x.T @ z).cpu().numpy()
        squares += float(z.square().sum())
    weight = np.linalg.pinv(gram, rcond=RANK_TOLERANCE, hermitian=True) @ cross
    left = squares - 2 * float((weight * cross).sum()) + float((weight * (gram @ weight)).sum())
    spread = squares - float(np.square(cross[-1]).sum()) / n  # around the mean of each class
    if left > max(UNEXPLAINED * spread, 1e-9 * squares):
        warnings.warn(
            f"logits are not linear in the embeddings ({left / spread:.0%} of their variance is left): features are "
            "perturbed under the linear head that fits best; give the embeddings that the last layer sees",
            stacklevel=2,
        )
    head = torch.from_numpy(weight).to(embeddings.device, torch.float32)
    return LinearHead(head[:-1], head[-1])
