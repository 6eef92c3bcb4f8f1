"""BoSS, an oracle to measure others by: of many batches the one that helps most, by the true labels.

It is no strategy for people without labels: it stands apart from ``STRATEGIES``, and an experiment makes it with its
oracle.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.oracle import Oracle
from autoal.search.autoal import AutoAL
from autoal.search.candidates import Candidates
from autoal.search.fit_net import FitNet
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.frozen import features, fit_net
from autoal.types import Context

# And AutoAL's query.
CANDIDATES = (
    "random",
    "margin",
    "entropy",
    "bald",
    "typiclust",
    "kcenter",
    "badge",
    "powerbald",
    "maxherding",
    "uherding",
)
SMALLEST_SUBSET = 4  # batches' worth of samples
LARGEST_SUBSET = 5_000  # samples
EVALUATED = 10_000  # most unlabeled samples on which a batch's effect is counted


class Boss(Strategy):
    """The best of many batches, known by trying them with their true labels (for experiments only).

    Each candidate strategy in turn picks a batch from a random subset of the unlabeled samples, of random size, until
    there are ``batches``. For each a softmax regression on the embeddings learns the labels so far and the batch's true
    ones; the batch kept is the one after which most other unlabeled samples are classified rightly.

    It is the best that its candidates can do in one round, not over many: a curve may lie above its curve.

    Args:
        oracle: Gives the true classes [n] of pool indices [n].
        candidates: Names, classes or objects of strategies; by default the classics, and the coverage query of AutoAL.
        batches: How many are tried.
    """

    name = "boss"
    needs = ("embeddings", "labels")
    reference = "Huseljic et al. 2026 (BoSS)"

    def __init__(
        self,
        oracle: Oracle,
        candidates: Iterable[str | type[Strategy] | Strategy] | None = None,
        batches: int = 100,
    ) -> None:
        if not callable(oracle):
            raise TypeError(f"oracle must be a callable from indices to true labels, got {checks.describe(oracle)}")
        self.oracle = oracle
        if candidates is None:
            candidates = (*CANDIDATES, AutoAL(("margin",), search="prior"))
        self.candidates = Candidates(candidates)
        self.wants = tuple(name for name in self.candidates.needs if name not in self.needs)
        self.batches = checks.as_count(batches, "batches", low=1)

    def pick(self, context: Context, size: int) -> Picks:
        """The best batch in its candidate's order; the score is the gain in accuracy, the same for all its picks.

        Raises:
            ValueError: If the oracle contradicts the labels: then it does not know this pool.
        """
        assert context.labels is not None
        if not np.array_equal(self.oracle(context.labeled), context.labels):
            raise ValueError("the oracle of 'boss' contradicts the labels: it must know the classes of this very pool")
        x, start, rng = features(context), fit_net(context), context.generator(self.name)
        evaluated = context.unlabeled
        if len(evaluated) > EVALUATED:
            evaluated = np.sort(rng.choice(evaluated, EVALUATED, replace=False))
        truth = self.oracle(evaluated)
        before = right(start, x, evaluated, truth)
        best, best_gain, arm = np.empty(0, np.int64), -np.inf, 0
        for number in range(self.batches):
            k = number % len(self.candidates)
            batch = self.candidates.batch_among(k, context, start, x, size, self._subset(context, size, rng))
            after = right(self._learnt(context, x, batch, start), x, evaluated, truth)
            gain = float((after.astype(float) - before)[~np.isin(evaluated, batch)].sum()) / len(evaluated)
            if gain > best_gain:
                best, best_gain, arm = batch, gain, k
        names = np.array(self.candidates.names)
        return Picks(best, np.full(size, best_gain), {"candidate": np.repeat(names[arm], size)})

    def _subset(self, context: Context, size: int, rng: np.random.Generator) -> np.ndarray:
        """Random unlabeled samples, ascending, at least a few batches' worth where there are as many."""
        unlabeled = context.unlabeled
        low = min(len(unlabeled), SMALLEST_SUBSET * size)
        high = max(low, min(len(unlabeled), LARGEST_SUBSET))
        return np.sort(rng.choice(unlabeled, rng.integers(low, high + 1), replace=False))

    def _learnt(self, context: Context, x: Tensor, batch: np.ndarray, start: FitNet) -> FitNet:
        """FitNet of the labels so far and of the batch's true ones."""
        assert context.labels is not None
        rows = torch.from_numpy(np.concatenate([context.labeled, batch]))
        y = np.concatenate([context.labels, self.oracle(batch)])
        return FitNet.fitted(x[rows], y, context.n_classes, start)


def right(net: FitNet, x: Tensor, rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[n] bool: are the samples ``rows`` classified as the truth [n] says?"""
    return net.logits(x[torch.from_numpy(rows)]).argmax(dim=1).cpu().numpy() == truth


ORACLE_STRATEGIES: dict[str, type[Boss]] = {Boss.name: Boss}
