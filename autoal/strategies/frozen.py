"""What strategies that fit something on frozen embeddings share: prepared features, and a FitNet on all labels."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.models.softmax_regression import prepare
from autoal.search.fit_net import FitNet
from autoal.types import Context


def features(context: Context) -> Tensor:
    """x [N, D + 1] float32: the pool's embeddings, centered and scaled, with a bias column; once per round."""
    return context.once("prepared features", lambda: prepare(context.outputs.require("embeddings")))


def fit_net(context: Context) -> FitNet:
    """The softmax regression of the labels on ``features``; once per round."""
    return context.once("fit_net of all labels", lambda: _fitted(context))


def _fitted(context: Context) -> FitNet:
    assert context.labels is not None
    x = features(context)[torch.from_numpy(context.labeled)]
    return FitNet.fitted(x, context.labels, context.n_classes)
