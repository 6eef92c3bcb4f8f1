"""The ablations of the AutoAL paper on small pools: AULC of paired runs in percent, and what became of the weights.

With and without loss prediction, and without any search; 1, 3, 5 and 7 candidates; nets with another architecture; the
highest scores (as in the paper) or coverage. Digits: pool 1,197, 20 random labels, eight rounds of 20. Letter: 1,500
samples drawn anew for each seed, 52 random labels, eight rounds of 26. Softmax regression judges all of them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import autoal
from autoal.experiment import datasets
from autoal.oracle import DataSetOracle
from autoal.search.autoal import DEFAULT_CANDIDATES

ROUNDS = 8
POOL, TEST = 1_500, 2_000  # samples at most
STAGES = ("inference", "candidates", "search", "selection")
NAMES = {"digits": (20, 20), "letter": (52, 26)}  # initial labels, labels per round

PAPER: dict[str, dict[str, Any]] = {
    "7 candidates": {},
    "without loss prediction": {"loss_prediction": False},
    "without search": {"search": "none"},
    "MLPs for both nets": {"backbone": "mlp"},
    **{f"{n} candidate{'s' if n > 1 else ''}": {"candidates": DEFAULT_CANDIDATES[:n]} for n in (5, 3, 1)},
}
FULL = "7 candidates"


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        area: AULC in percent.
        seconds: By stage, mean over the queries.
        weights: [R, S] the candidates' weights by round; empty for other strategies.
    """

    area: float
    seconds: dict[str, float]
    weights: np.ndarray


def strategies() -> Iterator[tuple[str, str, Any]]:
    """Query form, name, and how to make the strategy."""
    yield "", "random", "random"
    yield "", "margin", "margin"
    yield "", "variant='coverage'", {}
    for query in ("top", "coverage"):
        for name, options in PAPER.items():
            yield query, name, {"variant": "paper", "query": query, **options}


def run(data: datasets.DataSet, how: Any, seed: int) -> Run:
    """A run on a part of the data that depends on the seed alone."""
    rng = np.random.default_rng(seed)
    pool = rng.permutation(len(data.x_train))[:POOL]
    test = rng.permutation(len(data.x_test))[:TEST]
    initial, size = NAMES[data.name]
    strategy = how if isinstance(how, str) else autoal.AutoAL(**how)
    learner = autoal.ActiveLearner(
        data.x_train[pool],
        "linear",
        strategy,
        oracle=DataSetOracle(data.y_train[pool]),
        initial_size=initial,
        query_size=size,
        budget=initial + ROUNDS * size,
        n_classes=data.n_classes,
        seed=seed,
    )
    x_test, y_test, accuracy = torch.from_numpy(data.x_test[test]), data.y_test[test], []
    learner.run(callback=lambda done: accuracy.append(100 * np.mean(learner.model.predict(x_test) == y_test)))
    queries = [done.query for done in learner.rounds[1:]]
    seconds = {stage: float(np.mean([query.timings.get(stage, 0.0) for query in queries])) for stage in STAGES}
    seconds["total"] = float(np.mean([query.timings["total"] for query in queries]))
    weights = np.array([list(query.strategy_weights.values()) for query in queries])
    return Run(float(np.mean(accuracy[1:])), seconds, weights)


def mean_and_error(values: np.ndarray) -> str:
    """``93.60 ± 0.20`` of [seeds]."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():6.2f} ± {error:.2f}"


def main() -> None:
    """Prints, per data set, a line per strategy as its runs end, then the weights over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--dataset", action="append", choices=list(NAMES), help="default: all of them")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    for dataset in arguments.dataset or NAMES:
        data = datasets.load(dataset)
        full: dict[str, np.ndarray] = {}
        weights: dict[str, np.ndarray] = {}
        print(f"\n{dataset}, {arguments.seeds} seeds: AULC, the paired difference to {FULL}, seconds per query")
        for query, name, how in strategies():
            runs = [run(data, how, seed) for seed in range(arguments.seeds)]
            areas = np.array([one.area for one in runs])
            if name == FULL:
                full[query], weights[query] = areas, np.mean([one.weights for one in runs], axis=0)
            difference = mean_and_error(areas - full[query]) if query and name != FULL else ""
            seconds = [np.mean([one.seconds[stage] for one in runs]) for stage in (*STAGES, "total")]
            stages = ", ".join(f"{stage} {s:.3f}" for stage, s in zip((*STAGES, "total"), seconds, strict=True))
            print(f"{query:9s} {name:24s} {mean_and_error(areas)}  {difference:15s}  {stages}", flush=True)
        for query, by_round in weights.items():
            print(f"weights, query={query!r}, from the first to the last round:")
            for candidate, row in zip(DEFAULT_CANDIDATES, by_round.T, strict=True):
                print(f"  {candidate:18s}" + " ".join(f"{weight:.3f}" for weight in row))


if __name__ == "__main__":
    main()
