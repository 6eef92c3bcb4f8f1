"""FitNet on frozen embeddings: softmax regression, on all labels and, to see it err, on halves of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoal.models import softmax_regression
from autoal.models.dropout_head import MC_SAMPLES, mc_dropout_logits
from autoal.models.softmax_regression import part_rows
from autoal.ops.rows import Rows, as_rows
from autoal.search.features import Features


@dataclass(frozen=True)
class FitNet:
    """A fitted softmax regression.

    Attributes:
        weight: [D + 1, C] float64, the bias last.
    """

    weight: np.ndarray

    @staticmethod
    def fitted(x: Tensor, y: np.ndarray, n_classes: int, start: FitNet | None = None) -> FitNet:
        """The FitNet of prepared features x [L, D + 1] and class numbers y [L], from the weights of ``start``."""
        rows = x.double().cpu().numpy()
        return FitNet(softmax_regression.fit(rows, y, n_classes, None if start is None else start.weight))

    def probabilities(self, x: Tensor) -> Tensor:
        """p [n, C] float32 of prepared features x [n, D + 1]."""
        return softmax_regression.probabilities(x, self.weight)

    def logits(self, x: Tensor | Rows) -> Tensor:
        """z [n, C] float32 of prepared features x [n, D + 1]."""
        x = as_rows(x)
        weight = torch.from_numpy(self.weight).to(x.device, torch.float32)
        z = torch.empty(len(x), weight.shape[1], device=x.device)
        for part, out in zip(x.parts(part_rows(x.width)), z.split(part_rows(x.width)), strict=True):
            torch.mm(part, weight, out=out)
        return z

    def mc_logits(self, x: Tensor | Rows, seed: int) -> Tensor:
        """[T, n, C] under dropout on the features; the T masks depend on the seed alone and are shared by all rows."""
        x = as_rows(x)
        weight = torch.from_numpy(self.weight).to(x.device, torch.float32)
        z = torch.empty(MC_SAMPLES, len(x), weight.shape[1], device=x.device)
        for part, out in zip(x.parts(part_rows(x.width)), z.split(part_rows(x.width), dim=1), strict=True):
            masks = torch.Generator().manual_seed(seed)
            mc_dropout_logits(part[:, :-1], weight[:-1], weight[-1], masks, out=out)
        return z

    @property
    def mc_numbers_per_row(self) -> int:
        """T * C."""
        return MC_SAMPLES * self.weight.shape[1]


@dataclass(frozen=True)
class Half:
    """A FitNet that saw one half of the labels; the other half plays the unlabeled pool.

    Attributes:
        train, held: Positions in the labeled set, ascending.
        fit_net: Fitted to ``train``.
    """

    train: np.ndarray
    held: np.ndarray
    fit_net: FitNet


def halves(
    features: Features, labeled: np.ndarray, labels: np.ndarray, n_classes: int, repeats: int, rng: np.random.Generator
) -> Iterator[Half]:
    """Two halves per random split of the labels, ``repeats`` splits; none of a single label."""
    x = features.x[torch.from_numpy(labeled)]
    for _ in range(repeats if len(labeled) > 1 else 0):
        one, other = map(np.sort, np.array_split(rng.permutation(len(labeled)), 2))
        for train, held in ((one, other), (other, one)):
            yield Half(train, held, FitNet.fitted(x[torch.from_numpy(train)], labels[train], n_classes))
