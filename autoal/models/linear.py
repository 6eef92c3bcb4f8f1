"""The linear task model: softmax regression on features. Convex, deterministic, fitted in seconds."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from autoal.models import softmax_regression
from autoal.models.base import TaskModel
from autoal.models.dropout_head import mc_dropout_logits
from autoal.models.samples import as_features
from autoal.types import Outputs

CHUNK = 8192  # rows converted at a time


class LinearModel(TaskModel):
    """Softmax regression on features (or flattened images), centered and scaled by the pool's statistics.

    Its embeddings are these centered and scaled features. MC samples are dropout on them with the fitted weights.

    Args:
        device: Where the outputs lie; the fit itself runs on the CPU in float64.
    """

    name = "linear"

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._weight: Tensor | None = None  # [D + 1, C] float32, bias last
        self._pool: tuple[Tensor, Tensor] | None = None  # the pool and its embeddings, which no round changes

    def look(self, x: Tensor) -> None:
        """Mean and scale of the pool, and its embeddings once and for all."""
        total = sum((as_features(part).double().sum(0) for part in x.split(CHUNK)), torch.zeros(()))
        self._mean = (total / len(x)).float()
        centered = (as_features(part) - self._mean for part in x.split(CHUNK))
        squares = sum((part.double().square().sum(0) for part in centered), torch.zeros(()))
        self._scale = softmax_regression.scale_of(squares / len(x), self._mean)
        self._pool = None
        self._pool = x, self._embed(x)

    def fit(self, x: Tensor, y: np.ndarray, n_classes: int, *, seed: int) -> None:
        """The unique minimiser on x [L, ...], y [L]; ``seed`` changes nothing."""
        features = np.column_stack([self._embed(x).double().cpu().numpy(), np.ones(len(x))])
        weight = softmax_regression.fit(features, y, n_classes)
        self._weight = torch.from_numpy(weight).float().to(self.device)

    def outputs(self, x: Tensor, needs: Collection[str], *, seed: int) -> Outputs:
        """Features, one matrix product for logits, one per MC sample."""
        if self._weight is None:
            raise RuntimeError("the model has not been fitted: call fit first")
        embeddings, weight, bias = self._embed(x), self._weight[:-1], self._weight[-1]
        logits = mc_logits = None
        if "logits" in needs:
            logits = torch.addmm(bias, embeddings, weight)
        if "mc_logits" in needs:
            mc_logits = mc_dropout_logits(embeddings, weight, bias, torch.Generator().manual_seed(seed))
        return Outputs(logits, embeddings if "embeddings" in needs else None, mc_logits)

    def predict(self, x: Tensor) -> np.ndarray:
        """[N] int64 class numbers."""
        logits = self.outputs(x, {"logits"}, seed=0).logits
        assert logits is not None
        return logits.argmax(dim=1).cpu().numpy()

    def _embed(self, x: Tensor) -> Tensor:
        """[N, D] float32 features, centered and scaled; the pool's are kept."""
        if self._pool is not None and x is self._pool[0]:
            return self._pool[1]
        first = as_features(x[:1])
        embeddings = torch.empty(len(x), first.shape[1], dtype=torch.float32)
        for start in range(0, len(x), CHUNK):
            embeddings[start : start + CHUNK] = (as_features(x[start : start + CHUNK]) - self._mean) * self._scale
        return embeddings.to(self.device)
