"""Small data sets of three noisy classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autoal.experiment.datasets import DataSet


@pytest.fixture(scope="session")
def make_data() -> Callable[..., DataSet]:
    """Makes a set with a pool of n samples and 20 test samples."""

    def make(name: str = "small", n: int = 40, seed: int = 0) -> DataSet:
        rng = np.random.default_rng(seed)
        x = rng.standard_normal((n + 20, 3)).astype(np.float32)
        y = (x + 0.5 * rng.standard_normal(x.shape)).argmax(1)
        return DataSet(name, x[:n], y[:n], x[n:], y[n:], ("a", "b", "c"))

    return make


@pytest.fixture
def data(make_data: Callable[..., DataSet]) -> DataSet:
    return make_data()
