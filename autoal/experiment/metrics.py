"""Figures of paired runs: accuracies, AULC, standard errors, win rates, seconds. ``statistics`` tests them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from autoal.experiment.conditions import task

Record = dict[str, Any]  # one line of metrics.jsonl
Run = tuple[str, str, int]  # (task, strategy, seed); a task is a data set under a condition
DECIMALS = 12  # of an AULC: equal areas must not differ by the order in which they are summed


def accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Share of samples [N] whose class is right."""
    return float(np.mean(predicted == y))


def balanced_accuracy(predicted: np.ndarray, y: np.ndarray) -> float:
    """Mean over the classes in y [N] of the share of their samples that are right."""
    return float(np.mean([np.mean(predicted[y == c] == c) for c in np.unique(y)]))


def task_of(record: Record) -> str:
    """The data set of a record, under its condition."""
    return task(record["dataset"], record.get("condition", ""))


def aulc(records: Iterable[Record], measure: str = "accuracy") -> dict[Run, float]:
    """Area under each run's learning curve: mean test accuracy over rounds 1..R (round 0 is the start all share)."""
    curves: dict[Run, list[float]] = defaultdict(list)
    for record in records:
        if record["round"] > 0:
            curves[task_of(record), record["strategy"], record["seed"]].append(record[measure])
    return {run: round(float(np.mean(values)), DECIMALS) for run, values in curves.items()}


def mean_sem(values: Iterable[float]) -> dict[str, float | int | None]:
    """Mean, standard error (None for fewer than two values) and count."""
    array = np.array(list(values), dtype=float)
    sem = float(array.std(ddof=1) / math.sqrt(len(array))) if len(array) > 1 else None
    return {"mean": float(array.mean()), "sem": sem, "n": len(array)}


def over_tasks(areas: Mapping[Run, float], strategy: str) -> dict[str, float | int | None]:
    """A strategy's mean over the tasks of its means; the error is over the seeds that all its tasks have.

    How far tasks differ is no error.
    """
    of_task: dict[str, dict[int, float]] = defaultdict(dict)
    for (name, other, seed), area in areas.items():
        if other == strategy:
            of_task[name][seed] = area
    common = set.intersection(*(set(of_seed) for of_seed in of_task.values()))
    if not common:
        means = [np.mean(list(of_seed.values())) for of_seed in of_task.values()]
        return {"mean": float(np.mean(means)), "sem": None, "n": 0}
    return mean_sem(float(np.mean([of_seed[seed] for of_seed in of_task.values()])) for seed in sorted(common))


def by_task(areas: Mapping[Run, float]) -> dict[str, dict[str, dict[str, float | int | None]]]:
    """``[task][strategy]``: mean and standard error over the seeds."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (name, strategy, _), area in areas.items():
        values[name][strategy].append(area)
    return {name: {s: mean_sem(v) for s, v in of_task.items()} for name, of_task in values.items()}


def win_rates(areas: dict[Run, float]) -> dict[str, dict[str, float | None]]:
    """``[a][b]``: the share of (task, seed) pairs in which a's AULC exceeds b's; ties count half, None = no pair."""
    strategies = list(dict.fromkeys(strategy for _, strategy, _ in areas))
    pairs = sorted({(name, seed) for name, _, seed in areas})
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


def seconds(records: list[Record], strategy: str, key: str) -> dict[str, float | int | None]:
    """Mean, standard error, count and median of the seconds of a strategy's rounds after round 0."""
    values = [r[key] for r in records if r["strategy"] == strategy and r["round"] > 0]
    return {**mean_sem(values), "median": float(np.median(values))}


def summarize(records: list[Record]) -> dict[str, Any]:
    """The figures of ``summary.json`` that describe: AULC (mean over the tasks, and by task), win rates, seconds.

    Standard errors are over the seeds alone.
    """
    areas = aulc(records)
    strategies = list(dict.fromkeys(record["strategy"] for record in records))
    return {
        "aulc": {s: over_tasks(areas, s) for s in strategies},
        "aulc_by_dataset": by_task(areas),
        "win_rate": win_rates(areas),
        "query_seconds": {s: seconds(records, s, "query_seconds") for s in strategies},
    }
