"""The tables in print, as docs/search-research.md has them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from .estimators import Correlations
from .runs import Run


def print_queries(
    accuracies: dict[Run, list[float]], rows: Collection[str], base: str, groups: dict[str, Collection[str]]
) -> None:
    """A line per query, a column per group of data sets: differences of the areas under the curve to ``base``."""
    area = {run: 100 * float(np.mean(curve[1:])) for run, curve in accuracies.items()}  # the initial labels are shared
    print(f"| area under the curve in points, less that of {base} | {' | '.join(groups)} |")
    print("| --- |" + " --- |" * len(groups))
    for row in rows:
        cells = []
        for names in groups.values():
            runs = [run for run in area if run.what == row and run.name in names]
            cells.append(cell([area[run] - area[run._replace(what=base)] for run in runs]))
        print(f"| {row} | {' | '.join(cells)} |")


def cell(differences: list[float]) -> str:
    """Mean, standard error, share of pairs won (ties are half won), number of pairs."""
    if len(differences) < 2:
        return ""
    d = np.array(differences)
    won = 100 * np.mean((d > 0) + 0.5 * (d == 0))
    return f"{d.mean():+.2f} ± {d.std(ddof=1) / np.sqrt(len(d)):.2f} ({len(d)} pairs, {won:.0f} %)"


def print_estimators(means: Correlations) -> None:
    """A line per estimator, best first."""
    print("| estimator | correlation |\n| --- | --- |")
    for name, value in sorted(means.items(), key=lambda item: -item[1]):
        print(f"| {name} | {value:.3f} |")
