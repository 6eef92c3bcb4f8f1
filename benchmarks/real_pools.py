"""Real pools: pixels, and frozen features of pretrained networks, as the cache of the data sets holds them.

``python benchmarks/real_pools.py`` fetches the sets and computes the features, once: some 20 CPU minutes. The
benchmarks themselves fetch and compute nothing, so that none waits for that; they say what they leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoal.checks import MissingExtraError
from autoal.experiment import datasets
from autoal.models.linear import LinearModel

SETS = (("fashion-mnist", "raw"), ("cifar10", "lite0"), ("20newsgroups", "minilm"))


@dataclass(frozen=True)
class RealPool:
    """Rows [N, D] float32 with their class numbers [N]."""

    name: str
    x: Tensor
    y: np.ndarray
    n_classes: int

    def head(self, n_labeled: int) -> tuple[Tensor, Tensor]:
        """Logits [N, C] of a linear model after so many random labels, and the embeddings [N, D] that it reads."""
        rows = np.random.default_rng(0).permutation(len(self.x))[:n_labeled]
        model = LinearModel(torch.device("cpu"))
        model.look(self.x)
        model.fit(self.x[rows], self.y[rows], self.n_classes, seed=0)
        outputs = model.outputs(self.x, {"logits", "embeddings"}, seed=0)
        return outputs.require("logits"), outputs.require("embeddings")


def real_pools(n: int | None = None, d: int | None = None) -> Iterator[RealPool]:
    """Every set that is in the cache, cut to n rows and d columns; says which are not."""
    for name, features in SETS:
        try:
            data = datasets.load(name, features=features, download=False, compute=False)
        except (FileNotFoundError, MissingExtraError) as error:
            print(f"left out: {name} {features}; `python {__file__}` makes it ({error})")
            continue
        x = torch.tensor(data.x_train.reshape(len(data.x_train), -1)[:n, :d], dtype=torch.float32)
        yield RealPool(name if features == "raw" else f"{name} {features}", x, data.y_train[:n], data.n_classes)


def main() -> None:
    """Fetches and computes all that ``SETS`` name."""
    for name, features in SETS:
        data = datasets.load(name, features=features, progress=True)
        print(f"{name}: {data.x_train.shape}, {data.features}, from {data.source}")


if __name__ == "__main__":
    main()
