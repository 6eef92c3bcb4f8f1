"""What a data set is, and how raw features become ones that a linear model can use."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

HETEROGENEOUS = 10.0  # largest column deviation over the median one, from which columns are standardized
SMALLEST_STD = 1e-3  # of the median deviation: what near-constant columns are divided by at least


@dataclass(frozen=True)
class DataSet:
    """A pool to label (train) and a test set.

    Attributes:
        name: What results call it.
        x_train: [N, D] float32 features, or [N, H, W] / [N, H, W, 3] images (uint8, or float).
        y_train: [N] int64 class numbers.
        x_test, y_test: The same of the test set.
        class_names: C names.
        source: Where it came from.
        features: What was done to the raw samples.
    """

    name: str
    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    source: str = ""
    features: str = "raw"

    @property
    def n_classes(self) -> int:
        """C."""
        return len(self.class_names)

    @property
    def image(self) -> bool:
        """Whether x holds images rather than features."""
        return self.x_train.ndim > 2


@dataclass(frozen=True)
class Samples:
    """A data set as its files give it: arrays, or texts, with labels of any kind."""

    x_train: np.ndarray | list[str]
    y_train: np.ndarray
    x_test: np.ndarray | list[str]
    y_test: np.ndarray


def class_numbers(y_train: np.ndarray, y_test: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels [N], [M] of any kind as class numbers 0..C-1 in sorted order, and the classes' names.

    Raises:
        ValueError: If the test set has a class that the training set has not.
    """
    classes, numbers = np.unique(y_train, return_inverse=True)
    if (y_train.dtype.kind in "US") != (y_test.dtype.kind in "US"):
        raise ValueError(
            f"{name}: y_train is {y_train.dtype} and y_test {y_test.dtype}: give both as names or both as numbers"
        )
    unseen = np.setdiff1d(y_test, classes)
    if len(unseen):
        raise ValueError(
            f"{name}: y_test has classes that y_train has not, such as {str(unseen[0])!r}: nothing could learn them"
        )
    return numbers.astype(np.int64), np.searchsorted(classes, y_test).astype(np.int64), tuple(str(c) for c in classes)


def is_heterogeneous(x: np.ndarray) -> bool:
    """Whether the columns of features x [N, D] have such different scales that a linear model would see few of them."""
    deviation = x.std(axis=0, dtype=np.float64)
    varying = deviation[deviation > 0]
    return bool(len(varying) and varying.max() > HETEROGENEOUS * np.median(varying))


def standardize(x_train: np.ndarray, x_test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D], [M, D] with the training columns' mean 0 and deviation 1, as float32."""
    mean, deviation = x_train.mean(axis=0, dtype=np.float64), x_train.std(axis=0, dtype=np.float64)
    varying = deviation[deviation > 0]
    deviation = np.maximum(deviation, SMALLEST_STD * np.median(varying) if len(varying) else 1.0)
    return ((x_train - mean) / deviation).astype(np.float32), ((x_test - mean) / deviation).astype(np.float32)
