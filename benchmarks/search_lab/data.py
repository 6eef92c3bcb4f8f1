"""The study's data sets: tables of two R packages, sets of scikit-learn, synthetic ones, frozen features and pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
from sklearn import datasets as sk

from autoal.experiment import datasets
from autoal.experiment.datasets.dataset import standardize
from autoal.experiment.datasets.fetch import Package, cache_folder, obtain
from autoal.experiment.datasets.readers import read_rda

Samples = tuple[np.ndarray, np.ndarray]  # x [n, D], y [n] of any kind

LIBRARY = "usr/lib/R/site-library"
MLBENCH = (
    "LetterRecognition", "Satellite", "Shuttle", "Vehicle", "Vowel", "DNA", "PimaIndiansDiabetes", "Ionosphere",
)  # fmt: skip
_letter = datasets.DATASETS["letter"].package  # the same archive
assert _letter is not None
PACKAGES = {
    "mlbench": replace(_letter, members={f"{LIBRARY}/mlbench/data/{name}.rda": f"{name}.rda" for name in MLBENCH}),
    "kernlab": Package(
        "apt", "r-cran-kernlab", "0.9-32-1", "ab09291d7de965e84f808e3ae646d7043fa87e1e30cfcebec6b95d14f6828b62",
        {f"{LIBRARY}/kernlab/data/{name}.rda": f"{name}.rda" for name in ("spam", "musk")},
    ),
}  # fmt: skip
MOST = 12_000  # samples of a large set that are looked at
PCA_ROWS, PCA_WIDTH = 8_000, 128


def _scaled(x: np.ndarray, y: np.ndarray) -> Samples:
    return standardize(x, x)[0], y


def _table(package: str, file: str, label: str, skip: int = 0, scaled: bool = True) -> Samples:
    """An R data frame without its first ``skip`` columns, which name the speaker or are constant."""
    folder = obtain(PACKAGES[package], f"R package {package}", cache_folder() / "datasets" / package)
    x, y = read_rda(folder / f"{file}.rda", label)
    return _scaled(x[:, skip:], y) if scaled else (x, y)


def _scikit(name: str, scaled: bool = True) -> Samples:
    x, y = getattr(sk, f"load_{name}")(return_X_y=True)
    return _scaled(x, y) if scaled else (x, y)


def _synthetic(n: int, width: int, n_classes: int, clusters: int, separation: float) -> Samples:
    shape = {"n_informative": 20, "n_redundant": 4, "n_classes": n_classes, "n_clusters_per_class": clusters}
    return _scaled(*sk.make_classification(n, width, class_sep=separation, random_state=n_classes, **shape))


def _known(name: str, features: str = "raw") -> Samples:
    data = datasets.load(name, features=features, progress=True)
    x, y = data.x_train[:MOST], data.y_train[:MOST]
    return (x.reshape(len(x), -1).astype(np.float32) / 255 if data.image else x), y


def _projected_cifar() -> Samples:
    """Principal components of the frozen features."""
    x, y = _known("cifar10", "lite0")
    centered = x - x.mean(axis=0, dtype=np.float64)
    some = centered[:PCA_ROWS]
    _, axes = np.linalg.eigh(some.T @ some)  # the largest variance last
    return centered @ axes[:, -PCA_WIDTH:], y


DEVELOPMENT: dict[str, Callable[[], Samples]] = {
    "letter": partial(_table, "mlbench", "LetterRecognition", "lettr", scaled=False),
    "vowel": partial(_table, "mlbench", "Vowel", "Class", skip=1),
    "vehicle": partial(_table, "mlbench", "Vehicle", "Class"),
    "dna": partial(_table, "mlbench", "DNA", "Class", scaled=False),
    "digits": partial(_scikit, "digits", scaled=False),
    "fashion": partial(_known, "fashion-mnist"),
    "cifar_pca": _projected_cifar,
    "news20": partial(_known, "20newsgroups", "minilm"),
    "synth10": partial(_synthetic, 6_000, 32, 10, 2, 1.0),
    "breast_cancer": partial(_scikit, "breast_cancer"),
    "pima": partial(_table, "mlbench", "PimaIndiansDiabetes", "diabetes"),
    "wine_raw": partial(_scikit, "wine", scaled=False),
    "synth3": partial(_synthetic, 4_000, 40, 3, 2, 1.0),
}
HELD_OUT: dict[str, Callable[[], Samples]] = {
    "satellite": partial(_table, "mlbench", "Satellite", "classes", scaled=False),
    "shuttle": partial(_table, "mlbench", "Shuttle", "Class"),
    "spam": partial(_table, "kernlab", "spam", "type"),
    "ionosphere": partial(_table, "mlbench", "Ionosphere", "Class", skip=2),
    "musk": partial(_table, "kernlab", "musk", "Class"),
    "wine": partial(_scikit, "wine"),
    "iris": partial(_scikit, "iris"),
    "synth100": partial(_synthetic, 12_000, 64, 100, 1, 1.5),
}
SETS = DEVELOPMENT | HELD_OUT
LOW_ONLY = ("wine_raw", "wine", "iris", "synth100")  # the high budget would ask for most of such a pool


@lru_cache(1)
def load(name: str) -> Samples:
    """x [n, D] float32 and class numbers y [n] of a set, in an order that is drawn once."""
    x, y = SETS[name]()
    order = np.random.default_rng(0).permutation(len(x))
    return np.asarray(x, np.float32)[order], np.unique(y, return_inverse=True)[1][order]
