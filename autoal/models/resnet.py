"""ResNet-18 with the stem for small images (He et al. 2016, the CIFAR form that the AutoAL paper uses)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from autoal.models.networks import Network

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, n_inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_inputs, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or n_inputs != width:
            self.shortcut = nn.Sequential(nn.Conv2d(n_inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_inputs, H, W] to [N, width, H / stride, W / stride]."""
        inner = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(inner + self.shortcut(x))


class ResNet18(Network):
    """3x3 stem without pooling, four stages of two blocks, global average pooling, dropout, linear head."""

    def __init__(self, n_outputs: int, in_channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, WIDTHS[0], 3, 1, 1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        stages, n_inputs = [], WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            stages.append(
                nn.Sequential(BasicBlock(n_inputs, width, 1 if number == 0 else 2), BasicBlock(width, width, 1))
            )
            n_inputs = width
        self.stages = nn.ModuleList(stages)
        self.head = nn.Linear(WIDTHS[-1], n_outputs)

    def features(self, x: Tensor) -> tuple[Tensor, ...]:
        """Pooled outputs of the four stages: [N, 64], [N, 128], [N, 256], [N, 512]."""
        pooled, x = [], self.stem(x)
        for stage in self.stages:
            x = stage(x)
            pooled.append(x.mean((2, 3)))
        return tuple(pooled)


def resnet18(n_outputs: int, in_channels: int = 3) -> ResNet18:
    """A ResNet-18 for images [N, in_channels, H, W]; to be initialised by ``networks.initialized``."""
    return ResNet18(n_outputs, in_channels)
