"""The reference of the coverage variant, and a pool of digits."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from autoal import Context, Outputs
from autoal.strategies import ScoreStrategy


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """``coverage_reference.py``."""
    spec = importlib.util.spec_from_file_location(
        "coverage_reference", Path(__file__).with_name("coverage_reference.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """A pool of 600 digits [600, 64] and their classes."""
    images, y = load_digits(return_X_y=True)
    pool = np.random.default_rng(0).permutation(len(images))[:600]
    return images[pool], y[pool]


@pytest.fixture
def context(digits) -> Context:
    """The digits with 40 labels and nothing but embeddings."""
    x, y = digits
    labeled = np.random.default_rng(1).choice(len(x), 40, replace=False)
    return Context.of(Outputs(embeddings=x), labeled, y[labeled], n_classes=10, seed=5)


PIXEL = 20


class Pixel(ScoreStrategy):
    """A candidate of a user's own."""

    name = "pixel"
    needs = ("embeddings",)

    def score(self, context: Context) -> torch.Tensor:
        return context.outputs.embeddings[:, PIXEL]


class Constant(ScoreStrategy):
    """A candidate that says nothing: SearchNet is left with its four signals."""

    name = "constant"

    def score(self, context: Context) -> torch.Tensor:
        return torch.zeros(len(context))


@pytest.fixture
def pixel() -> type[Pixel]:
    return Pixel


@pytest.fixture
def constant() -> type[Constant]:
    return Constant
