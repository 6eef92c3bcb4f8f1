"""One round of the coverage variant, top to bottom. ``docs/algorithm.md`` has the equations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autoal.ops.coverage_in_parts import Worth, coverage_in_parts
from autoal.ops.rows import Rows
from autoal.search.candidates import Candidates
from autoal.search.coverage import evidence
from autoal.search.coverage.kernel import bandwidth, kernel_of_similarity, nearest_similarity
from autoal.search.coverage.laplace import laplace_uncertainty
from autoal.search.coverage.search_net import SearchNet
from autoal.search.coverage.signals import signals
from autoal.search.features import Features, Prepared
from autoal.search.fit_net import FitNet
from autoal.search.stopwatch import Stopwatch
from autoal.strategies.rounds import Rounds
from autoal.types import Context

MOST_TARGETS = 10_000  # samples that a gain is summed over


@dataclass(frozen=True)
class Choice:
    """A variant's batch among the unlabeled samples.

    Attributes:
        positions: [B] positions among the unlabeled samples, best first.
        scores: [B] gains, or SearchNet's scores.
        strategy_weights: [S] non-negative, summing to one.
        columns: Provenance [B] of the picks.
    """

    positions: np.ndarray
    scores: np.ndarray
    strategy_weights: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Coverage:
    """What the query needs to know of the unlabeled samples besides their weights.

    Attributes:
        unit: [U, D + 1] unit rows, made when they are looked at.
        uncertainty: [U] u, the multiplier of a gain.
        nearness: [U] the largest kernel value with a labeled sample.
        covered: [U] m, the same with a chosen one: what is pending covers, too.
        gamma: The kernel's bandwidth.
    """

    unit: Prepared
    uncertainty: Tensor
    nearness: Tensor
    covered: Tensor
    gamma: float

    @staticmethod
    def of(context: Context, features: Features, fit_net: FitNet, logits: Tensor) -> Coverage:
        """The coverage that the labels give, and FitNet's uncertainty, calibrated from its ``logits`` [N, C]."""
        labeled, unlabeled = torch.from_numpy(context.labeled), torch.from_numpy(context.unlabeled)
        unit, unit_labeled = features.unit.take(unlabeled), features.unit[labeled]
        x, z = features.x.take(unlabeled), Rows(logits).take(unlabeled)
        uncertainty = laplace_uncertainty(x, z, fit_net.weight, features.x[labeled])
        gamma = bandwidth(unit_labeled)
        nearness = covered = kernel_of_similarity(nearest_similarity(unit, unit_labeled), gamma)
        if len(context.pending):
            pending = features.unit[torch.from_numpy(context.pending)]
            covered = torch.maximum(covered, kernel_of_similarity(nearest_similarity(unit, pending), gamma))
        return Coverage(unit, uncertainty, nearness, covered, gamma)

    def query(self, weight: np.ndarray, size: int, context: Context) -> tuple[np.ndarray, np.ndarray, dict]:
        """Positions [B] of the batch that covers most of ``weight`` [U]; gains [B]; provenance [B] of the query."""
        worth = Worth(
            torch.from_numpy(weight).to(self.uncertainty), self.uncertainty, self.covered, bandwidth=self.gamma
        )
        seed = int(context.generator("targets").integers(2**62))
        picks, worths = coverage_in_parts(self.unit, size, worth, MOST_TARGETS, seed)
        positions, gains = picks.cpu().numpy(), worths.cpu().numpy()
        columns = {
            "uncertainty": self.uncertainty.cpu().numpy()[positions],
            "weight": weight[positions].astype(np.float32),
            "targets": np.full(size, min(len(self.unit), MOST_TARGETS)),  # how many samples a gain was summed over
        }
        return positions, gains, columns


class CoverageSearch:
    """Rounds of one run on one pool; remembers its queries, whose answers SearchNet learns from.

    Args:
        search: "adaptive" fits SearchNet to the task, "prior" keeps its meta-prior, "none" has e = u.
        damped: w = sqrt(e u) instead of e.
        candidates: Their ranks are further signals of SearchNet.
    """

    def __init__(self, search: str, damped: bool, candidates: Candidates) -> None:
        self.search, self.damped, self.candidates = search, damped, candidates
        self.rounds: Rounds[evidence.Asked] = Rounds()

    def forget(self) -> None:
        """Starts afresh, for another pool."""
        self.rounds = Rounds()

    def settle(self, asked: np.ndarray) -> None:
        """Of the last query only the samples ``asked`` [B] count."""
        self.rounds.settle(asked)

    def choose(
        self,
        context: Context,
        features: Features,
        fit_net: FitNet,
        logits: Tensor,
        ranks: np.ndarray,
        size: int,
        clock: Stopwatch,
    ) -> Choice:
        """The batch of this round; ``logits`` [N, C] are FitNet's, ``ranks`` [U, S] the candidates'."""
        history = self.rounds.before(context)

        coverage = Coverage.of(context, features, fit_net, logits)
        clock.lap("calibration")

        graph = features.graph
        clock.lap("neighbors")

        unlabeled = context.unlabeled
        phi = np.column_stack([signals(logits, unlabeled, graph[unlabeled], coverage.nearness), ranks - 0.5])
        search_net = SearchNet(len(self.candidates))
        if self.search == "adaptive":
            share = size / len(unlabeled)
            search_net.fit(evidence.gather(context, features, coverage.gamma, self.candidates, share, history))
        clock.lap("search")

        u = coverage.uncertainty.double().cpu().numpy()
        e = u if self.search == "none" else search_net.error_probability(phi)
        weight = np.sqrt(e * u) if self.damped else e
        positions, gains, columns = coverage.query(weight, size, context)
        clock.lap("selection")

        picks = unlabeled[positions]
        predicted = logits[torch.from_numpy(picks)].argmax(1).cpu().numpy()
        self.rounds.add(evidence.Asked(len(context.labeled), picks, phi[positions], predicted))
        columns["error_probability"] = e[positions].astype(np.float32)
        logit = None if self.search == "none" else search_net.logit(phi)
        return Choice(positions, gains, strategy_weights(logit, ranks), columns)


def strategy_weights(logit: np.ndarray | None, ranks: np.ndarray) -> np.ndarray:
    """[S] each candidate's share in what SearchNet looks for, summing to one.

    The correlation, over the unlabeled samples, of SearchNet's logit [U] with a candidate's ranks [U, S] adds up what
    the coefficients give to the candidate itself and to the signals that go along with it. Negative ones count as 0.
    Uniform where there is no SearchNet (``logit`` is None) or nothing correlates.
    """
    n = ranks.shape[1]
    if logit is None:
        return np.full(n, 1 / n)
    centered, columns = logit - logit.mean(), ranks - ranks.mean(axis=0)
    norms = np.linalg.norm(columns, axis=0) * np.linalg.norm(centered)
    correlation = np.divide(centered @ columns, norms, out=np.zeros(n), where=norms > 1e-12).clip(min=0)
    return correlation / correlation.sum() if correlation.sum() > 0 else np.full(n, 1 / n)
