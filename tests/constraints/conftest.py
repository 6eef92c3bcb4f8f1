"""A pool that all strategies can look at, small enough that all of them are asked under every rule."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import autoal

N, C, D, T, L = 120, 4, 6, 5, 20


class Task:
    """Outputs of a pool, its labels, and a way to ask."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.y = rng.integers(0, C, N)
        embeddings = (3 * rng.standard_normal((C, D))[self.y] + rng.standard_normal((N, D))).astype(np.float32)
        logits = (embeddings @ rng.standard_normal((D, C))).astype(np.float32)
        mc_logits = logits + rng.standard_normal((T, N, C)).astype(np.float32)
        self.outputs = autoal.Outputs(*map(torch.from_numpy, (logits, embeddings, mc_logits)))
        self.labeled = rng.choice(N, L, replace=False)
        self.x = embeddings.astype(np.float64)

    def ask(self, strategy, size, *, seed=3, labeled=None, **constraints):
        labeled = self.labeled if labeled is None else labeled
        rules = autoal.Constraints(**constraints) if constraints else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=autoal.ShortQueryWarning)
            return autoal.select(
                self.outputs, size, strategy, labeled=labeled, labels=self.y[labeled], constraints=rules, seed=seed
            )


@pytest.fixture(scope="session")
def task():
    return Task()
