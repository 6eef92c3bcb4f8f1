"""The model's last layer, found again from its outputs: strategies see logits and embeddings, but no model."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.types import Context

CHUNK = 8192  # samples converted to float64 together
UNEXPLAINED = 0.01  # share of the logits' variance above which they are said not to be linear
RANK_TOLERANCE = 1e-12  # of the correlation matrix, relative to its largest eigenvalue: 1e-6 of the embeddings'
ROUNDING = float(np.finfo(np.float32).eps)  # a column that varies less, relative to its mean, is constant


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

    With no more samples than features many heads explain the logits; it is the one of smallest weights, of features
    brought to one scale.

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
    n, (d, c) = len(embeddings), (embeddings.shape[1], logits.shape[1])
    center, mean = np.zeros(d), np.zeros(c)
    for x, z in _parts(embeddings, logits):
        center += x.sum(dim=0).cpu().numpy() / n
        mean += z.sum(dim=0).cpu().numpy() / n
    gram, cross, squares = np.zeros((d, d)), np.zeros((d, c)), 0.0
    for x, z in _parts(embeddings, logits):
        x, z = x - torch.from_numpy(center).to(x), z - torch.from_numpy(mean).to(z)
        gram += (x.T @ x).cpu().numpy()
        cross += (x.T @ z).cpu().numpy()
        squares += float(z.square().sum())
    # Columns of one scale, or the rank would depend on the embeddings' unit, and on how far they lie from the origin.
    width = np.sqrt(gram.diagonal())
    width[width <= ROUNDING * np.sqrt(n) * np.abs(center)] = np.inf
    weight = np.linalg.pinv(gram / np.outer(width, width), rcond=RANK_TOLERANCE, hermitian=True) @ (cross.T / width).T
    weight /= width[:, None]
    left = squares - 2 * float((weight * cross).sum()) + float((weight * (gram @ weight)).sum())
    if left > max(UNEXPLAINED * squares, 1e-9 * (squares + n * float(np.square(mean).sum()))):
        warnings.warn(
            f"logits are not linear in the embeddings ({left / squares:.0%} of their variance is left): features are "
            "perturbed under the linear head that fits best; give the embeddings that the last layer sees",
            stacklevel=2,
        )
    bias = mean - center @ weight
    return LinearHead(*(torch.from_numpy(part).to(embeddings.device, torch.float32) for part in (weight, bias)))


def _parts(embeddings: Tensor, logits: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Some rows at a time: embeddings and, centered in each row, logits, both float64."""
    for x, z in zip(embeddings.split(CHUNK), logits.split(CHUNK), strict=True):
        z = z.double()
        yield x.double(), z - z.mean(dim=1, keepdim=True)
