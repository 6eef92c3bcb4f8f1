"""What hints at an error of FitNet on a point: the four signals phi of SearchNet that need no candidate strategy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoal.search.coverage.laplace import top_two

SIGNALS = ("small margin", "low confidence", "neighborhood disagreement", "distance to the labels")
LARGEST_LOG_MARGIN = 6.0


def signals(p: Tensor, rows: np.ndarray, neighbors: np.ndarray, covered: Tensor) -> np.ndarray:
    """phi [r, 4] float64 of the points ``rows``.

    Args:
        p: [n, C] FitNet's probabilities.
        rows: [r] int64 rows of p.
        neighbors: [r, k] int64 rows of p, the nearest neighbors of each point.
        covered: [r] the largest kernel value of each point with a training point of FitNet.
    """
    own = p[torch.from_numpy(rows).to(p.device)]
    first, second = top_two(own)
    predicted = own.argmax(1, keepdim=True)
    agreement = p[torch.from_numpy(neighbors).to(p.device), predicted].mean(1)
    small_margin = -torch.log((first + 1e-6) / (second + 1e-6)).clamp_max(LARGEST_LOG_MARGIN)
    low_confidence = torch.log((1 - first).clamp_min(0) + 1e-3)
    return torch.stack([small_margin, low_confidence, 1 - agreement, 1 - covered], dim=1).double().cpu().numpy()
