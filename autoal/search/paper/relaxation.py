"""From scores to a differentiable selection: mixture threshold, annealed sigmoid, soft count."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

COMPONENTS = 2
EM_STEPS = 10
BISECTIONS = 30
MIN_DEVIATION = 1e-3
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.05  # scores lie in [0, 1]


def mixture_quantile(scores: Tensor, share: float) -> float:
    """The value that a Gaussian mixture fitted to scores [B] exceeds with probability ``share``.

    Two components by expectation maximisation from the quartiles; the quantile by bisection of the mixture's
    distribution function, where the paper takes that of a sample drawn from it. Carries no gradient: in numpy, as some
    hundred operations on so few numbers would be most of a step in torch.
    """
    values = scores.detach().double().cpu().numpy()
    mean = np.quantile(values, [0.25, 0.75])
    deviation = np.full(COMPONENTS, max(values.std(), MIN_DEVIATION))
    weight = np.full(COMPONENTS, 1 / COMPONENTS)
    for _ in range(EM_STEPS):
        log_density = -0.5 * ((values[:, None] - mean) / deviation) ** 2 + np.log(weight / deviation)
        belongs = np.exp(log_density - log_density.max(axis=1, keepdims=True))  # [B, 2]
        belongs /= belongs.sum(axis=1, keepdims=True)
        mass = belongs.sum(axis=0).clip(min=1e-9)
        mean = values @ belongs / mass
        variance = (belongs * (values[:, None] - mean) ** 2).sum(axis=0) / mass
        deviation = np.sqrt(variance).clip(min=MIN_DEVIATION)
        weight = mass / mass.sum()
    low, high = float((mean - 8 * deviation).min()), float((mean + 8 * deviation).max())
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = float(weight @ ndtr((mean - middle) / deviation))
        low, high = (middle, high) if above > share else (low, middle)
    return (low + high) / 2


def temperature(step: int, steps: int) -> float:
    """Falls geometrically from ``FIRST_TEMPERATURE`` to ``LAST_TEMPERATURE``: never so low that gradients vanish."""
    done = step / max(steps - 1, 1)
    return FIRST_TEMPERATURE * (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** done


def selection(weights: Tensor, scores: Tensor, share: float, tau: float) -> Tensor:
    """Sbar [B] in (0, 1): how far a sample is selected.

    Args:
        weights: [B, S] SearchNet's weights W, rows summing to 1.
        scores: [B, S] the candidates' scores S in [0, 1].
        share: t, the share of the batch to select.
        tau: Temperature.

    ``sum_k W_k (S_k - theta_t)``, squashed by a sigmoid as in DARTS; theta_t is the mixture's quantile.
    """
    mixed = (weights * scores).sum(dim=1)
    return torch.sigmoid((mixed - mixture_quantile(mixed, share)) / tau)


def count_regulariser(selected: Tensor, share: float) -> Tensor:
    """L_re [] = 1 / (1 + exp(|alpha - t B| / 2)) - 1/2, alpha the soft count of selected [B]: 0 at t B, else below."""
    excess = (selected.sum() - share * len(selected)).abs()
    return torch.sigmoid(-0.5 * excess) - 0.5
