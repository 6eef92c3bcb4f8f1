"""Learning loss: a small net learns, beside the classifier, to predict its loss; the highest predictions are asked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from autoal.models.network_model import batches, shuffled_batches
from autoal.models.networks import MLP, initialized
from autoal.search.paper.loss_prediction import LossPrediction, ranking_loss
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.frozen import features
from autoal.types import Context, torch_generator

HIDDEN = 128
BATCH = 64
EPOCHS = 30
FEWEST_STEPS, MOST_STEPS = 300, 2000
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-2
TOGETHER = 0.6  # share of the steps in which loss prediction also shapes the classifier's features (120 of 200 epochs)
CHUNK = 8192  # rows scored at a time


class LearningLoss(ScoreStrategy):
    """The loss that a module beside the classifier predicts: it learns to rank pairs of labeled samples by their loss.

    The classifier is a net of one hidden layer on the embeddings; the module sees its input and its hidden layer. Both
    are trained together, from scratch each round.
    """

    name = "learning_loss"
    needs = ("embeddings", "labels")
    reference = "Yoo & Kweon 2019"

    def score(self, context: Context) -> Tensor:
        """[N] predicted loss, in no unit: only the order has been learnt."""
        assert context.labels is not None
        x = features(context)
        rows = x[torch.from_numpy(context.labeled)]
        targets = torch.from_numpy(context.labels).to(x.device)
        generator = torch_generator(context.generator(self.name))
        net, module = train(rows, targets, context.n_classes, generator)
        with torch.no_grad():
            parts = [module((part, *net.features(part))) for part in x.split(CHUNK)]
        return torch.cat(parts)


def train(x: Tensor, y: Tensor, n_classes: int, generator: torch.Generator) -> tuple[MLP, LossPrediction]:
    """The classifier and the module of x [L, D], y [L]: cross-entropy plus the ranking loss of the losses."""
    net = initialized(lambda: MLP(x.shape[1], n_classes, HIDDEN), generator).to(x.device)
    module = initialized(lambda: LossPrediction([x.shape[1], HIDDEN]), generator).to(x.device)
    assert isinstance(net, MLP) and isinstance(module, LossPrediction)
    net.dropout.rate = 0.0  # the losses to rank are those of the net that is asked
    parameters = [*net.parameters(), *module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = min(MOST_STEPS, max(FEWEST_STEPS, EPOCHS * batches(len(x), BATCH)))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step, rows in enumerate(itertools.islice(_epochs(len(x), generator), steps)):
        (hidden,) = net.features(x[rows])
        losses = functional.cross_entropy(net.head(hidden), y[rows], reduction="none")
        predicted = module((x[rows], hidden if step < TOGETHER * steps else hidden.detach()))
        optimizer.zero_grad()
        (losses.mean() + ranking_loss(predicted, losses)).backward()
        optimizer.step()
        schedule.step()
    return net, module


def _epochs(n: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of row numbers, epoch after epoch."""
    while True:
        yield from shuffled_batches(n, BATCH, generator)
