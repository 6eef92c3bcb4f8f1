"""The bi-level search on half queues: from labels in two halves to a SearchNet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoal import checks
from autoal.models.network_model import shuffled_batches
from autoal.models.networks import Network
from autoal.search.paper.bilevel import Level, alternate
from autoal.search.paper.loss_prediction import ranking_loss
from autoal.search.paper.nets import BACKBONES, LinearNet, SearchNet, build_fit_net, build_search_net
from autoal.search.paper.relaxation import count_regulariser, selection, temperature

BATCH = 64
MIN_SELECTED = 2  # of a batch, as in the paper
REGULARISER = 1.0  # lambda'
LOSS_PREDICTION = 0.5
# Learning rates. SearchNet's bias (the paper's Theta_k, which all samples share) learns fast, its per-sample part
# slowly: some hundred labels tell much of the former and little of the latter.
BIAS_RATE, SEARCH_RATE, FIT_RATE = 3e-2, 3e-4, 1e-4


@dataclass(frozen=True)
class HalfQueues:
    """The labels in two halves: FitNet learns one, the other plays the unlabeled pool.

    Attributes:
        x_train: [H', ...] inputs of the nets.
        y_train: [H'] int64 class numbers.
        x_held, y_held: [H, ...] and [H], the same of the half that plays the pool.
        scores: [H, S] in (0, 1), what the candidates say of that half: as a pool, with the other half labeled.
        weight: [D, C] softmax regression of x_train, which a linear FitNet is.
        ratio: t, the share of a batch to select.
    """

    x_train: Tensor
    y_train: Tensor
    x_held: Tensor
    y_held: Tensor
    scores: Tensor
    weight: np.ndarray
    ratio: float


class BilevelSearch:
    """Co-optimises FitNet and SearchNet.

    Args:
        backbone: "linear" or "mlp" on embeddings; "resnet18" on images; or a module from inputs to embeddings [N, D],
            which is copied for each of the two nets.
        loss_prediction: Whether SearchNet's trunk also learns to predict losses.
        steps: Alternating steps. The paper's 400 epochs suit a GPU; the search on frozen embeddings settles in these.
        epochs: Of FitNet's pre-training where the backbone is not linear (the paper: 200).
    """

    def __init__(
        self,
        backbone: str | nn.Module = "linear",
        *,
        loss_prediction: bool = True,
        steps: int = 150,
        epochs: int = 60,
    ) -> None:
        self.backbone = (
            backbone if isinstance(backbone, nn.Module) else checks.check_choice(backbone, "backbone", BACKBONES)
        )
        self.loss_prediction = loss_prediction
        self.steps = checks.as_count(steps, "steps", low=1)
        self.epochs = checks.as_count(epochs, "epochs", low=1)

    def __call__(self, half: HalfQueues, generator: torch.Generator) -> tuple[SearchNet, dict[str, list[float]]]:
        """SearchNet, and the norms of both levels' gradients step by step."""
        fit_net = self._pretrained(half, generator)
        n_candidates = half.scores.shape[1]
        search_net = build_search_net(self.backbone, half.x_held, n_candidates, self.loss_prediction, generator)
        return search_net, self._alternate(fit_net, search_net, half, generator)

    def _pretrained(self, half: HalfQueues, generator: torch.Generator) -> Network:
        """FitNet, trained on its half; the linear one exactly."""
        x, y = half.x_train, half.y_train
        net = build_fit_net(self.backbone, x, half.weight.shape[1], generator)
        if isinstance(net, LinearNet):
            with torch.no_grad():
                net.head.weight.copy_(torch.from_numpy(half.weight.T))
                net.head.bias.zero_()  # the features have a column of ones
            return net
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
        net.train()
        for _ in range(self.epochs):
            for batch in shuffled_batches(len(x), BATCH, generator):
                if len(batch) > 1:  # batch norm has nothing to say of one sample
                    optimizer.zero_grad()
                    functional.cross_entropy(net(x[batch]), y[batch]).backward()
                    optimizer.step()
        return net.eval()

    def _alternate(
        self, fit_net: Network, search_net: SearchNet, half: HalfQueues, generator: torch.Generator
    ) -> dict[str, list[float]]:
        """SearchNet (upper level) and FitNet (lower level) in turn on the same batches, rows aligned."""
        x, y = half.x_held, half.y_held
        batches = [
            torch.randperm(len(x), generator=generator)[:BATCH] for _ in range(self.steps)
        ]  # drawn first: one shuffle serves samples, labels and scores
        theta = search_net.net.head.bias
        per_sample = [p for p in search_net.parameters() if p is not theta]
        upper = torch.optim.Adam([{"params": per_sample, "lr": SEARCH_RATE}, {"params": [theta], "lr": BIAS_RATE}])
        lower = torch.optim.Adam(fit_net.parameters(), lr=FIT_RATE)
        fit_net.eval()
        search_net.eval()  # statistics of batch norm stay as they are: the levels see the same nets

        def select(step: int) -> tuple[Tensor, Tensor | None, Tensor, float]:
            batch = batches[step].to(x.device)
            weights, predicted = search_net(x[batch])
            share = min(1.0, max(half.ratio, MIN_SELECTED / len(batch)))
            return selection(weights, half.scores[batch], share, temperature(step, self.steps)), predicted, batch, share

        def upper_loss(step: int) -> Tensor:
            """L_S = - mean(Sbar CE) - lambda' L_re + the loss prediction's ranking loss."""
            selected, predicted, batch, share = select(step)
            with torch.no_grad():
                losses = functional.cross_entropy(fit_net(x[batch]), y[batch], reduction="none")
            # With the count held at t B a constant in the losses changes nothing but the gradient's noise: taken out.
            gain = (selected * (losses - losses.mean())).mean() + REGULARISER * count_regulariser(selected, share)
            return -gain if predicted is None else -gain + LOSS_PREDICTION * ranking_loss(predicted, losses)

        def lower_loss(step: int) -> Tensor:
            """L_F = mean(Sbar CE) + lambda' L_re, Sbar a constant."""
            with torch.no_grad():
                selected, _, batch, share = select(step)
            losses = functional.cross_entropy(fit_net(x[batch]), y[batch], reduction="none")
            return (selected * losses).mean() + REGULARISER * count_regulariser(selected, share)

        return alternate(Level(lower_loss, lower), Level(upper_loss, upper), self.steps)
