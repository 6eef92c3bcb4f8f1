"""The similarity of two points on the unit sphere, its bandwidth, and how well the labels cover a point."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.models.softmax_regression import part_rows
from autoal.ops.rows import Rows

BLOCK = 1 << 24  # similarities held at a time: 64 MiB
SMALLEST_SQUARED_DISTANCE = 1e-3  # bounds gamma where labeled points coincide


def kernel(a: Tensor, b: Tensor, gamma: float) -> Tensor:
    """k = exp(-gamma |a - b|^2) between unit rows a [n, D] and b [m, D]: [n, m] float32 in (0, 1]."""
    return kernel_of_similarity(a @ b.T, gamma)


def kernel_of_similarity(similarity: Tensor, gamma: float) -> Tensor:
    """k of inner products of unit vectors, in their place; |a - b|^2 = 2 - 2 <a, b>."""
    return similarity.clamp_(-1, 1).sub_(1).mul_(2 * gamma).exp_()


def nearest_similarity(a: Rows, b: Tensor) -> Tensor:
    """The largest inner product of each row of a [n, D] with a row of b [m, D], in blocks: [n]."""
    rows = max(1, min(BLOCK // len(b), part_rows(a.width)))
    nearest = torch.empty(len(a), device=a.device)
    for part, out in zip(a.parts(rows), nearest.split(rows), strict=True):
        torch.amax(part @ b.T, 1, out=out)
    return nearest


def bandwidth(unit_labeled: Tensor) -> float:
    """gamma: one over the median squared distance of a labeled point [L, D] to the nearest other one; 1 if alone."""
    if len(unit_labeled) < 2:
        return 1.0
    nearest = []
    rows = max(1, BLOCK // len(unit_labeled))
    for start in range(0, len(unit_labeled), rows):
        similarity = unit_labeled[start : start + rows] @ unit_labeled.T
        similarity.diagonal(start).fill_(-1)  # not itself
        nearest.append(similarity.amax(1))
    squared_distance = 2 - 2 * torch.cat(nearest)
    return 1 / max(float(squared_distance.quantile(0.5)), SMALLEST_SQUARED_DISTANCE)
