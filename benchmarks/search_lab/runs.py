"""Runs, each a line of a file: what is there already is not run again."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import torch

from autoal.experiment.workers import THREADS
from autoal.search.candidates import DegenerateCandidateWarning

from .estimators import halves_by_state, signals_by_state
from .tables import QUERIES
from .task import states, task_of

DIGITS = 6  # of a number in a file


class Run(NamedTuple):
    """One run; ``what`` is a key of ``QUERIES``, "signals" or "halves"."""

    what: str
    name: str
    seed: int
    budget: str


def result(run: Run) -> Any:
    """Of a query the accuracies by round; else scores or correlations by state."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", DegenerateCandidateWarning)  # two classes: all scores of one vector agree
    what, name, seed, budget = run
    if what in QUERIES:
        return [round(state.accuracy, DIGITS) for state in states(task_of(name, seed, budget), QUERIES[what]())]
    if what == "halves":
        return halves_by_state(name, seed, budget)
    return [
        {signal: score.astype(float).round(DIGITS).tolist() for signal, score in state.items()}
        for state in signals_by_state(name, seed, budget)
    ]


def results(runs: Iterable[Run], path: Path, jobs: int) -> dict[Run, Any]:
    """Of all these runs; those that the file lacks are run, ``jobs`` at a time, and appended as they end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    runs, done = list(runs), {}
    for line in path.read_text().splitlines():
        *key, found = json.loads(line)
        done[Run(*key)] = found
    missing = [run for run in runs if run not in done]
    with path.open("a") as file:
        for number, (run, found) in enumerate(_run(missing, jobs), 1):
            file.write(json.dumps([*run, found]) + "\n")
            file.flush()
            done[run] = found
            print(f"{number} of {len(missing)}: {run.what}, {run.name}", file=sys.stderr)
    return {run: done[run] for run in runs}


def _run(missing: list[Run], jobs: int) -> Iterator[tuple[Run, Any]]:
    if jobs == 1:
        yield from ((run, result(run)) for run in missing)
        return
    os.environ |= dict.fromkeys(THREADS, "1")  # the processes that follow read it
    pool = ProcessPoolExecutor(jobs, get_context("spawn"))
    try:
        run_of = {pool.submit(result, run): run for run in missing}
        for future in as_completed(run_of):
            yield run_of[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after an error nothing else is begun
