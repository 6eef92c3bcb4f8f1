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
CHUNK = 8192  # rows converted at a time


def scale_of(mean_squares: Tensor, center: Tensor) -> float:
    """The factor that brings centered features with these mean squares [D] to ``MEAN_SQUARED_NORM``.

    Columns in which all samples are alike do not count: what is left of them beside their center [D] is rounding. The
    factor is 1 where there are no others.
    """
    varying = mean_squares > (ROUNDING * center.to(mean_squares)) ** 2
    mean_squared_norm = float(mean_squares[varying].sum())
    return float(np.sqrt(MEAN_SQUARED_NORM / max(mean_squared_norm, SMALLEST))) if bool(varying.any()) else 1.0


def prepare(embeddings: Tensor) -> Tensor:
    """Embeddings [N, D] of a pool as float32 [N, D + 1]: centered, scaled, and a last column of ones for the bias."""
    x = torch.empty(len(embeddings), embeddings.shape[1] + 1, dtype=torch.float32, device=embeddings.device)
    for i in range(0, len(x), CHUNK):
        x[i : i + CHUNK, :-1] = embeddings[i : i + CHUNK]
    parts = x[:, :-1].split(CHUNK)  # views
    held = torch.empty(len(parts[0]), x.shape[1] - 1, dtype=torch.float64, device=x.device)  # one buffer for all parts

    def double(part: Tensor) -> Tensor:
        return held[: len(part)].copy_(part)

    center = torch.stack([double(part).sum(0) for part in parts]).sum(0) / len(x)
    squares = []
    for part in parts:
        part.copy_(double(part).sub_(center))
        squares.append(double(part).square_().sum(0))
    x[:, :-1].mul_(scale_of(torch.stack(squares).sum(0) / len(x), center))
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
