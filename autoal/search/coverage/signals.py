"""What hints at an error of FitNet on a point: the four signals phi of SearchNet that need no candidate strategy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoal.search.coverage.laplace import top_two

SIGNALS = ("small margin", "low confidence", "neighborhood disagreement", "distance to the labels")
LARGEST_LOG_MARGIN = 6.0
NUMBERS = 1 << 22  # probabilities held at a time: 16 MiB


def signals(z: Tensor, rows: np.ndarray, neighbors: np.ndarray, covered: Tensor) -> np.ndarray:
    """phi [r, 4] float64 of the points ``rows``.

    Args:
        z: [n, C] FitNet's logits.
        rows: [r] int64 rows of z.
        neighbors: [r, k] int64 rows of z, the nearest neighbors of each point.
        covered: [r] the largest kernel value of each point with a training point of FitNet.
    """
    length = max(1, NUMBERS // z.shape[1])  # no second [n, C] is held
    log_norm = torch.cat([part.logsumexp(1) for part in z.split(length)])  # [n]
    parts = zip(torch.from_numpy(rows).split(length), torch.from_numpy(neighbors).split(length), strict=True)
    of_outputs = torch.cat([_of_outputs(z, log_norm, own.to(z.device), others.to(z.device)) for own, others in parts])
    return torch.column_stack([of_outputs, 1 - covered]).double().cpu().numpy()


def _of_outputs(z: Tensor, log_norm: Tensor, rows: Tensor, neighbors: Tensor) -> Tensor:
    """The first three signals [r, 3]."""
    p = z[rows].softmax(1)
    first, second = top_two(p)
    predicted = p.argmax(1, keepdim=True)
    agreement = (z[neighbors, predicted] - log_norm[neighbors]).exp().mean(1)
    small_margin = -torch.log((first + 1e-6) / (second + 1e-6)).clamp_max(LARGEST_LOG_MARGIN)
    low_confidence = torch.log((1 - first).clamp_min(0) + 1e-3)
    return torch.stack([small_margin, low_confidence, 1 - agreement], dim=1)
