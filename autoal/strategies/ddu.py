"""DDU: samples in a region where no class has its labels, by a Gaussian density of the embeddings per class.

    q(z) = sum_c pi_c N(z; mu_c, Sigma_c),    pi_c = n_c / L,    score = -log q(z)

With as few labels as active learning has a covariance estimated from n_c < D samples is singular, so that it is drawn
towards the sphere of the pool's mean variance s2 with the weight of one sample (PRIOR):

    Sigma_c = (sum over the class of (z - mu_c)(z - mu_c)^T + PRIOR s2 I) / (n_c + PRIOR)
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from autoal.strategies.base import ScoreStrategy
from autoal.strategies.frozen import features
from autoal.types import Context

PRIOR = 1.0  # samples
CHUNK = 8192  # rows whose densities are computed at a time
SMALLEST_VARIANCE = 1e-12  # of a pool whose embeddings are all the same


class Ddu(ScoreStrategy):
    """The lowest density under a Gaussian per class of the labeled embeddings."""

    name = "ddu"
    needs = ("embeddings", "labels")
    reference = "Mukhoti et al. 2023"

    def score(self, context: Context) -> Tensor:
        """[N] float64, -log q in nats, of embeddings that are centered and scaled as FitNet's are."""
        assert context.labels is not None
        z = features(context)[:, :-1]  # no bias column
        total = sum(float(part.double().square().sum()) for part in z.split(CHUNK))
        variance = max(total / z.numel(), SMALLEST_VARIANCE)
        labeled = z[torch.from_numpy(context.labeled)].double()
        labels = torch.from_numpy(context.labels)
        classes = [ClassDensity(labeled[labels == c], variance) for c in np.unique(context.labels)]
        log_share = torch.tensor([math.log(one.n / len(labels)) for one in classes], dtype=torch.float64)
        parts = []
        for part in z.split(CHUNK):
            log_density = torch.stack([one.log_density(part.double()) for one in classes], dim=1)  # [n, classes]
            parts.append(-(log_density + log_share.to(log_density)).logsumexp(dim=1))
        return torch.cat(parts)


class ClassDensity:
    """N(z; mu_c, Sigma_c) of the rows z [n_c, D] float64 of one class.

    Sigma_c = s I + R^T R with R [n_c, D]: with n_c < D it is inverted by Woodbury's identity, so that a class costs
    O(D n_c) per sample.
    """

    def __init__(self, z: Tensor, variance: float) -> None:
        self.n, width = z.shape
        self.mean = z.mean(dim=0)
        rows = (z - self.mean) / math.sqrt(self.n + PRIOR)
        self.floor = PRIOR * variance / (self.n + PRIOR)  # s
        self.few = self.n < width
        gram = rows @ rows.T if self.few else rows.T @ rows
        gram.diagonal().add_(self.floor)
        factor = torch.linalg.cholesky(gram)
        log_det = 2 * float(factor.diagonal().log().sum())
        if self.few:
            log_det += (width - self.n) * math.log(self.floor)
            self.half = torch.linalg.solve_triangular(factor, rows, upper=False)  # [n_c, D]
        else:
            identity = torch.eye(width, dtype=z.dtype, device=z.device)
            self.half = torch.linalg.solve_triangular(factor, identity, upper=False)  # [D, D]
        self.log_norm = -0.5 * (log_det + width * math.log(2 * math.pi))

    def log_density(self, z: Tensor) -> Tensor:
        """[n] log N(z; mu_c, Sigma_c) of z [n, D] float64."""
        centered = z - self.mean
        squares = (centered @ self.half.T).square().sum(dim=1)
        if self.few:
            squares = (centered.square().sum(dim=1) - squares).clamp_min(0) / self.floor
        return self.log_norm - 0.5 * squares
