"""MaxHerding and UHerding: greedy coverage of the pool under a Gaussian kernel, of all samples or of uncertain ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoal import ops
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.pool_geometry import unit_rows
from autoal.strategies.temperature import calibrating_temperature
from autoal.strategies.uncertainty import checked_logits
from autoal.types import Context

MOST_TARGETS = 10_000  # samples that a gain is summed over; of a larger pool so many are drawn
MOST_LABELED = 4096  # labeled rows that are compared to all others; of more so many in even steps
NUMBERS = 1 << 22  # distances between labeled rows that are held together
SAME = 1e-3  # a distance on the unit sphere that may be rounding


class MaxHerding(Strategy):
    """Each pick adds most to the mean, over the pool, of the similarity to the nearest chosen or picked sample."""

    name = "maxherding"
    needs = ("embeddings",)
    reference = "Bae et al. 2024"

    RADIUS = 1.0  # of the kernel exp(-d^2 / radius^2) on rows of length one

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the gain in coverage, summed over the pool."""
        return herd(context, size, self.name, torch.ones(len(context)), self.RADIUS)


class UHerding(Strategy):
    """Each pick adds most to the coverage of uncertain samples; the kernel narrows as labels come closer.

    Args:
        temperature: Whether the probabilities are calibrated by temperature scaling first, as in the paper. That needs
            labels.
    """

    name = "uherding"
    needs: tuple[str, ...] = ("logits", "embeddings", "labels")
    reference = "Bae et al. 2025"

    def __init__(self, temperature: bool = True) -> None:
        self.temperature = temperature
        self.needs = ("logits", "embeddings", "labels") if temperature else ("logits", "embeddings")

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order; the score is the gain in uncertainty-weighted coverage, summed over the pool."""
        logits = checked_logits(context)
        if self.temperature:
            logits = logits.float() / calibrating_temperature(context)
        uncertainty = ops.uncertainty_scores(logits).margin
        radius = labeled_radius(unit_rows(context)[torch.from_numpy(context.chosen)])
        picks = herd(context, size, self.name, uncertainty, radius)
        return picks._replace(provenance={"uncertainty": uncertainty.cpu().numpy()[picks.indices]})


class RawUHerding(UHerding):
    """UHerding on the model's probabilities as they are, without temperature scaling."""

    name = "uherding_raw"
    needs = ("logits", "embeddings")
    reference = "Bae et al. 2025, without its temperature"

    def __init__(self) -> None:
        super().__init__(temperature=False)


def herd(context: Context, size: int, purpose: str, weights: Tensor, radius: float) -> Picks:
    """The ``size`` unlabeled samples that cover most of the pool's weights [N], under a kernel of this radius."""
    # Chosen samples cover themselves and are no targets: only how far they cover the others matters.
    chosen, rest = torch.from_numpy(context.chosen), torch.from_numpy(context.unchosen)
    unit, gamma = unit_rows(context), radius**-2
    points = unit[rest]
    covered = None
    if len(chosen):
        covered = torch.exp(-gamma * ops.knn(points, unit[chosen], 1).distances[:, 0].square())
    picks, gains, _ = ops.coverage_greedy(
        points,
        size,
        weights=weights[rest],
        excluded=np.searchsorted(context.unchosen, context.closed),
        covered=covered,
        bandwidth=gamma,
        metric="l2",
        targets=MOST_TARGETS,
        seed=int(context.generator(purpose).integers(2**62)),
        return_gains=True,
    )
    return Picks(context.unchosen[picks.cpu().numpy()], gains.cpu().numpy())


def labeled_radius(unit: Tensor) -> float:
    """The smallest distance between two chosen rows [L, D] that are not copies; 1 if there are none."""
    if len(unit) < 2:
        return MaxHerding.RADIUS
    rows = torch.nn.functional.normalize(unit.double(), dim=1)  # lengths of float32 are off by more than is looked for
    squares = rows.square().sum(dim=1)  # 0 of a row of zeros
    smallest = rows.new_full((), torch.inf)
    compared = torch.arange(0, len(rows), -(-len(rows) // MOST_LABELED))
    for part in compared.split(max(1, NUMBERS // len(rows))):
        squared = squares[part, None] + squares - 2 * rows[part] @ rows.T
        smallest = torch.minimum(smallest, squared.masked_fill_(squared <= SAME**2, torch.inf).min())
    return float(smallest.sqrt()) if smallest < torch.inf else MaxHerding.RADIUS
