"""Readers of the sets' official files, from a folder. None of them unpickles anything."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np

from autoal import checks
from autoal.experiment.datasets.dataset import Samples
from autoal.experiment.datasets.npz import read_npz

DIGITS_TEST = 600


def read_digits(folder: Path | None) -> Samples:
    """scikit-learn's digits, 8 x 8: a fixed random 600 are the test set."""
    from sklearn.datasets import load_digits

    images, y = load_digits(return_X_y=True)
    x = images.reshape(-1, 8, 8).astype(np.float32)
    test, pool = np.split(np.random.default_rng(0).permutation(len(x)), [DIGITS_TEST])
    return Samples(x[pool], y[pool], x[test], y[test])


def read_idx(path: Path, md5: str | None = None) -> np.ndarray:
    """The array of unsigned bytes in an idx file (plain, or with ``.gz`` behind its name).

    Raises:
        ValueError: If the file is not of that format or, where ``md5`` is given, not the official one.
    """
    zipped = path.with_name(path.name + ".gz")
    raw = path.read_bytes() if path.is_file() else gzip.decompress(zipped.read_bytes())
    if md5 is not None and hashlib.md5(raw, usedforsecurity=False).hexdigest() != md5:
        raise ValueError(f"{path} is not the official file (its md5 differs): fetch it again")
    axes = raw[3] if len(raw) > 4 else 0
    if len(raw) < 4 + 4 * axes or raw[:3] != b"\0\0\x08" or not axes:
        raise ValueError(f"{path} is no idx file of unsigned bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", axes, 4))
    if len(raw) - 4 - 4 * axes != np.prod(shape, dtype=object):
        raise ValueError(f"{path} is cut off or too long: its header says {shape}")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def read_mnist_like(folder: Path, md5: tuple[str, str, str, str] | None = None) -> Samples:
    """MNIST and its kin: four idx files, 28 x 28."""
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    return Samples(*(read_idx(folder / name, md5[i] if md5 else None) for i, name in enumerate(names)))


def read_cifar10_png(folder: Path) -> Samples:
    """CIFAR-10 as lossless PNG, one image a row, with labels as JSON."""
    image = _pillow("CIFAR-10").open

    def pixels(name: str) -> np.ndarray:
        return np.asarray(image(folder / name)).reshape(-1, 32, 32, 3)

    x_train = np.concatenate([pixels(f"data_batch_{i}.png") for i in range(1, 6)])
    y_train, y_test = (
        np.array(json.loads((folder / f"{part}_lables.json").read_text()), np.int64) for part in ("train", "test")
    )
    return Samples(x_train, y_train, pixels("test_batch.png"), y_test)


def read_cifar_binary(folder: Path, train: tuple[str, ...], test: tuple[str, ...], label_bytes: int) -> Samples:
    """CIFAR in the official binary version: per image the label bytes (the last counts), then 3 x 32 x 32 pixels."""

    def read(names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        raw = np.concatenate([np.fromfile(folder / name, np.uint8) for name in names])
        width = label_bytes + 3072
        if not len(raw) or len(raw) % width:
            raise ValueError(f"{folder / names[0]} is no CIFAR binary file: its size is no multiple of {width} bytes")
        rows = raw.reshape(-1, width)
        images = rows[:, label_bytes:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(images), rows[:, label_bytes - 1].astype(np.int64)

    return Samples(*read(train), *read(test))


def read_svhn(folder: Path) -> Samples:
    """SVHN's cropped digits: train_32x32.mat, test_32x32.mat; the digit 0 is stored as 10."""
    from scipy.io import loadmat

    def read(name: str) -> tuple[np.ndarray, np.ndarray]:
        if not (folder / name).is_file():
            raise FileNotFoundError(folder / name)
        try:
            file = loadmat(str(folder / name), variable_names=["X", "y"])
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(f"{folder / name} is no readable .mat file ({type(error).__name__}: {error})") from None
        if "X" not in file or "y" not in file:
            raise ValueError(f"{folder / name} must hold X and y")
        return np.ascontiguousarray(file["X"].transpose(3, 0, 1, 2)), file["y"].ravel().astype(np.int64) % 10

    return Samples(*read("train_32x32.mat"), *read("test_32x32.mat"))


def read_tinyimagenet(folder: Path) -> Samples:
    """TinyImageNet: train/<class>/images/*.JPEG; val/images with val/val_annotations.txt as the test set."""
    pillow = _pillow("TinyImageNet")

    def pixels(path: Path) -> np.ndarray:
        with pillow.open(path) as image:
            return np.asarray(image.convert("RGB"))

    train = [(path, path.parent.parent.name) for path in sorted((folder / "train").glob("*/images/*.JPEG"))]
    annotations = [line.split("\t") for line in (folder / "val" / "val_annotations.txt").read_text().splitlines()]
    test = [(folder / "val" / "images" / Path(words[0]).name, words[1]) for words in annotations if len(words) > 1]
    if not train or not test:
        raise ValueError(f"{folder} holds no train/<class>/images/*.JPEG or no val/val_annotations.txt")
    return Samples(
        np.stack([pixels(path) for path, _ in train]),
        np.array([name for _, name in train]),
        np.stack([pixels(path) for path, _ in test]),
        np.array([name for _, name in test]),
    )


def read_medmnist(folder: Path, name: str) -> Samples:
    """A MedMNIST set: <name>.npz with train_images, train_labels, test_images, test_labels."""
    parts = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
    return read_npz(folder / f"{name}.npz", parts)


def read_rda(path: Path, label: str) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, D] float32 and labels [N] of the one data frame in an .rda file."""
    try:
        import pyreadr
    except ImportError:
        raise checks.MissingExtraError("pyreadr", "tables", f"reading {path.name}") from None
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        frame = next(iter(pyreadr.read_r(str(path)).values()))
    except Exception as error:  # pyreadr's own errors share no base
        raise ValueError(f"{path} is no readable .rda file ({error})") from None
    return frame.drop(columns=label).to_numpy(np.float32), frame[label].astype(str).to_numpy(str)


def read_letter(folder: Path) -> Samples:
    """UCI Letter: the first 16,000 train, the last 4,000 test, as usual."""
    x, y = read_rda(folder / "LetterRecognition.rda", "lettr")
    return Samples(x[:16_000], y[:16_000], x[16_000:], y[16_000:])


def read_shuttle(folder: Path) -> Samples:
    """Statlog Shuttle: the first 43,500 train, the last 14,500 test, as usual."""
    x, y = read_rda(folder / "Shuttle.rda", "Class")
    return Samples(x[:43_500], y[:43_500], x[43_500:], y[43_500:])


def read_tab_texts(folder: Path, name: str) -> Samples:
    """<name>-train.tab and <name>-test.tab: three header lines, then label, tab, text."""

    def read(part: str) -> tuple[list[str], np.ndarray]:
        lines = (folder / f"{name}-{part}.tab").read_text(encoding="utf-8").splitlines()[3:]
        rows = [row for row in (line.split("\t") for line in lines) if len(row) == 2 and all(row)]
        if not rows:
            raise ValueError(f"{folder / name}-{part}.tab holds no line of label, tab, text")
        return [text for _, text in rows], np.array([label for label, _ in rows])

    return Samples(*read("train"), *read("test"))


def _pillow(purpose: str):  # type: ignore[no-untyped-def]
    try:
        from PIL import Image
    except ImportError:
        raise checks.MissingExtraError("pillow", "images", purpose) from None
    return Image
