"""Records of runs that never were, in the form in which experiments keep them."""

from collections.abc import Callable, Sequence

import numpy as np


def make_records(
    strategies: Sequence[str],
    datasets: Sequence[str] = ("d",),
    seeds: Sequence[int] = (0, 1),
    rounds: int = 4,
    accuracy: Callable[[int, float], float] = lambda position, noise: noise,
) -> list[dict]:
    """A record per data set, strategy, seed and round; ``accuracy(position of the strategy, noise in [0, 1))``."""
    rng = np.random.default_rng(0)
    return [
        {
            "dataset": d,
            "strategy": s,
            "seed": seed,
            "round": t,
            "labeled": 10 * (t + 1),
            "accuracy": float(accuracy(i, rng.random())),
            "balanced_accuracy": float(accuracy(i, 0.5)),
            "query_seconds": 0.1 * (i + 1),
            "fit_seconds": 0.01,
            **({"strategy_weights": {"margin": 0.25, "bald": 0.75}} if s == "autoal" and t else {}),
        }
        for d in datasets
        for i, s in enumerate(strategies)
        for seed in seeds
        for t in range(rounds)
    ]
