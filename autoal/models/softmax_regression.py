"""Softmax regression: the head of the linear task model and the FitNet of AutoAL. Convex, so its minimum is unique.

The objective is the summed cross-entropy plus ``RIDGE / 2 |W|^2`` (bias included) on features that are centered and
scaled to a mean squared norm of ``MEAN_SQUARED_NORM``, so that one ridge suits any embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch import Tensor

RIDGE = 10.0
MEAN_SQUARED_NORM = 128.0
GRADIENT_TOLERANCE = 1e-3  # largest entry of the gradient at which L-BFGS stops
ROUNDING = float(np.finfo(np.float32).eps)
SMALLEST = 1e-70  # mean squared norm: the factor stays within float32
CHUNK, NUMBERS = 8192, 1 << 22  # most rows, and numbers in them, that are converted at a time: 16 MiB of float32


def scale_of(mean_squares: Tensor, center: Tensor) -> float:
    """The factor that brings centered features with these mean squares [D] to ``MEAN_SQUARED_NORM``.

    Columns in which all samples are alike do not count: what is left of them beside their center [D] is rounding. The
    factor is 1 where there are no others.
    """
    varying = mean_squares > (ROUNDING * center.to(mean_squares)) ** 2
    mean_squared_norm = float(mean_squares[varying].sum())
    return float(np.sqrt(MEAN_SQUARED_NORM / max(mean_squared_norm, SMALLEST))) if bool(varying.any()) else 1.0


def part_rows(width: int) -> int:
    """How many rows of so many numbers are converted at a time."""
    return min(CHUNK, max(1, NUMBERS // width))


def centering(embeddings: Tensor) -> tuple[Tensor, float]:
    """Mean [D] float64 of embeddings [N, D], and the factor that scales them once they are centered."""
    n, width = embeddings.shape
    parts = embeddings.split(part_rows(width))
    # What is allocated between parts would lie in the memory of the last one, and the next one take new memory.
    sums = torch.empty(2, len(parts), width, dtype=torch.float64, device=embeddings.device)
    wide = torch.empty(len(parts[0]), width, dtype=torch.float64, device=embeddings.device)
    single = torch.empty(wide.shape, dtype=torch.float32, device=embeddings.device)

    def double(part: Tensor) -> Tensor:
        return wide[: len(part)].copy_(single[: len(part)].copy_(part))

    for part, out in zip(parts, sums[0], strict=True):
        torch.sum(double(part), 0, out=out)
    center = sums[0].sum(0) / n
    for part, out in zip(parts, sums[1], strict=True):
        centered = single[: len(part)].copy_(double(part).sub_(center))
        torch.sum(double(centered).square_(), 0, out=out)
    return center, scale_of(sums[1].sum(0) / n, center)


def prepare(embeddings: Tensor) -> Tensor:
    """Embeddings [N, D] of a pool as float32 [N, D + 1]: centered, scaled, and a last column of ones for the bias."""
    center, scale = centering(embeddings)
    x = torch.empty(len(embeddings), embeddings.shape[1] + 1, dtype=torch.float32, device=embeddings.device)
    length = part_rows(embeddings.shape[1])
    for part, rows in zip(embeddings.split(length), x[:, :-1].split(length), strict=True):
        rows.copy_(part.float().double() - center).mul_(scale)
    x[:, -1] = 1
    return x


def fit(x: np.ndarray, y: np.ndarray, n_classes: int, start: np.ndarray | None = None) -> np.ndarray:
    """The weights W that minimise the regularised cross-entropy, by L-BFGS.

    Args:
        x: [L, D] float64 features; the bias, if any, is a column of ones.
        y: [L] int64 class numbers in [0, n_classes).
        n_classes: C.
        start: [D, C] weights to start from; others than of this shape are ignored.

    Returns:
        [D, C] float64.
    """
    shape, rows = (x.shape[1], n_classes), np.arange(len(y))

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(shape)
        z = x @ weight  # [L, C]
        log_norm = logsumexp(z, axis=1)
        loss = log_norm.sum() - z[rows, y].sum() + RIDGE / 2 * np.square(weight).sum()
        residual = np.exp(z - log_norm[:, None])
        residual[rows, y] -= 1
        return loss, (x.T @ residual + RIDGE * weight).ravel()

    first = np.zeros(shape) if start is None or start.shape != shape else start
    options = {"gtol": GRADIENT_TOLERANCE}
    return minimize(objective, first.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(shape)


def probabilities(x: Tensor, weight: np.ndarray) -> Tensor:
    """p [N, C] float32 of features x [N, D] under weights [D, C], on the device of x."""
    return torch.softmax(x @ torch.from_numpy(weight).to(x), dim=1)
