"""A grid of (data set x strategy x seed) under one condition: runs what is not finished, on all cores if asked to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from autoal import checks, files, models
from autoal.experiment import messages, results, workers
from autoal.experiment.cells import Cell, Settings, fingerprint, run_cell
from autoal.experiment.conditions import AS_IT_IS, Condition, task
from autoal.experiment.config import config_of, free_cores
from autoal.experiment.datasets import DataSet
from autoal.experiment.metrics import Record, Run
from autoal.experiment.own_strategy import named
from autoal.experiment.statistics import check_reference
from autoal.experiment.workers import Finished
from autoal.strategies import Strategy


def run_grid(
    data: Sequence[DataSet],
    strategies: Sequence[str | type[Strategy]],
    seeds: Sequence[int],
    settings: Settings,
    out: str | Path,
    *,
    condition: Condition = AS_IT_IS,
    reference: str | None = None,
    jobs: int | None = 1,
    progress: bool = False,
) -> dict[str, Any]:
    """Runs every cell that is not finished; writes the results (``experiment.results``).

    Interrupted, it goes on where it was when called again; more seeds, strategies or data sets extend it. Results but
    for the seconds are the same for any number of jobs.

    Args:
        data: The data sets.
        strategies: Names of strategies, or classes of your own.
        seeds: One run each.
        settings: What all cells share.
        out: The folder for the results; made if need be.
        condition: What is done to the pools; by default nothing.
        reference: The strategy that the others are tested against; by default "autoal", else the first.
        jobs: Cells run at a time. More than one run in worker processes of one thread each; None is one per core, and
            one where the device is CUDA.
        progress: Whether to show progress bars on stderr.

    Returns:
        The summary.

    Raises:
        ValueError: If a name is unknown, a size does not fit a data set, the folder cannot be written to, or a cell
            refuses its input.
        RuntimeError: If a cell fails or its process dies; what was finished is kept.
    """
    contenders = [named(strategy) for strategy in strategies]
    names = [name for name, _ in contenders]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"strategies must differ by name; {name!r} comes {names.count(name)} times")
    check_reference(reference, names)
    settings.check()
    jobs = default_jobs(settings) if jobs is None else checks.as_count(jobs, "jobs", low=1)
    for _, own in contenders:
        if own is not None and jobs > 1:
            own.check_importable()
    check_data(data, settings, condition, seeds)
    folder = files.writable_folder(out, "out")
    files.writable_folder(folder / "cells", "out")

    marks = {one.name: fingerprint(one) for one in data}
    cells = [
        Cell(one.name, marks[one.name], name, seed, settings.of(one.n_classes), condition, own)
        for one in data
        for seed in dict.fromkeys(seeds)
        for name, own in contenders
    ]
    done: dict[Run, list[Record]] = {}
    with tqdm(total=len(cells) * (settings.rounds + 1), unit="round", disable=None if progress else True) as bar:
        for cell in cells:
            stored = cell.load(folder)
            if stored is not None:
                done[cell.run] = stored
                bar.update(settings.rounds + 1)
        missing = [cell for cell in cells if cell.run not in done]
        run = run_here(missing, data, bar.update) if jobs == 1 else workers.run_cells(missing, data, jobs, bar.update)
        measured = {"jobs": jobs, "threads": torch.get_num_threads() if jobs == 1 else 1}
        with closing(run):
            for cell, records in run:
                done[cell.run] = [record | measured for record in records]
                cell.save(folder, done[cell.run])
                bar.set_description(cell.title)
    cells.sort(key=lambda cell: ([one.name for one in data].index(cell.dataset), names.index(cell.strategy)))
    records = [record for cell in cells for record in done[cell.run]]
    config = config_of(data, marks, dict(contenders), seeds, settings, condition)
    return results.write(folder, records, config, reference)


def run_here(cells: Sequence[Cell], data: Sequence[DataSet], on_round: Callable[[], object]) -> Finished:
    """Each cell with its records, one after the other, in this process."""
    set_of = {one.name: one for one in data}
    for cell in cells:
        try:
            records = run_cell(cell, set_of[cell.dataset], on_round=on_round)
        except Exception as error:
            raise messages.failure(cell, messages.describe(error)) from error
        yield cell, records


def default_jobs(settings: Settings) -> int:
    """One per core; one on a GPU, which cells would share."""
    return free_cores() if models.find_device(settings.device).type == "cpu" else 1


def check_data(
    data: Sequence[DataSet], settings: Settings, condition: Condition = AS_IT_IS, seeds: Sequence[int] = (0,)
) -> None:
    """Raises ValueError if two sets have one name, a pool is too small, or the model takes no such samples."""
    condition.check()
    names = [one.name for one in data]
    for one in data:
        if names.count(one.name) > 1:
            raise ValueError(
                f"data sets must differ by name; {names.count(one.name)} are called {one.name!r}: rename a file"
            )
        size = min(condition.size(one, seed) for seed in seeds)
        sized = settings.of(one.n_classes)
        pool = f"the pool of {task(one.name, condition.label)!r}"
        checks.as_count(sized.initial_size, "initial_size", low=1, high=size, of=pool)
        budget = int(sized.initial_size) + sized.rounds * int(sized.query_size)
        if budget > size:
            raise ValueError(
                f"initial_size + rounds * query_size = {budget} labels exceed {pool}, {size} samples: "
                "ask for fewer rounds or smaller queries"
            )
        try:
            models.make(settings.model, device=settings.device).look(checks.tensor_of(one.x_train))
        except ValueError as error:
            raise ValueError(f"model {settings.model!r} and data set {one.name!r}: {error}") from None
