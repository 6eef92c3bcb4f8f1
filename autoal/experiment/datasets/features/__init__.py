"""Frozen features: which fit which kind of set, computed once and kept on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autoal import files
from autoal.experiment.datasets.dataset import Samples
from autoal.experiment.datasets.features import lite0, minilm, tfidf

FEATURES = ("auto", "raw", "lite0", "minilm", "tfidf")
IMAGES = ("images", "color images")
DEFAULT = {"color images": "lite0", "texts": "tfidf"}
FOR_KIND = {"lite0": IMAGES, "minilm": ("texts",), "tfidf": ("texts",)}
DESCRIPTION = {
    "lite0": "frozen EfficientNet-Lite0 at 64 px",
    "minilm": "frozen all-MiniLM-L6-v2",
    "tfidf": "TF-IDF, 256 singular vectors",
}


def features_of(kind: str, features: str) -> str:
    """The features meant by "auto"; ValueError if these do not fit the kind of set."""
    if features == "auto":
        return DEFAULT.get(kind, "raw")
    fitting = FOR_KIND.get(features)
    if fitting is not None and kind not in fitting:
        raise ValueError(f"features {features!r} are for {' and '.join(fitting)}, this set holds {kind}: use 'auto'")
    return features


def embed(
    samples: Samples, features: str, cache: Path, *, download: bool, compute: bool, progress: bool
) -> tuple[np.ndarray, np.ndarray, str]:
    """Features [N, D], [M, D] float32 and a note on what they are.

    Raises:
        FileNotFoundError: If weights are missing and cannot be fetched, or features are missing and not to be computed.
    """
    if features == "tfidf":
        train, test = list(samples.x_train), list(samples.x_test)
        both_embedded = (lambda _: tfidf.embed(train, test)) if compute else None
        stacked = cached(train + test, f"tfidf-{tfidf.VERSION}-{len(train)}", cache, both_embedded)
        return stacked[: len(train)], stacked[len(train) :], DESCRIPTION[features]
    module = lite0 if features == "lite0" else minilm

    def embedded(x: np.ndarray | list[str]) -> np.ndarray:
        return module.embed(x, cache, download=download, progress=progress)

    name, made = f"{features}-{module.VERSION}", embedded if compute else None
    both = [cached(x, name, cache, made) for x in (samples.x_train, samples.x_test)]
    return both[0], both[1], DESCRIPTION[features]


def cached(
    x: np.ndarray | list[str],
    backbone: str,
    cache: Path,
    compute: Callable[[np.ndarray | list[str]], np.ndarray] | None,
) -> np.ndarray:
    """``compute(x)``, kept on disk under the hash of the samples and the backbone; None: what is not there is refused.

    Raises:
        FileNotFoundError: If it is neither there nor to be computed.
    """
    digest = hashlib.sha256(backbone.encode())
    if isinstance(x, np.ndarray):
        digest.update(f"{x.shape} {x.dtype}".encode())
        digest.update(np.ascontiguousarray(x).data)
    else:
        for text in x:
            digest.update(text.encode() + b"\0")
    path = cache / "features" / f"{backbone}-{digest.hexdigest()}.npy"
    if path.is_file():
        return np.load(path, allow_pickle=False)
    if compute is None:
        raise FileNotFoundError(f"features {backbone} of these samples have not been computed: {path} is missing")
    folder = files.writable_folder(path.parent, "the cache folder")
    out = compute(x)
    files.atomic_write(folder / path.name, lambda temporary: np.save(temporary, out, allow_pickle=False))
    return out
