"""The loss-prediction module of Yoo & Kweon (2019): from a net's intermediate features to the loss it expects."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 32
MARGIN = 1.0


class LossPrediction(nn.Module):
    """One small layer per feature level, concatenated, one output."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Linear(width, WIDTH) for width in widths)
        self.out = nn.Linear(WIDTH * len(widths), 1)

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Features [N, c_i] per level to predicted losses [N]."""
        parts = [functional.relu(level(part)) for level, part in zip(self.levels, features, strict=True)]
        return self.out(torch.cat(parts, dim=1))[:, 0]


def ranking_loss(predicted: Tensor, losses: Tensor) -> Tensor:
    """The margin ranking loss [] over pairs (first half, second half) of predicted [N] and true losses [N]."""
    half = len(predicted) // 2
    if half == 0:
        return predicted.sum() * 0
    difference = predicted[:half] - predicted[half : 2 * half]
    sign = torch.sign(losses[:half] - losses[half : 2 * half]).detach()
    return functional.relu(MARGIN - sign * difference).mean()
