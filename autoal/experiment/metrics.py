"""Statistics over paired runs: AULC, standard errors, win rates."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

Record = dict[str, Any]  # one line of metrics.jsonl
Run = tuple[str, str, int]  # (dataset, strategy, seed)


def accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Share of samples [N] whose class is right."""
    return float(np.mean(predicted == y))


def balanced_accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Mean over the classes in y [N] of the share of their samples that are right."""
    return float(np.mean([np.mean(predicted[y == c] == c) for c in np.unique(y)]))


def aulc(records: Iterable[Record]) -> dict[Run, float]:
    """Area under each run's learning curve: mean test accuracy over rounds 1..R (round 0 is the start all share)."""
    curves: dict[Run, list[float]] = defaultdict(list)
    for record in records:
        if record["round"] > 0:
            curves[record["dataset"], record["strategy"], record["seed"]].append(record["accuracy"])
    return {run: float(np.mean(values)) for run, values in curves.items()}


def mean_sem(values: Iterable[float]) -> dict[str, float | int | None]:
    """Mean, standard error (None for fewer than two values) and count."""
    array = np.array(list(values), dtype=float)
    sem = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else None
    return {"mean": float(array.mean()), "sem": sem, "n": len(array)}


def over_datasets(areas: dict[Run, float], strategy: str) -> list[float]:
    """A strategy's AULC per seed: the mean over the data sets."""
    of_seed: dict[int, list[float]] = defaultdict(list)
    for (_, name, seed), area in areas.items():
        if name == strategy:
            of_seed[seed].append(area)
    return [float(np.mean(values)) for values in of_seed.values()]


def win_rates(areas: dict[Run, float]) -> dict[str, dict[str, float | None]]:
    """``[a][b]``: the share of (dataset, seed) pairs in which a's AULC exceeds b's; ties count half, None = no pair."""
    strategies = list(dict.fromkeys(strategy for _, strategy, _ in areas))
    pairs = sorted({(dataset, seed) for dataset, _, seed in areas})
    table: dict[str, dict[str, float | None]] = {}
    for one in strategies:
        table[one] = {}
        for other in strategies:
            if one == other:
                continue
            both = [
                (areas[d, one, s], areas[d, other, s])
                for d, s in pairs
                if (d, one, s) in areas and (d, other, s) in areas
            ]
            points = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in both]
            table[one][other] = float(np.mean(points)) if points else None
    return table


def summarize(records: list[Record]) -> dict[str, Any]:
    """What ``summary.json`` holds: AULC (mean over the data sets, and by data set), win rates, seconds per query.

    Standard errors are over the seeds alone: how far data sets differ is no error.
    """
    areas = aulc(records)
    datasets = list(dict.fromkeys(record["dataset"] for record in records))
    strategies = list(dict.fromkeys(record["strategy"] for record in records))
    seconds = {
        strategy: mean_sem(r["query_seconds"] for r in records if r["strategy"] == strategy and r["round"] > 0)
        for strategy in strategies
    }
    return {
        "aulc": {s: mean_sem(over_datasets(areas, s)) for s in strategies},
        "aulc_by_dataset": {
            d: {
                s: mean_sem(a for (dataset, strategy, _), a in areas.items() if dataset == d and strategy == s)
                for s in strategies
                if any(dataset == d and strategy == s for dataset, strategy, _ in areas)
            }
            for d in datasets
        },
        "win_rate": win_rates(areas),
        "query_seconds": seconds,
    }
