"""The coverage variant beside the plain numpy reference on the digits: AULC of paired runs, in percent.

Pool 1,197, test 600, 20 random labels, ten rounds of 20; softmax regression judges all of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

import autoal

CLASSES, TEST, INITIAL, SIZE, ROUNDS = 10, 600, 20, 20, 10
VARIANTS: dict[str, dict[str, Any]] = {
    "none": {"search": "none"},
    "prior": {"search": "prior"},
    "undamped": {"search": "adaptive", "damped": False},
    "adaptive": {"search": "adaptive"},
}


def load_reference() -> ModuleType:
    """The reference implementation, which lies beside the tests."""
    path = Path(__file__).parents[1] / "tests" / "search" / "coverage_reference.py"
    spec = importlib.util.spec_from_file_location("coverage_reference", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def run(who: str, options: dict[str, Any], seed: int, reference: ModuleType) -> tuple[float, float]:
    """AULC in percent and seconds per query of one run: ``who`` is "reference", "autoal" or the name of a strategy."""
    images, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    test, pool = np.split(rng.permutation(len(images)), [TEST])
    raw = images[pool]
    x, x_test = reference.prepare(raw, raw), reference.prepare(images[test], raw)
    labeled, accuracy, seconds = rng.choice(len(pool), INITIAL, replace=False), [], 0.0
    theirs = reference.CoverageQuery(raw, CLASSES, **options)
    outputs = autoal.Outputs(embeddings=raw.astype(np.float32))
    ours: Any = autoal.AutoAL(**options) if who == "autoal" else who
    for _ in range(ROUNDS + 1):
        y = classes[pool[labeled]]
        weight = reference.fit_net(x[labeled], y, CLASSES)
        accuracy.append(100 * np.mean((x_test @ weight).argmax(axis=1) == classes[test]))
        start = time.perf_counter()
        if who == "reference":
            picks = theirs.query(labeled, y, SIZE, np.random.default_rng([seed, len(labeled)]))
        else:
            given = outputs if who == "autoal" else autoal.Outputs(logits=x @ weight)
            query = autoal.select(given, SIZE, ours, labeled=labeled, labels=y, n_classes=CLASSES, seed=seed)
            picks = query.indices
        seconds += time.perf_counter() - start
        labeled = np.concatenate([labeled, picks])
    return float(np.mean(accuracy[1:])), seconds / (ROUNDS + 1)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    reference = load_reference()
    rows: list[tuple[str, str, dict[str, Any]]] = [("random", "random", {}), ("margin", "margin", {})]
    for name, options in VARIANTS.items():
        rows += [(f"{name}, reference", "reference", options), (f"{name}, autoal", "autoal", options)]
    warnings.simplefilter("ignore", UserWarning)
    for title, who, options in rows:
        results = np.array([run(who, options, seed, reference) for seed in seeds])
        area, seconds = results.T
        error = area.std(ddof=1) / np.sqrt(len(area)) if len(area) > 1 else float("nan")
        print(f"{title:22s} AULC {area.mean():.2f} +- {error:.2f}   {seconds.mean():.2f} s a query", flush=True)


if __name__ == "__main__":
    main()
