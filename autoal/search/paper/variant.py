"""One round of the published search, top to bottom. ``docs/algorithm-paper.md`` has the equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from autoal.models.samples import as_images
from autoal.search.candidates import Candidates, half_context
from autoal.search.coverage.variant import Choice, Coverage
from autoal.search.features import Features
from autoal.search.fit_net import FitNet, halves
from autoal.search.paper.nets import SearchNet
from autoal.search.paper.search import MIN_SELECTED, BilevelSearch, HalfQueues
from autoal.search.stopwatch import Stopwatch
from autoal.types import Context, torch_generator

INFERENCE_BATCH, IMAGE_BATCH = 4096, 256


class PaperSearch:
    """The bi-level search over candidate strategies (Wang, Zhan & Huang, ICML 2025).

    Args:
        query: "top" takes the highest scores, as the paper does; "coverage" weighs a coverage query by them.
        bilevel: Finds SearchNet; None: all candidates weigh the same.
        candidates: What is searched among.
    """

    def __init__(self, query: str, bilevel: BilevelSearch | None, candidates: Candidates) -> None:
        self.query, self.bilevel, self.candidates = query, bilevel, candidates

    def forget(self) -> None:
        """Starts afresh, for another pool: nothing to do, each round searches anew."""

    def settle(self, asked: np.ndarray) -> None:
        """Of the last query only the samples ``asked`` [B] count: nothing to do, none is remembered."""

    def choose(
        self,
        context: Context,
        features: Features,
        fit_net: FitNet,
        logits: Tensor,
        ranks: np.ndarray,
        size: int,
        clock: Stopwatch,
    ) -> Choice:
        """The batch of this round; ``logits`` [N, C] are FitNet's, ``ranks`` [U, S] the candidates'."""
        weights = self._weights(context, features, size / len(context.unlabeled))  # [U, S]
        scores = (weights * ranks).sum(axis=1)
        clock.lap("search")

        if self.query == "top":
            positions = np.argsort(-scores, kind="stable")[:size]
            gains, columns = scores[positions], {"weight": scores[positions].astype(np.float32)}
        else:
            weight = scores - scores.min() + 1e-6 * (1 + np.ptp(scores))  # of a gain: positive
            coverage = Coverage.of(context, features, fit_net, logits)
            clock.lap("calibration")
            positions, gains, columns = coverage.query(weight, size, context)
        clock.lap("selection")

        picked = weights[positions].astype(np.float32)
        columns |= {f"weight_{name}": w for name, w in zip(self.candidates.names, picked.T, strict=True)}
        return Choice(positions, gains, weights.mean(axis=0), columns)

    def _weights(self, context: Context, features: Features, ratio: float) -> np.ndarray:
        """W [U, S] float64 of the unlabeled samples, rows summing to 1; all the same where nothing can be searched."""
        uniform = np.full((len(context.unlabeled), len(self.candidates)), 1 / len(self.candidates))
        if self.bilevel is None:
            return uniform
        inputs = self._inputs(self.bilevel.backbone, context, features)
        half = self._half_queues(context, features, inputs, ratio)
        if half is None:
            return uniform
        search_net, _ = self.bilevel(half, torch_generator(context.generator("bi-level search")))
        batch = INFERENCE_BATCH if half.x_held.ndim == 2 else IMAGE_BATCH
        return weights_of(search_net, inputs, context.unlabeled, batch)

    def _half_queues(
        self, context: Context, features: Features, inputs: Callable[[np.ndarray], Tensor], ratio: float
    ) -> HalfQueues | None:
        """The labels, halved at random, and what the candidates say of one half; None of a single label."""
        assert context.labels is not None
        rng = context.generator("half queues")
        split = next(halves(features, context.labeled, context.labels, context.n_classes, 1, rng), None)
        if split is None:
            return None
        size = min(len(split.held), max(MIN_SELECTED, round(ratio * len(split.held))))
        x = features.x.take(torch.from_numpy(context.labeled))
        ranks = self.candidates.ranks(half_context(context, split.train), split.fit_net, x, size)
        y = torch.from_numpy(context.labels).to(x.device)
        return HalfQueues(
            inputs(context.labeled[split.train]),
            y[torch.from_numpy(split.train)],
            inputs(context.labeled[split.held]),
            y[torch.from_numpy(split.held)],
            torch.from_numpy(ranks).to(x.device, torch.float32),
            split.fit_net.weight,
            ratio,
        )

    @staticmethod
    def _inputs(backbone: str | nn.Module, context: Context, features: Features) -> Callable[[np.ndarray], Tensor]:
        """Pool indices -> inputs of the nets, on the device of the embeddings."""
        x, raw = features.x, context.inputs
        if backbone in ("linear", "mlp"):
            return lambda indices: x[torch.from_numpy(indices)]
        if raw is None:
            raise ValueError("this backbone reads the raw pool: give inputs=, images [N, H, W(, channels)]")
        if isinstance(backbone, nn.Module) and raw.ndim == 2:
            return lambda indices: raw[torch.from_numpy(indices)].to(x.device, torch.float32)
        return lambda indices: as_images(raw[torch.from_numpy(indices)]).to(x.device)


@torch.no_grad()
def weights_of(
    search_net: SearchNet, inputs: Callable[[np.ndarray], Tensor], indices: np.ndarray, batch: int
) -> np.ndarray:
    """W [n, S] float64 of the samples ``indices`` [n]."""
    parts = [search_net(inputs(indices[i : i + batch]))[0].cpu() for i in range(0, len(indices), batch)]
    return torch.cat(parts).double().numpy()
