"""Task models that train a net from scratch each round: MLP on features; CNN and ResNet-18 on images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoal.models.base import TaskModel
from autoal.models.dropout_head import MC_SAMPLES, mc_dropout_logits
from autoal.models.networks import CNN, MLP, Network, SeededDropout, initialized
from autoal.models.resnet import resnet18
from autoal.models.samples import as_features, as_images
from autoal.models.softmax_regression import ROUNDING
from autoal.types import Outputs

STATISTICS_ROWS = 10_000  # of the pool, for mean and scale


class NetworkModel(TaskModel):
    """Trains a ``Network`` with AdamW and a cosine schedule; float32 on the CPU, bfloat16 autocast on CUDA.

    Args:
        device: Where to train and infer.
        epochs: Passes over the labeled samples, at least; few labels get ``MIN_STEPS`` steps.
    """

    BATCH = 64
    INFERENCE_BATCH = 1024
    MIN_STEPS = 200
    LEARNING_RATE = 1e-3
    WEIGHT_DECAY = 1e-2

    def __init__(self, device: torch.device, epochs: int) -> None:
        self.device, self.epochs = device, epochs
        self._net: Network | None = None
        self._center: Tensor | float = 0.0
        self._scale: Tensor | float = 1.0

    @abstractmethod
    def build(self, x: Tensor, n_classes: int) -> Callable[[], Network]:
        """A constructor of the net for samples like x (as ``prepared`` gives them)."""

    def arrange(self, x: Tensor) -> Tensor:
        """Samples in the layout that the net takes."""
        return as_images(x)

    def look(self, x: Tensor) -> None:
        """Mean and scale of each feature column or image channel, over evenly spaced samples of the pool."""
        sample = self.arrange(x[:: -(-len(x) // STATISTICS_ROWS)]).double()  # squares of large numbers fit
        axes = [axis for axis in range(sample.ndim) if axis != 1]
        center, deviation = sample.mean(axes, keepdim=True), sample.std(axes, correction=0, keepdim=True)
        varying = deviation > ROUNDING * center.abs()
        typical = float(deviation[varying].median()) if bool(varying.any()) else 1.0
        self._center = center.float()
        self._scale = (1 / torch.where(varying, deviation.clamp_min(1e-3 * typical), typical)).float()

    def prepared(self, x: Tensor) -> Tensor:
        """Samples [n, ...] in the net's layout, centered and scaled, on the device."""
        return ((self.arrange(x) - self._center) * self._scale).to(self.device)

    def fit(self, x: Tensor, y: np.ndarray, n_classes: int, *, seed: int) -> None:
        """Trains from scratch on x [L, ...], y [L]."""
        generator = torch.Generator().manual_seed(seed)
        inputs, targets = self.prepared(x), torch.from_numpy(y).to(self.device)
        net = initialized(self.build(inputs, n_classes), generator).to(self.device)
        assert isinstance(net, Network)
        for module in net.modules():
            if isinstance(module, SeededDropout):
                module.generator = torch.Generator(self.device).manual_seed(seed)
        steps_per_epoch = batches(len(y), self.BATCH)
        epochs = max(self.epochs, -(-self.MIN_STEPS // steps_per_epoch))
        optimizer = torch.optim.AdamW(net.parameters(), lr=self.LEARNING_RATE, weight_decay=self.WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps_per_epoch)
        net.train()
        for _ in range(epochs):
            for rows in shuffled_batches(len(y), self.BATCH, generator):
                with self._autocast():
                    loss = functional.cross_entropy(net(inputs[rows]).float(), targets[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        self._net = net.eval()

    @torch.no_grad()
    def outputs(self, x: Tensor, needs: Collection[str], *, seed: int) -> Outputs:
        """Embeddings once, batch by batch; logits and MC samples from the head."""
        net = self._fitted()
        parts = []
        for start in range(0, len(x), self.INFERENCE_BATCH):
            with self._autocast():
                parts.append(net.features(self.prepared(x[start : start + self.INFERENCE_BATCH]))[-1].float())
        embeddings = torch.cat(parts)
        logits = mc_logits = None
        if "logits" in needs:
            logits = net.head(embeddings)
        if "mc_logits" in needs:
            generator = torch.Generator().manual_seed(seed)
            mc_logits = mc_dropout_logits(embeddings, net.head.weight.T, net.head.bias, generator, n_samples=MC_SAMPLES)
        return Outputs(logits, embeddings if "embeddings" in needs else None, mc_logits)

    def predict(self, x: Tensor) -> np.ndarray:
        """[N] int64 class numbers."""
        logits = self.outputs(x, {"logits"}, seed=0).logits
        assert logits is not None
        return logits.argmax(dim=1).cpu().numpy()

    def _fitted(self) -> Network:
        if self._net is None:
            raise RuntimeError("the model has not been fitted: call fit first")
        return self._net

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")


class MLPModel(NetworkModel):
    """One hidden layer with dropout, on features or flattened images."""

    name = "mlp"

    def __init__(self, device: torch.device, epochs: int = 50) -> None:
        super().__init__(device, epochs)

    def arrange(self, x: Tensor) -> Tensor:
        """[n, D]."""
        return as_features(x)

    def build(self, x: Tensor, n_classes: int) -> Callable[[], Network]:
        """An MLP for features [n, D]."""
        return lambda: MLP(x.shape[1], n_classes)


class CNNModel(NetworkModel):
    """A small convolutional net on images."""

    name = "cnn"

    def __init__(self, device: torch.device, epochs: int = 30) -> None:
        super().__init__(device, epochs)

    def build(self, x: Tensor, n_classes: int) -> Callable[[], Network]:
        """A CNN for images [n, channels, H, W]."""
        return lambda: CNN(x.shape[1], n_classes)


class ResNet18Model(NetworkModel):
    """CIFAR-stem ResNet-18 on images, as in the AutoAL paper. For a GPU: a CPU core trains some 10 images a second."""

    name = "resnet18"
    INFERENCE_BATCH = 256

    def __init__(self, device: torch.device, epochs: int = 30) -> None:
        super().__init__(device, epochs)

    def build(self, x: Tensor, n_classes: int) -> Callable[[], Network]:
        """A ResNet-18 for images [n, channels, H, W]."""
        return lambda: resnet18(n_classes, x.shape[1])


def batches(n: int, size: int) -> int:
    """How many batches of about ``size`` an epoch of n rows has; none of one row (batch norm), unless n = 1."""
    return max(1, n // size if n % size <= 1 else -(-n // size))


def shuffled_batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of one epoch, in ``batches(n, size)`` parts."""
    yield from torch.randperm(n, generator=generator).tensor_split(batches(n, size))
