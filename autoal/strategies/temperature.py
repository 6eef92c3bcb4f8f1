"""Temperature scaling without a validation set: the temperature at which held-out predictions are calibrated best."""

from __future__ import annotations

import numpy as np
import torch

from autoal.models import softmax_regression
from autoal.strategies.frozen import features
from autoal.types import Context

TEMPERATURES = np.arange(10, 200) / 10  # tried
BINS = 15
FOLDS = 5


def calibrating_temperature(context: Context) -> float:
    """The temperature in [1, 20) with the smallest expected calibration error; found once per round.

    The model itself has seen all labels. So a softmax regression on the embeddings stands in for it: each fifth of the
    labels is predicted by one that was fitted to the others. 1 where there are fewer than two labels.
    """
    return context.once("temperature", lambda: _best_temperature(*held_out_logits(context)))


def held_out_logits(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Logits [L, C] of the labeled samples by softmax regressions that did not see them, and their classes [L]."""
    assert context.labels is not None
    x = features(context)[torch.from_numpy(context.labeled)].double().cpu().numpy()
    order = context.generator("temperature").permutation(len(x))
    logits = np.zeros((len(x), context.n_classes))
    for held in np.array_split(order, min(FOLDS, len(x))) if len(x) > 1 else []:
        train = np.setdiff1d(order, held)
        logits[held] = x[held] @ softmax_regression.fit(x[train], context.labels[train], context.n_classes)
    return logits, context.labels


def calibration_error(logits: np.ndarray, classes: np.ndarray) -> float:
    """Expected calibration error of logits [L, C]: |accuracy - confidence| of 15 bins of confidence, by their share."""
    confidence = 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)  # the softmax of the largest
    right = logits.argmax(axis=1) == classes
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(classes))


def _best_temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    if len(classes) < 2:
        return 1.0
    return float(TEMPERATURES[np.argmin([calibration_error(logits / t, classes) for t in TEMPERATURES])])
