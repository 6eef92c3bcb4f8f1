"""Runs what DIR lacks of a table of docs/search-research.md, then prints it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .data import DEVELOPMENT, HELD_OUT, LOW_ONLY, SETS
from .estimators import learned, mean_over_sets
from .report import print_estimators, print_queries
from .runs import Run, results
from .tables import BASE, TABLES

GROUPS = {"development": DEVELOPMENT, "held out": HELD_OUT}
SEEDS = {"development": 4, "held out": 6, "signals": 2, "halves": 1}
ESTIMATED = (*DEVELOPMENT, "synth100")


def planned(name: str, what: Sequence[str], seeds: int) -> Iterator[Run]:
    """All runs on a data set; those of a task follow each other, for a process keeps its last task."""
    for seed in range(seeds):
        for budget in ("low",) if name in LOW_ONLY else ("low", "high"):
            yield from (Run(one, name, seed, budget) for one in what)


def queries(table: str, names: Sequence[str], seeds: int | None, out: Path, jobs: int) -> None:
    """One of ``TABLES``."""
    what, runs = [BASE, *TABLES[table]], []
    for group, members in GROUPS.items():
        runs += [run for name in names if name in members for run in planned(name, what, seeds or SEEDS[group])]
    print_queries(results(runs, out / "queries.jsonl", jobs), TABLES[table], BASE, GROUPS)


def estimators(names: Sequence[str], seeds: int | None, out: Path, jobs: int) -> None:
    """Which signals go along with reducible loss, and models of them."""

    def by_set(what: str) -> dict[str, list[Any]]:
        """The states of all runs on each data set."""
        found: dict[str, list[Any]] = {name: [] for name in names}
        runs = [run for name in names for run in planned(name, [what], seeds or SEEDS[what])]
        for run, states in results(runs, out / f"{what}.jsonl", jobs).items():
            found[run.name] += states
        return found

    scores = {
        name: [{signal: np.array(score) for signal, score in state.items()} for state in states]
        for name, states in by_set("signals").items()
    }
    means = mean_over_sets([learned(scores, name) for name in names])
    print_estimators(means | mean_over_sets(by_set("halves").values()))


def main(words: Sequence[str] | None = None) -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks.search_lab", description=__doc__)
    parser.add_argument("table", choices=[*TABLES, "estimators"])
    parser.add_argument("--out", type=Path, required=True, help="the folder with the runs, made if need be")
    parser.add_argument("--sets", nargs="+", choices=SETS, help="default: all that the document has in this table")
    parser.add_argument("--seeds", type=int, help="per data set; default: the document's")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    given = parser.parse_args(words)
    if given.table == "estimators":
        estimators(given.sets or ESTIMATED, given.seeds, given.out, given.jobs)
    else:
        queries(given.table, given.sets or list(SETS), given.seeds, given.out, given.jobs)


if __name__ == "__main__":
    main()
