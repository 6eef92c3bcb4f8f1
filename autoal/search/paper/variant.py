"""One round of the published search, top to bottom: halves, FitNet, alternating search, scores of the pool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional

from autoal import checks
from autoal.models import softmax_regression
from autoal.models.network_model import shuffled_batches
from autoal.models.networks import Network
from autoal.models.samples import as_images
from autoal.search.paper.bilevel import Level, alternate
from autoal.search.paper.loss_prediction import ranking_loss
from autoal.search.paper.nets import BACKBONES, LinearNet, SearchNet, build_fit_net, build_search_net
from autoal.search.paper.relaxation import count_regulariser, selection, temperature

BATCH = 64
INFERENCE_BATCH = 4096
MIN_SELECTED = 2  # of a batch, as in the paper
REGULARISER = 1.0  # lambda'
LOSS_PREDICTION = 0.5
# Learning rates. SearchNet's bias (the paper's Theta_k, which all samples share) learns fast, its per-sample part
# slowly: some hundred labels tell much of the former and little of the latter.
BIAS_RATE, SEARCH_RATE, FIT_RATE = 3e-2, 3e-4, 1e-4


@dataclass(frozen=True)
class SearchResult:
    """What the search found.

    Attributes:
        scores: [U] sum_k W_k(x) S_k(x) of the unlabeled samples.
        weights_per_sample: [U, S] W, rows summing to 1.
        strategy_weights: [S] their mean.
        history: ``"upper"`` and ``"lower"``: norms of the levels' gradients, step by step.
    """

    scores: np.ndarray
    weights_per_sample: np.ndarray
    strategy_weights: np.ndarray
    history: dict[str, list[float]]


class PaperSearch:
    """The bi-level search over candidate strategies (Wang, Zhan & Huang, ICML 2025).

    Args:
        backbone: "linear" or "mlp" on embeddings; "resnet18" on images; or a module from inputs to embeddings [N, D],
            which is copied for each of the two nets.
        steps: Alternating steps. The paper's 400 epochs suit a GPU; the search on frozen embeddings settles in these.
        epochs: Of FitNet's pre-training where the backbone is not linear (the paper: 200).
    """

    def __init__(self, *, backbone: str | nn.Module = "linear", steps: int = 150, epochs: int = 60) -> None:
        self.backbone = (
            backbone if isinstance(backbone, nn.Module) else checks.check_choice(backbone, "backbone", BACKBONES)
        )
        self.steps = checks.as_count(steps, "steps", low=1)
        self.epochs = checks.as_count(epochs, "epochs", low=1)

    def search(
        self,
        x: Tensor,
        labeled: np.ndarray,
        labels: np.ndarray,
        unlabeled: np.ndarray,
        n_classes: int,
        scores_labeled: Any,
        scores_unlabeled: Any,
        ratio: float,
        seed: int,
    ) -> SearchResult:
        """One round.

        Args:
            x: [N, D] embeddings, or images [N, H, W(, channels)] where the backbone convolves.
            labeled: [L] pool indices.
            labels: [L] class numbers.
            unlabeled: [U] pool indices.
            n_classes: C.
            scores_labeled: [L, S] what the candidates say of the labeled samples, row by row.
            scores_unlabeled: [U, S] the same of the pool.
            ratio: t = B / U.
            seed: Source of all randomness.
        """
        generator = torch.Generator().manual_seed(seed)
        prepared = self._prepare(x)
        rows, targets = prepared(labeled), torch.from_numpy(labels).to(x.device)
        scores = torch.from_numpy(mid_ranks(scores_labeled)).to(rows)

        order = torch.randperm(len(labeled), generator=generator)
        held = order[: max(1, len(order) // 2)]  # plays the unlabeled pool
        train = order[len(held) :] if len(order) > 1 else order
        fit_net = self._pretrained(rows[train], targets[train], n_classes, generator)
        search_net = build_search_net(self.backbone, rows, scores.shape[1], generator)

        history = self._alternate(fit_net, search_net, rows[held], targets[held], scores[held], ratio, generator)
        weights = self._weights(search_net, prepared, unlabeled)
        pool_scores = mid_ranks(scores_unlabeled)
        mixed = (weights * pool_scores).sum(axis=1)
        return SearchResult(mixed, weights, weights.mean(axis=0), history)

    def _prepare(self, x: Tensor) -> Callable[[np.ndarray], Tensor]:
        """Pool indices -> inputs of the nets."""
        if self.backbone in ("linear", "mlp"):
            features = softmax_regression.prepare(x)
            return lambda indices: features[torch.from_numpy(indices).to(x.device)]
        if isinstance(self.backbone, nn.Module) and x.ndim == 2:
            return lambda indices: x[torch.from_numpy(indices).to(x.device)].float()
        return lambda indices: as_images(x[torch.from_numpy(indices).to(x.device)])

    def _pretrained(self, x: Tensor, y: Tensor, n_classes: int, generator: torch.Generator) -> Network:
        """FitNet, trained on its half; the linear one exactly."""
        net = build_fit_net(self.backbone, x, n_classes, generator)
        if isinstance(net, LinearNet):
            weight = softmax_regression.fit(x.double().cpu().numpy(), y.cpu().numpy(), n_classes)
            with torch.no_grad():
                net.head.weight.copy_(torch.from_numpy(weight.T))
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
        self,
        fit_net: Network,
        search_net: SearchNet,
        x: Tensor,  # [H, ...] the half that plays the pool
        y: Tensor,  # [H]
        scores: Tensor,  # [H, S]
        ratio: float,
        generator: torch.Generator,
    ) -> dict[str, list[float]]:
        """SearchNet (upper level) and FitNet (lower level) in turn on the same batches, rows aligned."""
        batches = [
            torch.randperm(len(x), generator=generator)[:BATCH] for _ in range(self.steps)
        ]  # drawn first: one shuffle serves samples, labels and scores
        theta = search_net.net.head.bias
        per_sample = [p for p in search_net.parameters() if p is not theta]
        upper = torch.optim.Adam([{"params": per_sample, "lr": SEARCH_RATE}, {"params": [theta], "lr": BIAS_RATE}])
        lower = torch.optim.Adam(fit_net.parameters(), lr=FIT_RATE)
        fit_net.eval()
        search_net.eval()  # statistics of batch norm stay those of pre-training: the levels see the same nets

        def select(step: int) -> tuple[Tensor, Tensor, Tensor, float]:
            batch = batches[step].to(x.device)
            weights, predicted = search_net(x[batch])
            share = min(1.0, max(ratio, MIN_SELECTED / len(batch)))
            return selection(weights, scores[batch], share, temperature(step, self.steps)), predicted, batch, share

        def upper_loss(step: int) -> Tensor:
            """L_S = - mean(Sbar CE) - lambda' L_re + the loss prediction's ranking loss."""
            selected, predicted, batch, share = select(step)
            with torch.no_grad():
                losses = functional.cross_entropy(fit_net(x[batch]), y[batch], reduction="none")
            # With the count held at t B a constant in the losses changes nothing but the gradient's noise: taken out.
            gain = (selected * (losses - losses.mean())).mean() + REGULARISER * count_regulariser(selected, share)
            return -gain + LOSS_PREDICTION * ranking_loss(predicted, losses)

        def lower_loss(step: int) -> Tensor:
            """L_F = mean(Sbar CE) + lambda' L_re, Sbar a constant."""
            with torch.no_grad():
                selected, _, batch, share = select(step)
            losses = functional.cross_entropy(fit_net(x[batch]), y[batch], reduction="none")
            return (selected * losses).mean() + REGULARISER * count_regulariser(selected, share)

        return alternate(Level(lower_loss, lower), Level(upper_loss, upper), self.steps)

    @torch.no_grad()
    def _weights(
        self, search_net: SearchNet, prepared: Callable[[np.ndarray], Tensor], unlabeled: np.ndarray
    ) -> np.ndarray:
        """W [U, S] float64 of the pool."""
        step = INFERENCE_BATCH if self.backbone in ("linear", "mlp") else 256
        parts = [search_net(prepared(unlabeled[i : i + step]))[0].cpu() for i in range(0, len(unlabeled), step)]
        return torch.cat(parts).double().numpy()


def mid_ranks(scores: Any) -> np.ndarray:
    """Scores [n, S] as mid-ranks in [0, 1] within each column, so that no candidate is favored for its scale."""
    array = np.asarray(scores, dtype=np.float64)
    return (rankdata(array, axis=0) - 0.5) / len(array)
