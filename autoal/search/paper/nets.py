"""The nets of both levels: FitNet classifies, SearchNet weighs the candidates per sample."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoal.models.networks import MLP, Network, initialized
from autoal.models.resnet import resnet18
from autoal.search.paper.loss_prediction import LossPrediction

BACKBONES = ("linear", "mlp", "resnet18")
HIDDEN = 64
NORMALIZED_BY = 256  # samples that tell batch norm its statistics


class LinearNet(Network):
    """A head on the features themselves."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(n_inputs, n_outputs)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(x [N, D],)."""
        return (x,)


class ModuleNet(Network):
    """A user's module, which maps inputs to embeddings [N, D], with a head of ours."""

    def __init__(self, module: nn.Module, width: int, n_outputs: int) -> None:
        super().__init__()
        self.trunk = module
        self.head = nn.Linear(width, n_outputs)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """(embeddings [N, D],)."""
        return (self.trunk(x),)


class SearchNet(nn.Module):
    """A backbone with one output per candidate, and the loss prediction that shares its trunk, if there is one."""

    def __init__(self, net: Network, loss_prediction: LossPrediction | None) -> None:
        super().__init__()
        self.net = net
        self.loss_prediction = loss_prediction

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """x [N, ...] to weights W [N, S], each row summing to 1, and predicted losses [N], if any."""
        features = self.net.features(x)
        predicted = None if self.loss_prediction is None else self.loss_prediction(features)
        return self.net.head(features[-1]).softmax(dim=1), predicted


def build_fit_net(backbone: str | nn.Module, x: Tensor, n_classes: int, generator: torch.Generator) -> Network:
    """A fresh FitNet for inputs like x [n, ...]."""
    return _build(backbone, x, n_classes, generator, LinearNet)


def build_search_net(
    backbone: str | nn.Module, x: Tensor, n_candidates: int, loss_prediction: bool, generator: torch.Generator
) -> SearchNet:
    """A fresh SearchNet for inputs like x [n, ...]; on embeddings with a hidden layer, which loss prediction needs."""
    net = _build(backbone, x, n_candidates, generator, lambda d, s: MLP(d, s, HIDDEN))
    nn.init.zeros_(net.head.weight)  # all candidates weigh the same until evidence comes
    nn.init.zeros_(net.head.bias)
    if backbone == "resnet18" and len(x) > 1:
        _normalize(net, x[:NORMALIZED_BY])
    if not loss_prediction:
        return SearchNet(net, None)
    with torch.no_grad():
        widths = [part.shape[1] for part in net.eval().features(x[:1])]
    module = initialized(lambda: LossPrediction(widths), generator)
    assert isinstance(module, LossPrediction)
    return SearchNet(net, module.to(x.device))


@torch.no_grad()
def _normalize(net: Network, x: Tensor) -> None:
    """Batch norm takes its statistics from x [n, ...]: SearchNet is not pre-trained, and searches with them fixed."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    net.train().features(x)


def _build(
    backbone: str | nn.Module,
    x: Tensor,
    n_outputs: int,
    generator: torch.Generator,
    small: Callable[[int, int], Network],
) -> Network:
    if isinstance(backbone, nn.Module):
        module = copy.deepcopy(backbone).to(x.device)
        with torch.no_grad():
            embedding = module.eval()(x[:1])
        if embedding.ndim != 2:
            raise ValueError(f"backbone must map inputs to embeddings [N, D], gave {tuple(embedding.shape)}")
        own = ModuleNet(module, embedding.shape[1], n_outputs)
        nn.init.kaiming_normal_(own.head.weight, generator=generator)
        nn.init.zeros_(own.head.bias)
        net: nn.Module = own
    elif backbone == "linear":
        net = initialized(lambda: small(x.shape[1], n_outputs), generator)
    elif backbone == "mlp":
        net = initialized(lambda: MLP(x.shape[1], n_outputs, HIDDEN), generator)
    else:
        net = initialized(lambda: resnet18(n_outputs, x.shape[1]), generator)
    assert isinstance(net, Network)
    net.dropout.rate = 0.0  # both levels are compared on the same samples: no noise between them
    return net.to(x.device)
