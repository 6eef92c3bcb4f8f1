"""How unsure FitNet is of each point, calibrated in closed form: a diagonal-block Laplace approximation of its weights.

    H_c = sum_{i in L} p_ic (1 - p_ic) x_i x_i^T + ridge I,   v_ic = x_i^T H_c^-1 x_i,
    pt = softmax(z_ic / sqrt(1 + pi / 8 v_ic)),               u_i = 1 - (pt(1) - pt(2))

No hold-out set is needed. With m = min(L, D) beside z [N, C]: 64 MiB, or D m numbers where these are more, and about
2 C N D m operations.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from autoal.models.softmax_regression import RIDGE, part_rows, probabilities
from autoal.ops.rows import Rows

ALL_CLASSES_UP_TO = 32
ROOT_NUMBERS = 1 << 24  # in the roots of several classes that are held together
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
    if z.width <= ALL_CLASSES_UP_TO:
        shrinkage = _shrinkage(_variances(x, x_labeled, p))  # [N, C]
        parts = zip(z.parts(length), shrinkage.split(length), strict=True)
        return torch.cat([_uncertainty(part * shrunk) for part, shrunk in parts])
    leading = torch.cat([part.topk(2, dim=1).indices for part in z.parts(length)])  # [N, 2]
    variance = torch.empty(leading.shape, device=x.device)
    for c in range(z.width):
        rows, column = (leading == c).nonzero(as_tuple=True)
        if len(rows):
            variance[rows, column] = _variances(x.take(rows), x_labeled, p[:, c : c + 1])[:, 0]
    uncertainty = []
    for part, classes, v in zip(z.parts(length), leading.split(length), variance.split(length), strict=True):
        of_others = part * _shrinkage(v.mean(1, keepdim=True))
        uncertainty.append(_uncertainty(of_others.scatter(1, classes, part.gather(1, classes) * _shrinkage(v))))
    return torch.cat(uncertainty)


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
    by_labels = len(x_labeled) < x.width
    length = part_rows(x.width)
    at_once = max(1, ROOT_NUMBERS // (min(len(x_labeled), x.width) * x.width))  # points are made for so many classes
    for start in range(0, p.shape[1], at_once):
        some = slice(start, start + at_once)
        roots = [_root(x_labeled, column) for column in p[:, some].T]
        for part, out in zip(x.parts(length), variances[:, some].split(length), strict=True):
            squares = torch.stack([(part @ root.T).square_().sum(1) for root in roots], dim=1)
            if by_labels:
                squares = (part.square().sum(1, keepdim=True) - squares).clamp_min_(0) / RIDGE
            out.copy_(squares)
    return variances


def _root(x_labeled: Tensor, p: Tensor) -> Tensor:
    """R [m, D] with v = |R x|^2, or if L < D by Woodbury's identity v = (|x|^2 - |R x|^2) / ridge; p [L] of the class."""
    rows = x_labeled.double() * (p * (1 - p)).sqrt()[:, None]
    by_labels = len(rows) < rows.shape[1]
    gram = rows @ rows.T if by_labels else rows.T @ rows
    gram.diagonal().add_(RIDGE)
    right = rows if by_labels else torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return torch.linalg.solve_triangular(torch.linalg.cholesky(gram), right, upper=False).to(x_labeled)


def _shrinkage(variance: Tensor) -> Tensor:
    return (1 + math.pi / 8 * variance).rsqrt()
