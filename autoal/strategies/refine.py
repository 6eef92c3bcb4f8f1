"""REFINE: many strategies narrow the pool down together, round after round; UHerding picks from what is left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from autoal import checks
from autoal.strategies.bait import Bait
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.herding import UHerding
from autoal.strategies.temperature import calibrating_temperature
from autoal.strategies.uncertainty import checked_logits
from autoal.types import OUTPUT_NAMES, Context, Outputs


class Refine(Strategy):
    """Progressive filtering: the union of what M strategies pick from random subsamples is the next, smaller pool.

    Args:
        strategies: Names, classes or objects. None: the nine of the authors' experiments.
        rounds: R.
        share: alpha, the part of the current pool that a subsample holds.
        batches: Batches per round, over all strategies together.

    Raises:
        TypeError: If one is no strategy.
        ValueError: If a name is unknown, comes twice or is ``refine`` itself, or a number is out of range.
    """

    name = "refine"
    needs: tuple[str, ...] = ("logits", "embeddings", "labels")
    reference = "Huseljic et al. 2026"

    DEFAULT = (
        "random",
        "margin",
        "badge",
        Bait("binary"),
        "typiclust",
        "alfamix",
        "dropquery",
        "maxherding",
        "uherding",
    )
    MOST_SUBSAMPLE = 5_000  # samples that a strategy is shown
    MOST_POOL = 10_000  # samples after a round

    def __init__(
        self,
        strategies: Sequence[str | type[Strategy] | Strategy] | None = None,
        rounds: int = 5,
        share: float = 0.4,
        batches: int = 100,
    ) -> None:
        from autoal.strategies import resolve  # its table of names holds this class

        self.strategies = [resolve(one) for one in (self.DEFAULT if strategies is None else strategies)]
        labels = [one.label for one in self.strategies]
        if not labels or len(set(labels)) < len(labels) or self.name in labels:
            raise ValueError(f"strategies must be different ones, at least one, and not 'refine' itself; got {labels}")
        self.rounds = checks.as_count(rounds, "rounds")
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {share}")
        self.share = share
        self.batches = checks.as_count(batches, "batches", low=len(labels))
        self._select = UHerding()
        asked = {need for one in (*self.strategies, self._select) for need in (*one.needs, *one.wants)}
        self.needs = tuple(need for need in (*OUTPUT_NAMES, "labels") if need in asked)

    def pick(self, context: Context, size: int) -> Picks:
        """UHerding's picks, in its order and with its gains; how many batches of the last round held a pick."""
        start = time.perf_counter()
        checked_logits(context)  # a strategy would name rows of what it is shown
        heat = calibrating_temperature(context)
        rng = context.generator(self.name)
        pool = context.unlabeled
        votes = np.zeros(len(context), np.int64)
        for _ in range(self.rounds):
            if len(pool) <= size:
                break
            votes = np.zeros(len(context), np.int64)
            subsample = max(size, min(int(self.share * len(pool)), self.MOST_SUBSAMPLE))
            for strategy in self.strategies:
                for _ in range(self.batches // len(self.strategies)):
                    shown = np.sort(rng.choice(pool, subsample, replace=False))
                    votes[_query(strategy, context, shown, size, int(rng.integers(2**62)), heat).indices] += 1
            pool = np.flatnonzero(votes)
            if len(pool) > self.MOST_POOL:
                pool = np.sort(rng.choice(pool, self.MOST_POOL, replace=False))
        filtered = time.perf_counter()
        query = _query(self._select, context, pool, size, int(rng.integers(2**62)), heat)
        timings = {"filter": filtered - start, "select": time.perf_counter() - filtered}
        return Picks(query.indices, query.scores, query.provenance | {"batches": votes[query.indices]}, timings=timings)


def _query(strategy: Strategy, context: Context, shown: np.ndarray, size: int, seed: int, heat: float) -> Picks:
    """The strategy's picks [B] among ``shown`` [n] pool indices, as if these and the chosen samples were the pool."""
    part = np.concatenate([context.chosen, shown])
    index = torch.from_numpy(part)
    outputs: dict[str, torch.Tensor] = {}
    for name in OUTPUT_NAMES:
        if context.outputs.has(name) and name in {*strategy.needs, *strategy.wants}:
            values = context.outputs.require(name)
            outputs[name] = values[:, index] if name == "mc_logits" else values[index]
    if not outputs:
        outputs["embeddings"] = context.outputs.require("embeddings")[index]
    inputs = None if context.inputs is None else context.inputs[index]
    seen = replace(
        context,
        outputs=Outputs(**outputs),
        labeled=np.arange(len(context.labeled)),
        seed=seed,
        inputs=inputs,
        pending=np.arange(len(context.labeled), len(context.chosen)),
        closed=np.empty(0, np.int64),
        shared={"temperature": heat},
    )
    query = strategy.query(seen, size)
    return Picks(part[query.indices], query.scores, query.provenance)
