"""The nets behind the task models: ``features(x)``, a tuple of [N, c_i] ending in the embedding, and a ``head``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoal.models.dropout_head import MC_DROPOUT


class SeededDropout(nn.Module):
    """Dropout that draws from its own generator, so that no global random state is read or moved."""

    def __init__(self, rate: float = MC_DROPOUT) -> None:
        super().__init__()
        self.rate = rate
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x [N, D] with a share of its entries zero and the rest scaled up, in training; else x."""
        if not self.training or self.rate == 0:
            return x
        mask = torch.empty_like(x).bernoulli_(1 - self.rate, generator=self.generator)
        return x * mask / (1 - self.rate)


class Network(nn.Module, ABC):
    """Features, dropout, linear head. Dropout stands before the head only, so MC samples need the head alone."""

    head: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        self.dropout = SeededDropout()

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Pooled activations [N, c_i] of the stages; the last is the embedding [N, D]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, C]."""
        return self.head(self.dropout(self.features(x)[-1]))


class MLP(Network):
    """One hidden layer on features [N, D]."""

    def __init__(self, n_inputs: int, n_outputs: int, hidden: int = 256) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_inputs, hidden)
        self.head = nn.Linear(hidden, n_outputs)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """([N, hidden],)."""
        return (functional.relu(self.hidden(x)),)


class CNN(Network):
    """Three 3x3 convolutions on images [N, channels, H, W]; pooled to a fixed grid, so any size fits."""

    def __init__(self, in_channels: int, n_outputs: int, width: int = 32, embedding: int = 128) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv3 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.embedding = nn.Linear(2 * width * 4, embedding)
        self.head = nn.Linear(embedding, n_outputs)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """([N, width], [N, 2 width], [N, embedding])."""
        first = functional.max_pool2d(functional.relu(self.conv1(x)), 2, ceil_mode=True)
        second = functional.max_pool2d(functional.relu(self.conv2(first)), 2, ceil_mode=True)
        third = functional.adaptive_avg_pool2d(functional.relu(self.conv3(second)), 2)
        return first.mean((2, 3)), second.mean((2, 3)), functional.relu(self.embedding(third.flatten(1)))


def initialized(build: Callable[[], nn.Module], generator: torch.Generator) -> nn.Module:
    """The net that ``build`` makes, on the CPU, with He-initialised weights drawn from ``generator`` alone."""
    with torch.device("meta"):  # the constructors' own draws would move the global random state
        net = build()
    net = net.to_empty(device="cpu")
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
    return net
