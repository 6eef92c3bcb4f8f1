"""MaxHerding and UHerding: greedy coverage of the pool under a Gaussian kernel, of all samples or of uncertain ones."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal import ops
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.pool_geometry import unit_rows
from autoal.strategies.temperature import calibrating_temperature
from autoal.types import Context

MOST_TARGETS = 10_000  # samples that a gain is summed over; of a larger pool so many are drawn
BLOCK = 2048  # labeled rows whose distances are held together with those to all others
SAME = 1e-3  # a distance on the unit sphere that may be rounding


class MaxHerding(Strategy):
    """Each pick adds most to the mean, over the pool, of the similarity to the nearest labeled or picked sample."""

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
        logits = context.outputs.require("logits")
        if self.temperature:
            logits = logits.float() / calibrating_temperature(context)
        uncertainty = ops.uncertainty_scores(logits).margin
        radius = labeled_radius(unit_rows(context)[torch.from_numpy(context.labeled)])
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
    weights = weights.clone()
    weights[torch.from_numpy(context.labeled)] = 0  # covered by themselves: not worth a target
    picks, gains, _ = ops.coverage_greedy(
        unit_rows(context),
        size,
        weights=weights,
        labeled=context.labeled,
        bandwidth=radius**-2,
        metric="l2",
        targets=MOST_TARGETS,
        seed=int(context.generator(purpose).integers(2**62)),
        return_gains=True,
    )
    return Picks(picks.cpu().numpy(), gains.cpu().numpy())


def labeled_radius(unit: Tensor) -> float:
    """The smallest distance between two labeled rows [L, D] that are not copies; 1 if there are none."""
    rows = unit.double()
    smallest = rows.new_full((), torch.inf)
    for part in rows.split(BLOCK) if len(rows) else ():
        distances = (2 - 2 * part @ rows.T).clamp_min_(0).sqrt_()
        smallest = torch.minimum(smallest, distances.masked_fill_(distances <= SAME, torch.inf).min())
    return float(smallest) if smallest < torch.inf else MaxHerding.RADIUS
