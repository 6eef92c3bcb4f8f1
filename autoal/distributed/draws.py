"""Draws that depend on what they are for, never on who makes them or when."""

from __future__ import annotations

import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(z: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64, as in csrc/common/random.h; z [...] uint64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """[n] uniform in [0, 1), 53 bits: draw ``numbers`` [n] of ``rows`` [n] of the pool."""
    stream = mixed(np.array([seed], np.uint64) + GOLDEN)  # an array: scalars would warn that they overflow
    stream = mixed(stream + GOLDEN * (rows.astype(np.uint64) + np.uint64(1)))
    bits = mixed(stream + GOLDEN * (numbers.astype(np.uint64) + np.uint64(1)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
