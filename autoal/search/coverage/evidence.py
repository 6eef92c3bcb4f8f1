"""What SearchNet learns from: predictions of FitNet whose truth is known by now.

Cross-fit rows: FitNet is fitted to one half of the labels and errs on the other. Prequential rows: what FitNet said of
the samples of earlier queries before they were labeled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from autoal.search.candidates import Candidates, half_context
from autoal.search.coverage.kernel import kernel_of_similarity, nearest_similarity
from autoal.search.coverage.search_net import Evidence
from autoal.search.coverage.signals import signals
from autoal.search.features import Features
from autoal.search.fit_net import Half, halves
from autoal.strategies import rounds
from autoal.types import Context

HALVINGS = 3
HISTORY = 5  # queries


@dataclass
class Asked(rounds.Asked):
    """A query of an earlier round, as things stood then.

    Attributes:
        phi: [B, 4 + S] the picks' signals.
        predicted: [B] FitNet's class for them.
    """

    PER_PICK = ("picks", "phi", "predicted")

    phi: np.ndarray
    predicted: np.ndarray


def gather(
    context: Context, features: Features, gamma: float, candidates: Candidates, share: float, history: list[Asked]
) -> Evidence:
    """All rows of a round; ``share`` is the batch's share of the unlabeled samples."""
    assert context.labels is not None
    rng = context.generator("halvings")
    split = halves(features, context.labeled, context.labels, context.n_classes, HALVINGS, rng)
    parts = [crossfit(half, context, features, gamma, candidates, share) for half in split]
    labels = np.full(len(context), -1)
    labels[context.labeled] = context.labels
    parts += [prequential(asked, labels) for asked in history[-HISTORY:]]
    return Evidence.joined(parts, width=4 + len(candidates))


def crossfit(
    half: Half, context: Context, features: Features, gamma: float, candidates: Candidates, share: float
) -> Evidence:
    """The errors of a FitNet on half of the labels, on the other half."""
    assert context.labels is not None
    train, rows = context.labeled[half.train], context.labeled[half.held]
    nearby = np.column_stack([rows, features.graph[rows]])  # FitNet is asked about these points only
    points, where = np.unique(nearby, return_inverse=True)
    where = where.reshape(nearby.shape)
    z = half.fit_net.logits(features.x.take(torch.from_numpy(points)))
    unit = features.unit
    similarity = nearest_similarity(unit.take(torch.from_numpy(rows)), unit[torch.from_numpy(train)])
    phi = signals(z, where[:, 0], where[:, 1:], kernel_of_similarity(similarity, gamma))
    size = min(len(rows), max(2, round(share * len(rows))))
    x = features.x.take(torch.from_numpy(context.labeled))
    ranks = candidates.ranks(half_context(context, half.train), half.fit_net, x, size)
    predicted = z.argmax(1).cpu().numpy()[where[:, 0]]
    one = np.ones(len(rows))
    return Evidence(np.column_stack([phi, ranks - 0.5]), predicted != context.labels[half.held], one / HALVINGS, one)


def prequential(asked: Asked, labels: np.ndarray) -> Evidence:
    """The errors on an earlier query, as far as it has been answered: labels [N], -1 where unknown."""
    known = labels[asked.picks] >= 0
    one = np.ones(int(known.sum()))
    return Evidence(asked.phi[known], asked.predicted[known] != labels[asked.picks][known], one, 0 * one)
