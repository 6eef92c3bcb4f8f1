"""A user's own set: an ``.npz`` with x_train, y_train, x_test, y_test. Hostile until checked, never unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from autoal import checks
from autoal.experiment.datasets.dataset import Samples

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: Path, renamed: dict[str, str] | None = None) -> Samples:
    """The four arrays of an ``.npz``, checked.

    Args:
        path: The file.
        renamed: Names of the arrays in the file, where they differ.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, an array is missing, empty, of a wrong shape or type, or holds NaN or Inf.
    """
    names = {name: (renamed or {}).get(name, name) for name in ARRAYS}
    arrays = load_arrays(path, tuple(names.values()))
    x_train, y_train, x_test, y_test = (arrays[names[name]] for name in ARRAYS)
    y_train, y_test = as_labels(y_train, path, names["y_train"]), as_labels(y_test, path, names["y_test"])
    x_train, x_test = as_inputs(x_train, path, names["x_train"]), as_inputs(x_test, path, names["x_test"])
    for x, y, part in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        if len(x) != len(y):
            raise ValueError(
                f"{path}: x_{part} has {len(x)} samples but y_{part} {len(y)} labels: they must be as many"
            )
    if x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(f"{path}: x_train {x_train.shape} and x_test {x_test.shape} must agree but for the first axis")
    return Samples(x_train, y_train, x_test, y_test)


def load_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an ``.npz`` file, never unpickled."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {path}: give the path of an .npz, or a name that `autoal datasets` lists"
        )
    if not zipfile.is_zipfile(path):  # told here: numpy's advice on other files is to unpickle them
        raise ValueError(f"{path} is no .npz file, or its end is missing. Save one with numpy.savez")
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                there = ", ".join(sorted(archive.files)) or "none"
                raise ValueError(
                    f"array {missing[0]!r} is missing; the arrays there: {there}; needed: {', '.join(names)}"
                )
            arrays = {}
            for name in names:
                try:
                    arrays[name] = archive[name]
                except ValueError as error:
                    raise ValueError(
                        f"array {name!r} cannot be read without unpickling or is damaged ({error})"
                    ) from None
            return arrays
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        NotImplementedError,
    ) as error:
        raise ValueError(f"{path} is no usable .npz file: {error}. Save one with numpy.savez") from None
    except Exception as error:  # zlib.error and whatever else a damaged archive may raise
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}). Save it anew with numpy.savez"
        ) from None


def as_inputs(x: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Features as float32 [N, D], or images [N, H, W(, 3)] as uint8 or float32; checked."""
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"{path}: {name} must be features [N, D] or images [N, H, W(, channels)] of numbers, "
            f"got {checks.describe(x)}"
        )
    if x.ndim > 2 and x.dtype == np.uint8:
        return x
    with np.errstate(over="ignore"):  # told below, by rows
        out = x.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(out.reshape(len(out), -1)).all(axis=1))
    if len(bad):
        raise ValueError(f"{path}: {name} holds NaN, Inf or too large numbers in {checks.name_rows(bad.tolist())}")
    return out


def as_labels(y: np.ndarray, path: Path, name: str) -> np.ndarray:
    """Labels [N]: integers, or strings; [N, 1] is taken too."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.round(y)).all():
        y = y.astype(np.int64)
    if y.ndim != 1 or y.dtype.kind not in "iubUS" or not len(y):
        raise ValueError(f"{path}: {name} must be [N] integers or strings, one class each, got {checks.describe(y)}")
    return np.char.decode(y, "utf-8", "replace") if y.dtype.kind == "S" else y
