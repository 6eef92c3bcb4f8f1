"""CEAL: uncertainty under a classifier that also learns from its own confident predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from autoal import checks, ops
from autoal.search.fit_net import FitNet
from autoal.strategies.base import Picks, ScoreStrategy
from autoal.strategies.frozen import features, fit_net
from autoal.types import Context

MEASURES = ("entropy", "margin", "least_confidence")
MOST_PSEUDO_LABELS = 10_000


class Ceal(ScoreStrategy):
    """The most uncertain to a classifier that was also fitted to its confident predictions (pseudo labels).

    What CEAL asks is an uncertainty score; what sets it apart is the training: the classifier whose uncertainty counts
    has learnt its own confident predictions as if they were labels, which are forgotten again afterwards. So a softmax
    regression on the embeddings is fitted to the labels, the unlabeled samples of an entropy below a threshold take its
    prediction as their label, and it is fitted once more, to both; that one is asked. The task model is trained by its
    owner: ``pseudo_labels`` are there for one who wants it to learn from them too.

    Args:
        measure: "entropy", "margin" or "least_confidence".
        threshold: delta, in nats: the entropy below which a prediction counts as a label, in the first round.
        decay: What the threshold loses per round.

    Attributes:
        pseudo_labels: Pool indices [P] and class numbers [P] of the last query's.
    """

    name = "ceal"
    needs = ("embeddings", "labels")
    reference = "Wang et al. 2016"

    def __init__(self, measure: str = "entropy", threshold: float = 0.05, decay: float = 0.0033) -> None:
        self.measure = checks.check_choice(measure, "measure", MEASURES)
        if not (threshold >= 0 and decay >= 0):
            raise ValueError(f"threshold and decay must be at least 0; got {threshold} and {decay}")
        self.threshold, self.decay = threshold, decay
        self.pseudo_labels = np.empty(0, np.int64), np.empty(0, np.int64)
        self._rounds: list[int] = []  # labels there were at each earlier query

    def pick(self, context: Context, size: int) -> Picks:
        """The ``size`` highest scores; the threshold falls until the next round."""
        self._rounds = [n for n in self._rounds if n < len(context.labeled)]  # not asked again
        picks = super().pick(context, size)
        self._rounds.append(len(context.labeled))
        return picks

    def score(self, context: Context) -> Tensor:
        """[N] the measure, of the classifier that learnt labels and pseudo labels."""
        assert context.labels is not None
        threshold = max(0.0, self.threshold - self.decay * len(self._rounds))
        x, first = features(context), fit_net(context)
        unlabeled = torch.from_numpy(context.unlabeled)
        rows, classes = confident(first.probabilities(x[unlabeled]), threshold)
        self.pseudo_labels = context.unlabeled[rows], classes
        learnt = torch.from_numpy(np.concatenate([context.labeled, self.pseudo_labels[0]]))
        y = np.concatenate([context.labels, classes])
        second = FitNet.fitted(x[learnt], y, context.n_classes, start=first) if len(rows) else first
        return getattr(ops.uncertainty_scores(second.logits(x)), self.measure)


def confident(p: Tensor, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions [P], ascending, of the rows of p [n, C] with an entropy below the threshold, and their likely classes.

    Where they are more than ``MOST_PSEUDO_LABELS``, those of the lowest entropy.
    """
    entropy = torch.special.entr(p).sum(dim=1).cpu().numpy()
    rows = np.argsort(entropy, kind="stable")[:MOST_PSEUDO_LABELS]
    rows = np.sort(rows[entropy[rows] < threshold])
    return rows, p[torch.from_numpy(rows)].argmax(dim=1).cpu().numpy()
