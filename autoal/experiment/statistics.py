"""Tests over paired runs: signed ranks, Holm's correction, a reference against the others, ranks, regret."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from autoal import checks
from autoal.experiment.metrics import DECIMALS, Run, mean_sem, over_tasks
from autoal.strategies import ORACLES

LEAST_PAIRS = 6  # of five, 2 of 32 sign patterns are the most extreme ones: p = 0.0625 at best
EXACT_PAIRS = 300  # up to which the null distribution is counted out; beyond, the normal one differs by nothing
SIGNIFICANT = 0.05


def signed_rank(differences: Sequence[float]) -> float | None:
    """The two-sided p-value of Wilcoxon's signed-rank test (1945): could the differences be symmetric about 0?

    Differences of 0 say nothing about the sign and are left out, as by Wilcoxon (scipy: ``zero_method="wilcox"``);
    equal ones share their mean rank. The distribution is that of the ranks at hand under random signs, so it is exact
    with ties, too.

    Returns:
        None where fewer than six differences are left, since no outcome could then be significant.
    """
    values = np.round(np.asarray(differences, dtype=float), DECIMALS)
    values = values[values != 0]
    if len(values) < LEAST_PAIRS:
        return None
    ranks = np.rint(2 * rankdata(np.abs(values))).astype(np.int64)  # doubled: mean ranks of ties are halves
    smaller = min(int(ranks[values > 0].sum()), int(ranks[values < 0].sum()))
    if len(values) > EXACT_PAIRS:
        z = (ranks.sum() / 2 - smaller) / math.sqrt(float(np.square(ranks).sum()) / 4)
        return math.erfc(z / math.sqrt(2))
    chance = np.zeros(ranks.sum() + 1)  # of each sum of the ranks with a positive sign
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] += chance[:-rank].copy()
        chance /= 2
    return min(1.0, 2 * float(chance[: smaller + 1].sum()))


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values of one family, corrected by Holm's step-down method (1979).

    Tests without a p-value count as 1, for they belong to the family; they stay None.
    """
    order = sorted(p_values, key=lambda name: 1.0 if (p := p_values[name]) is None else p)
    corrected: dict[str, float | None] = {}
    highest = 0.0
    for position, name in enumerate(order):
        p = p_values[name]
        highest = max(highest, min(1.0, (len(order) - position) * (1.0 if p is None else p)))
        corrected[name] = None if p is None else highest
    return {name: corrected[name] for name in p_values}


def check_reference(reference: str | None, strategies: Sequence[str]) -> None:
    """Raises ValueError if there is no such strategy among those compared, or it is an oracle."""
    if reference is None:
        return
    if reference not in strategies:
        raise checks.unknown_name("reference", reference, strategies)
    if reference in ORACLES:
        raise ValueError(f"reference {reference!r} knows the true labels; regret to it is told without asking")


def reference_of(strategies: Sequence[str]) -> str | None:
    """The default reference: AutoAL, else the first strategy that is no oracle."""
    real = [name for name in strategies if name not in ORACLES]
    return "autoal" if "autoal" in real else next(iter(real), None)


def differences(areas: Mapping[Run, float], one: str) -> dict[Run, float]:
    """AULC of ``one`` minus that of each other strategy, in each (task, seed) that both have."""
    return {
        (name, other, seed): areas[name, one, seed] - area
        for (name, other, seed), area in areas.items()
        if other != one and (name, one, seed) in areas
    }


def compare(areas: Mapping[Run, float], reference: str) -> dict[str, dict[str, Any]]:
    """The reference against each other strategy but oracles: paired difference, wins, p-value, corrected p-value."""
    gaps = {run: gap for run, gap in differences(areas, reference).items() if run[1] not in ORACLES}
    table = {other: standing(gaps, other) for other in dict.fromkeys(other for _, other, _ in gaps)}
    corrected = holm({other: row["p"] for other, row in table.items()})
    return {other: {**row, "p_holm": corrected[other]} for other, row in table.items()}


def standing(gaps: Mapping[Run, float], other: str) -> dict[str, Any]:
    """How a reference stands against one other strategy, by its ``differences``."""
    pairs = [round(gap, DECIMALS) for (_, name, _), gap in gaps.items() if name == other]
    wins, losses = int(sum(gap > 0 for gap in pairs)), int(sum(gap < 0 for gap in pairs))
    ties = len(pairs) - wins - losses
    mean = over_tasks(gaps, other)
    return {
        "pairs": len(pairs),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "win_rate": (wins + ties / 2) / len(pairs),
        "mean": mean["mean"],
        "sem": mean["sem"],
        "p": signed_rank(pairs),
    }


def average_ranks(areas: Mapping[Run, float]) -> dict[str, dict[str, Any]]:
    """Mean rank by AULC, 1 = best, of each strategy but oracles: over seeds, then over tasks (Demsar 2006).

    Only (task, seed) pairs in which all of them ran are ranked; empty if there are none.
    """
    strategies = list(dict.fromkeys(name for _, name, _ in areas if name not in ORACLES))
    ranks: dict[str, list[np.ndarray]] = {}
    for name, seed in dict.fromkeys((name, seed) for name, _, seed in areas):
        if all((name, strategy, seed) in areas for strategy in strategies):
            ranks.setdefault(name, []).append(rankdata([-areas[name, strategy, seed] for strategy in strategies]))
    if not ranks:
        return {}
    means = np.array([np.mean(of_task, axis=0) for of_task in ranks.values()])
    return {strategy: {"mean": float(means[:, i].mean()), "tasks": len(means)} for i, strategy in enumerate(strategies)}


def regrets(areas: Mapping[Run, float], oracle: str) -> dict[str, dict[str, Any]]:
    """AULC of the oracle minus that of each other strategy: over tasks, and within each."""
    gaps = differences(areas, oracle)
    table: dict[str, dict[str, Any]] = {}
    for other in dict.fromkeys(other for _, other, _ in gaps):
        of_task: dict[str, list[float]] = {}
        for (name, strategy, _), gap in gaps.items():
            if strategy == other:
                of_task.setdefault(name, []).append(gap)
        table[other] = {**over_tasks(gaps, other), "by_dataset": {name: mean_sem(v) for name, v in of_task.items()}}
    return table
