"""SelectAL: asks which labels the classifier would miss most, those of a low- or of a high-budget strategy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.search.candidates import Candidates, half_context
from autoal.search.fit_net import FitNet
from autoal.strategies.automated import Automated
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.frozen import features, fit_net
from autoal.strategies.rounds import Asked
from autoal.types import Context

LOW, MIDDLE, HIGH = "typiclust", "random", "margin"
REPEATS = 5  # random splits of the labels
POOL, TEST = 0.2, 0.2  # shares of the labels that play the unlabeled pool, and that tell the error
REMOVED = 0.5  # share of that pool whose labels are taken away
TIES = 1e-6
FEWEST_LABELS = 10  # fewer say nothing of any budget


class SelectAL(Automated[Asked]):
    """Follows the candidate without whose choice of labels the classifier errs most: low, middle or high budget.

    Strategies for low budgets ask for typical samples, those for high budgets for uncertain ones, and which budget is
    low depends on the task. The labels are split at random: a part stays, of another part each candidate chooses
    samples as if they were unlabeled, and FitNet learns without these. The candidate whose choice is missed most, by
    the error on the rest of the labels, makes the query. With fewer than 10 labels it is the first candidate.

    Args:
        candidates: Names, classes or objects of strategies, the one for the lowest budgets first.
        repeats: Random splits.
    """

    name = "selectal"
    reference = "Hacohen & Weinshall 2023"

    def __init__(
        self, candidates: Iterable[str | type[Strategy] | Strategy] = (LOW, MIDDLE, HIGH), repeats: int = REPEATS
    ) -> None:
        super().__init__(candidates)
        self.repeats = checks.as_count(repeats, "repeats", low=1)

    def pick(self, context: Context, size: int) -> Picks:
        """The batch of the candidate that is missed most; the score falls from 1 by rank."""
        arm = 0
        if len(context.labeled) >= FEWEST_LABELS:
            arm = int(self.errors(context).mean(axis=0).argmax())
        one_hot = np.eye(len(self.candidates))[arm]
        followed = Candidates((self.candidates.strategies[arm],))
        (chosen,) = followed.batches(context, fit_net(context), features(context), size)
        return self.picks(chosen, 1 - np.arange(size) / size, np.full(size, arm), one_hot)

    def errors(self, context: Context) -> np.ndarray:
        """[repeats, S] the error of FitNet without each candidate's choice of labels.

        On few test samples candidates often tie: then, by ``TIES`` of it, the mean of 1 - p(y) decides.
        """
        assert context.labels is not None
        x = features(context)[torch.from_numpy(context.labeled)]
        y, rng = context.labels, context.generator(self.name)
        errors = np.empty((self.repeats, len(self.candidates)))
        for repeat in range(self.repeats):
            order = rng.permutation(len(y))
            test, pool, kept = np.split(order, [round(TEST * len(y)), round((TEST + POOL) * len(y))])
            start = fitted(x, y, kept, context.n_classes)
            for arm, choice in enumerate(self.choices(context, x, start, kept, pool)):
                rows = np.concatenate([kept, np.setdiff1d(pool, choice)])
                without = fitted(x, y, rows, context.n_classes, start)
                p = without.probabilities(x[torch.from_numpy(test)]).cpu().numpy()
                unsure = 1 - p[np.arange(len(test)), y[test]].mean()
                errors[repeat, arm] = (p.argmax(axis=1) != y[test]).mean() + TIES * unsure
        return errors

    def choices(
        self, context: Context, x: Tensor, start: FitNet, kept: np.ndarray, pool: np.ndarray
    ) -> list[np.ndarray]:
        """What each candidate asks for of the labels ``pool``, given those ``kept``: positions among the labels."""
        assert context.labels is not None
        seen = np.concatenate([kept, pool])
        known = replace(context, labeled=context.labeled[seen], labels=context.labels[seen])
        half = half_context(known, np.arange(len(kept)))
        size = max(1, round(REMOVED * len(pool)))
        return [seen[batch] for batch in self.candidates.batches(half, start, x[torch.from_numpy(seen)], size)]


def fitted(x: Tensor, y: np.ndarray, rows: np.ndarray, n_classes: int, start: FitNet | None = None) -> FitNet:
    """FitNet of the labels ``rows``."""
    return FitNet.fitted(x[torch.from_numpy(rows)], y[rows], n_classes, start)
