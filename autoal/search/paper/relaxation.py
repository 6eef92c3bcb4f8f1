"""From scores to a differentiable selection: mixture threshold, annealed sigmoid, soft count."""

from __future__ import annotations

import math

import torch
from torch import Tensor

COMPONENTS = 2
EM_STEPS = 10
BISECTIONS = 30
MIN_DEVIATION = 1e-3
FIRST_TEMPERATURE, LAST_TEMPERATURE = 0.5, 0.05  # scores lie in [0, 1]


def mixture_quantile(scores: Tensor, share: float) -> Tensor:
    """The value [] that a Gaussian mixture fitted to scores [B] exceeds with probability ``share``.

    Two components by expectation maximisation from the quartiles; the quantile by bisection of the mixture's
    distribution function, where the paper takes that of a sample drawn from it. Carries no gradient.
    """
    values = scores.detach().double().flatten()
    mean = torch.quantile(values, values.new_tensor([0.25, 0.75]))
    deviation = values.std(correction=0).clamp_min(MIN_DEVIATION).repeat(COMPONENTS)
    weight = values.new_full((COMPONENTS,), 1 / COMPONENTS)
    for _ in range(EM_STEPS):
        log_density = -0.5 * ((values[:, None] - mean) / deviation) ** 2 - deviation.log() + weight.log()
        belongs = log_density.softmax(dim=1)  # [B, 2]
        mass = belongs.sum(0).clamp_min(1e-9)
        mean = (belongs * values[:, None]).sum(0) / mass
        deviation = ((belongs * (values[:, None] - mean) ** 2).sum(0) / mass).sqrt().clamp_min(MIN_DEVIATION)
        weight = mass / mass.sum()
    low, high = (mean - 8 * deviation).min(), (mean + 8 * deviation).max()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = (weight * (0.5 - 0.5 * torch.erf((middle - mean) / (deviation * math.sqrt(2))))).sum()
        low, high = torch.where(above > share, middle, low), torch.where(above > share, high, middle)
    return ((low + high) / 2).to(scores.dtype)


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
