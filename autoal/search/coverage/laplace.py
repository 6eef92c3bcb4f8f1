"""How unsure FitNet is of each point, calibrated in closed form: a diagonal-block Laplace approximation of its weights.

    H_c = sum_{i in L} p_ic (1 - p_ic) x_i x_i^T + ridge I,   v_ic = x_i^T H_c^-1 x_i,
    pt = softmax(z_ic / sqrt(1 + pi / 8 v_ic)),               u_i = 1 - (pt(1) - pt(2))

No hold-out set is needed. One class at a time, with m = min(L, D): O(D m) memory beside z [N, C]; about 2 C N D m
operations.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import RIDGE, probabilities

ALL_CLASSES_UP_TO = 32
SMALLEST_UNCERTAINTY = 1e-6


def laplace_uncertainty(x: Tensor, weight: np.ndarray, x_labeled: Tensor) -> Tensor:
    """u [N] float32 in (0, 1]: one minus the margin of the calibrated probabilities.

    With more than 32 classes v is computed for the two leading classes of each point only, and the others take the
    mean of the two: the cost is then that of two classes per point.

    Args:
        x: [N, D] float32 features, bias included.
        weight: [D, C] float64, FitNet's.
        x_labeled: [L, D] float32 features that FitNet was fitted to.
    """
    z = x @ torch.from_numpy(weight).to(x)  # [N, C]
    p = probabilities(x_labeled.double(), weight)  # [L, C]
    if z.shape[1] <= ALL_CLASSES_UP_TO:
        for c in range(z.shape[1]):
            z[:, c] *= _shrinkage(_variance(x, x_labeled, p[:, c]))
    else:
        leading = z.topk(2, dim=1).indices  # [N, 2]
        variance = torch.empty_like(leading, dtype=x.dtype)
        for c in range(z.shape[1]):
            rows, column = (leading == c).nonzero(as_tuple=True)
            if len(rows):
                variance[rows, column] = _variance(x[rows], x_labeled, p[:, c])
        shrunk = z.gather(1, leading) * _shrinkage(variance)
        z *= _shrinkage(variance.mean(1, keepdim=True))
        z.scatter_(1, leading, shrunk)
    first, second = top_two(torch.softmax(z, dim=1))
    return (1 - (first - second)).clamp_min(SMALLEST_UNCERTAINTY)


def top_two(p: Tensor) -> tuple[Tensor, Tensor]:
    """The largest and the second largest of each row of p [N, C]: [N] each; the second is 0 if C = 1."""
    if p.shape[1] == 1:
        return p[:, 0], torch.zeros_like(p[:, 0])
    first, second = p.topk(2, dim=1).values.unbind(1)
    return first, second


def _variance(x: Tensor, x_labeled: Tensor, p: Tensor) -> Tensor:
    """v [n] of one class for points x [n, D], given the labeled ones [L, D] and their probabilities p [L] of it."""
    rows = x_labeled.double() * (p * (1 - p)).sqrt()[:, None]
    if len(rows) < rows.shape[1]:  # Woodbury's identity: L x L instead of D x D
        gram = rows @ rows.T
        gram.diagonal().add_(RIDGE)
        half = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), rows, upper=False).to(x)  # [L, D]
        parts = [part.square().sum(1) - (part @ half.T).square().sum(1) for part in x.split(8192)]
        return torch.cat(parts).clamp_min(0) / RIDGE
    hessian = rows.T @ rows
    hessian.diagonal().add_(RIDGE)
    factor = torch.linalg.cholesky(hessian)
    identity = torch.eye(len(hessian), dtype=hessian.dtype, device=hessian.device)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False).to(x)  # H^-1 = inverse^T inverse
    return torch.cat([(part @ inverse.T).square().sum(1) for part in x.split(8192)])


def _shrinkage(variance: Tensor) -> Tensor:
    return (1 + math.pi / 8 * variance).rsqrt()
