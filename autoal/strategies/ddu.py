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
NUMBERS = 1 << 22  # held while densities are computed
CHUNK = 8192  # rows whose squares are summed at a time
SMALLEST_VARIANCE = 1e-12  # of a pool whose embeddings are all the same


class Ddu(ScoreStrategy):
    """The lowest density under a Gaussian per class of the labeled embeddings."""

    name = "ddu"
    needs = ("embeddings", "labels")
    reference = "Mukhoti et al. 2023"

    def score(self, context: Context) -> Tensor:
        """[N] float64, -log q in nats, of embeddings that are centered and scaled as FitNet's are.

        -inf of labeled samples: where most of a pool is labeled, they would take most of the time.
        """
        assert context.labels is not None
        z = features(context)[:, :-1]  # no bias column
        total = sum(float(part.double().square().sum()) for part in z.split(CHUNK))
        variance = max(total / z.numel(), SMALLEST_VARIANCE)
        labeled = z[torch.from_numpy(context.labeled)].double()
        labels = torch.from_numpy(context.labels).to(z.device)
        density = Mixture([labeled[labels == c] for c in np.unique(context.labels)], variance)
        scores = torch.full((len(z),), -torch.inf, dtype=torch.float64, device=z.device)
        step = max(1, NUMBERS // max(len(density.whitened), z.shape[1]))
        for part in torch.from_numpy(context.unlabeled).split(step):
            scores[part] = -density.log(z[part].double())
        return scores


class Mixture:
    """q(z) of the rows z [n_c, D] float64 of each class.

    Sigma_c = s I + R^T R with R [n_c, D]: with n_c < D it is inverted by Woodbury's identity, so that all classes
    together cost O(L D) per sample, in one product.
    """

    def __init__(self, classes: list[Tensor], variance: float) -> None:
        self.means = torch.stack([z.mean(dim=0) for z in classes])  # [K, D]
        whitened, constants, floors = [], [], []
        n_labels, width = sum(map(len, classes)), self.means.shape[1]
        for z, mean in zip(classes, self.means, strict=True):
            n = len(z)
            rows = (z - mean) / math.sqrt(n + PRIOR)
            floor = PRIOR * variance / (n + PRIOR)  # s
            gram = rows @ rows.T if n < width else rows.T @ rows
            gram.diagonal().add_(floor)
            factor = torch.linalg.cholesky(gram)
            log_det = 2 * float(factor.diagonal().log().sum()) + max(width - n, 0) * math.log(floor)
            constants.append(math.log(n / n_labels) - 0.5 * (log_det + width * math.log(2 * math.pi)))
            floors.append(floor if n < width else 0.0)
            right = rows if n < width else torch.eye(width, dtype=z.dtype, device=z.device)
            whitened.append(torch.linalg.solve_triangular(factor, right, upper=False))  # [min(n_c, D), D]
        self.whitened = torch.cat(whitened)
        self.shift = torch.cat([part @ mean for part, mean in zip(whitened, self.means, strict=True)])
        self.sizes = [len(part) for part in whitened]
        self.constants, self.floors = self.means.new_tensor(constants), self.means.new_tensor(floors)

    def log(self, z: Tensor) -> Tensor:
        """[n] log q of z [n, D] float64."""
        squares = (z @ self.whitened.T).sub_(self.shift).square_()
        distance = torch.stack([part.sum(dim=1) for part in squares.split(self.sizes, dim=1)], dim=1)  # [n, K]
        to_mean = z.square().sum(dim=1, keepdim=True) - 2 * z @ self.means.T + self.means.square().sum(dim=1)
        few = self.floors > 0
        distance[:, few] = (to_mean - distance)[:, few].clamp_min(0) / self.floors[few]
        return (self.constants - 0.5 * distance).logsumexp(dim=1)
