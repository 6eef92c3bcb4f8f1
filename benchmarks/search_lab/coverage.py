"""The coverage query and what may be changed in it: weights, power of the multiplier, bandwidth, kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autoal import ops
from autoal.ops.rows import Rows
from autoal.search.coverage.evidence import HALVINGS, HISTORY, Asked, prequential
from autoal.search.coverage.kernel import kernel_of_similarity, nearest_similarity
from autoal.search.coverage.search_net import Evidence, SearchNet
from autoal.search.coverage.signals import signals
from autoal.search.fit_net import halves

from . import propagation
from .task import State

SMALLEST_WEIGHT = 1e-9
SUREST = 1e-4  # a teacher that has no doubt may still err
KERNELS: dict[str, Callable[[Tensor], Tensor]] = {  # of squared distances
    "gaussian": lambda squared: torch.exp(-squared),
    "rational": lambda squared: 1 / (1 + squared),
    "laplacian": lambda squared: torch.exp(-squared.sqrt()),
}
WEIGHTS: dict[str, Callable[[State], np.ndarray]] = {  # [N]; SearchNet's e is the query's own
    "prior": lambda state: SearchNet(0).error_probability(state.phi),
    "u": lambda state: state.uncertainty,
    "one": lambda state: np.ones(len(state.task.y)),
    "oracle": lambda state: state.reducible,
    "errors": lambda state: (state.predicted != state.task.y).astype(float),
    "doubt": lambda state: np.maximum(propagation.doubt(state), SUREST),
    "gain": lambda state: np.maximum(propagation.gain(state), SUREST),
    "variation": lambda state: np.maximum(propagation.variation(state), SUREST),
}


@dataclass(frozen=True)
class Coverage:
    """A query: argmax_i u_i^power sum_j w_j max(0, k(i, j) - m_j), pick by pick. An object serves one run.

    Attributes:
        weight, beside: w is the square root of their product; "e" or keys of ``WEIGHTS``.
        power: Of the multiplier.
        narrow: A factor of the product's gamma.
        rho: gamma is also divided by r^rho, with r in [0.01, 1] the median squared distance of a labeled sample to the
            nearest other one, over the mean of all pairs of the pool.
        kernel: A key of ``KERNELS``.
        classes: Weight of the squared distance between calibrated class probabilities beside that of the samples.
        asked: The run's queries so far, from whose answers SearchNet learns where e is the ``weight``.
    """

    weight: str = "e"
    beside: str = "u"
    power: float = 1.0
    narrow: float = 1.0
    rho: float = 0.0
    kernel: str = "gaussian"
    classes: float = 0.0
    asked: list[Asked] = field(default_factory=list)

    def __call__(self, state: State) -> np.ndarray:
        """Picks [B]."""
        unlabeled, uncertainty = state.unlabeled, state.uncertainty
        weight = np.maximum(
            np.sqrt(self._weight(self.weight, state) * self._weight(self.beside, state)), SMALLEST_WEIGHT
        )
        points = np.sqrt(self._gamma(state)) * state.task.unit  # their distances are what kernels take
        if self.classes:
            points = torch.cat([points, np.sqrt(self.classes) * state.p_calibrated], dim=1)
        kernel, free = KERNELS[self.kernel], points[unlabeled]
        covered = kernel(torch.cdist(free, points[state.labeled]).amin(1).square())
        w, gain = (torch.from_numpy(v[unlabeled]).float() for v in (weight, uncertainty**self.power))
        size = state.task.query_size
        if self.kernel == "gaussian":
            found = ops.coverage_greedy(free, size, weights=w, gain=gain, covered=covered, bandwidth=1.0, metric="l2")
        else:
            similarity = kernel(torch.cdist(free, free).square()).fill_diagonal_(1)
            found = dense_greedy(similarity, size, w, gain, covered)
        picks = unlabeled[found.numpy()]
        if self.weight == "e":
            self.asked.append(Asked(len(state.labeled), picks, state.phi[picks], state.predicted[picks]))
        return picks

    def _weight(self, name: str, state: State) -> np.ndarray:
        return error(state, self.asked) if name == "e" else WEIGHTS[name](state)

    def _gamma(self, state: State) -> float:
        mean = 2 - 2 * float(state.task.unit.mean(0).square().sum())  # over all pairs of the pool
        ratio = 1 / (state.gamma * max(mean, 1e-3))
        return self.narrow * state.gamma * min(max(ratio, 1e-2), 1.0) ** -self.rho


def error(state: State, asked: list[Asked]) -> np.ndarray:
    """e [N] of SearchNet without candidates, fitted to this round's cross-fit errors and the answers to queries."""
    task, features, parts = state.task, state.task.features, []
    for half in halves(features, state.labeled, task.y[state.labeled], task.n_classes, HALVINGS, state.generator(5)):
        train, held = state.labeled[half.train], state.labeled[half.held]
        z = half.fit_net.logits(task.x)
        covered = kernel_of_similarity(nearest_similarity(Rows(task.unit[held]), task.unit[train]), state.gamma)
        wrong, one = z.argmax(1).numpy()[held] != task.y[held], np.ones(len(held))
        parts.append(Evidence(signals(z, held, features.graph[held], covered), wrong, one / HALVINGS, one))
    parts += [prequential(one, task.y) for one in asked[-HISTORY:]]
    search_net = SearchNet(0)
    search_net.fit(Evidence.joined(parts, width=state.phi.shape[1]))
    return search_net.error_probability(state.phi)


def dense_greedy(similarity: Tensor, size: int, weight: Tensor, gain: Tensor, covered: Tensor) -> Tensor:
    """``ops.coverage_greedy`` of a matrix of similarities [U, U], for kernels that it has not."""
    picks: list[int] = []
    for _ in range(size):
        value = gain * ((similarity - covered).clamp_min_(0) @ weight)
        value[picks] = -1
        picks.append(int(value.argmax()))
        covered = torch.maximum(covered, similarity[picks[-1]])
    return torch.tensor(picks)
