"""How unsure FitNet is of each point, calibrated in closed form: a diagonal-block Laplace approximation of its weights.

    H_c = sum_{i in L} p_ic (1 - p_ic) x_i x_i^T + ridge I,   v_ic = x_i^T H_c^-1 x_i,
    pt = softmax(z_ic / sqrt(1 + pi / 8 v_ic)),               u_i = 1 - (pt(1) - pt(2))

No hold-out set is needed. With m = min(L, D) beside z [N, C]: 64 MiB, or D m numbers where these are more, and about
2 C N D m operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import RIDGE, part_rows, probabilities
from autoal.ops.rows import Rows

ALL_CLASSES_UP_TO = 32
FACTOR_NUMBERS = 1 << 24  # of several classes, held together
SMALLEST_UNCERTAINTY = 1e-6


def laplace_uncertainty(x: Rows, z: Rows, weight: np.ndarray, x_labeled: Tensor) -> Tensor:
    """u [N] float32 in (0, 1]: one minus the margin of the calibrated probabilities.

    With more than 32 classes v is computed for the two leading classes of each point only, and the others take the
    mean of the two: the cost is then that of two classes per point.

    Args:
        x: [N, D] float32 features, bias included.
        z: [N, C] FitNet's logits of them.
        weight: [D, C] float64, FitNet's.
        x_labeled: [L, D] float32 features that FitNet was fitted to.
    """
    p = probabilities(x_labeled.double(), weight)  # [L, C]
    length = part_rows(max(x.width, z.width))
    u = torch.empty(len(x), device=x.device)
    if z.width <= ALL_CLASSES_UP_TO:
        variance = _variances(x, x_labeled, p)  # [N, C]
        for part, v, out in zip(z.parts(length), variance.split(length), u.split(length), strict=True):
            out.copy_(_uncertainty(part * _shrinkage(v)))
        return u
    leading = torch.empty(len(x), 2, dtype=torch.int64, device=x.device)
    for part, classes in zip(z.parts(length), leading.split(length), strict=True):
        classes.copy_(part.topk(2, dim=1).indices)
    variance = torch.empty(len(x), 2, device=x.device)
    for c in range(z.width):
        rows, column = (leading == c).nonzero(as_tuple=True)
        if len(rows):
            variance[rows, column] = _variances(x.take(rows), x_labeled, p[:, c : c + 1])[:, 0]
    parts = zip(z.parts(length), leading.split(length), variance.split(length), u.split(length), strict=True)
    for part, classes, v, out in parts:
        of_others = part * _shrinkage(v.mean(1, keepdim=True))
        out.copy_(_uncertainty(of_others.scatter(1, classes, part.gather(1, classes) * _shrinkage(v))))
    return u


def top_two(p: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and the second largest of each row of p [N, C]: [N] each; the second is 0 if C = 1."""
    if p.shape[1] == 1:
        return p[:, 0], torch.zeros_like(p[:, 0])
    first, second = p.topk(2, dim=1).values.unbind(1)
    return first, second


def _uncertainty(z: Tensor) -> Tensor:
    """u [n] of calibrated logits [n, C]."""
    first, second = top_two(torch.softmax(z, dim=1))
    return (1 - (first - second)).clamp_min(SMALLEST_UNCERTAINTY)


def _variances(x: Rows, x_labeled: Tensor, p: Tensor) -> Tensor:
    """v [n, K] of K classes for points x [n, D], given the labeled ones [L, D] and their probabilities p [L, K]."""
    variances = torch.empty(len(x), p.shape[1], device=x.device)
    length = part_rows(x.width)
    at_once = max(1, FACTOR_NUMBERS // (min(len(x_labeled), x.width) * x.width))
    for start in range(0, p.shape[1], at_once):  # points are made once for so many classes
        some = slice(start, start + at_once)
        variance_of = [_variance(x_labeled, column) for column in p[:, some].T]
        for part, out in zip(x.parts(length), variances[:, some].split(length), strict=True):
            for k, variance in enumerate(variance_of):
                out[:, k] = variance(part)
    return variances


def _variance(x_labeled: Tensor, p: Tensor) -> Callable[[Tensor], Tensor]:
    """x [n, D] -> v [n] of one class, given the labeled points [L, D] and their probabilities p [L] of it."""
    rows = x_labeled.double() * (p * (1 - p)).sqrt()[:, None]
    if len(rows) < rows.shape[1]:  # Woodbury's identity: L x L instead of D x D
        root = torch.linalg.solve_triangular(_factor(rows.T), rows, upper=False).to(x_labeled)  # [L, D]
        return lambda x: (x.square().sum(1) - (x @ root.T).square_().sum(1)).clamp_min_(0) / RIDGE
    factor = _factor(rows).to(x_labeled)
    return lambda x: torch.linalg.solve_triangular(factor.T, x, upper=True, left=False).square_().sum(1)


def _factor(rows: Tensor) -> Tensor:
    """Cholesky's of rows^T rows + ridge, float64; NumPy sees that the product is symmetric, and computes half of it."""
    gram = rows.T @ rows if rows.is_cuda else torch.from_numpy(rows.numpy().T @ rows.numpy())
    gram.diagonal().add_(RIDGE)
    return torch.linalg.cholesky(gram)


def _shrinkage(variance: Tensor) -> Tensor:
    return (1 + math.pi / 8 * variance).rsqrt()
