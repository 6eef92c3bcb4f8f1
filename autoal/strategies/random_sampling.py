"""Random sampling: the baseline that every strategy must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.strategies.base import ScoreStrategy
from autoal.types import Context


class RandomSampling(ScoreStrategy):
    """Every unlabeled sample is equally likely."""

    name = "random"
    reference = "-"

    def score(self, context: Context) -> Tensor:
        """[N] uniform draws."""
        return torch.from_numpy(context.generator(self.name).random(len(context)))
