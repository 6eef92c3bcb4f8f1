"""A teacher that needs no FitNet: label propagation over the graph of neighbors (Zhou et al. 2004)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .task import State, Task

ALPHA = 0.9


def propagated(state: State) -> np.ndarray:
    """t [N, C], class probabilities; a class counts by the square root of its number of labels."""
    answers = np.eye(state.task.n_classes, dtype=np.float32)[state.task.y[state.labeled]]  # [L, C]
    mass = operator(state.task)[:, state.labeled] @ (answers / np.sqrt(np.maximum(answers.sum(0), 1)))
    return mass / np.maximum(mass.sum(1, keepdims=True), 1e-12)


@lru_cache(1)
def operator(task: Task) -> np.ndarray:
    """(I - alpha S)^-1 [N, N], S the normalized graph; distances are in units of those to the last neighbors."""
    graph, n = task.features.graph, len(task.y)
    squared = squared_distances(task)
    scale = np.maximum(squared[:, -1:], 1e-6)
    adjacency = np.zeros((n, n), np.float32)
    np.put_along_axis(adjacency, graph, np.exp(-squared / np.sqrt(scale * scale[graph][:, :, 0])), axis=1)
    adjacency = np.maximum(adjacency, adjacency.T)
    norm = 1 / np.sqrt(adjacency.sum(1) + 1e-12)
    return np.linalg.inv(np.eye(n, dtype=np.float32) - ALPHA * adjacency * norm[:, None] * norm)


def squared_distances(task: Task) -> np.ndarray:
    """[N, k] of the samples to their neighbors, on the unit sphere."""
    unit = task.unit.numpy()
    return np.maximum(2 - 2 * np.einsum("nd,nkd->nk", unit, unit[task.features.graph]), 0)


def doubt(state: State) -> np.ndarray:
    """[N] the probability, by the teacher, that FitNet's class is wrong."""
    return 1 - propagated(state)[np.arange(len(state.predicted)), state.predicted]


def gain(state: State) -> np.ndarray:
    """[N] the teacher's own reducible loss, sum_y t(y) max(0, t(y) - p(y))."""
    t = propagated(state)
    return (t * np.maximum(0, t - state.p.numpy())).sum(1)


def variation(state: State) -> np.ndarray:
    """[N] the total variation between teacher and FitNet."""
    return np.abs(propagated(state) - state.p.numpy()).sum(1) / 2
