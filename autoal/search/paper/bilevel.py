"""Alternating optimisation of two levels. Knows closures and optimisers, and nothing about active learning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """One player.

    Attributes:
        loss: step -> its loss; whatever belongs to the other level must be detached in it.
        optimizer: Of its own parameters.
    """

    loss: Callable[[int], Tensor]
    optimizer: torch.optim.Optimizer

    def descend(self, step: int) -> float:
        """One step down; gives the gradient's norm."""
        self.optimizer.zero_grad()
        loss = self.loss(step)
        if loss.requires_grad:
            loss.backward()
        gradients = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt() if gradients else torch.zeros(())
        self.optimizer.step()
        return float(norm)


def alternate(lower: Level, upper: Level, steps: int) -> dict[str, list[float]]:
    """``steps`` rounds of one step each: upper, then lower.

    First-order differentiation, as in the paper and in first-order DARTS (Liu et al. 2019): each level's gradient takes
    the other's parameters as constants; no gradient passes through the lower level's optimisation.

    Returns:
        The gradients' norms by level, ``{"lower": [steps], "upper": [steps]}``.
    """
    norms: dict[str, list[float]] = {"lower": [], "upper": []}
    for step in range(steps):
        norms["upper"].append(upper.descend(step))
        norms["lower"].append(lower.descend(step))
    return norms
