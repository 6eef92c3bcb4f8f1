"""A grid of (data set x strategy x seed): runs what is not finished and writes the results of what was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import autoal
from autoal import checks, files, models
from autoal.experiment import plots
from autoal.experiment.cells import Cell, Settings, check_strategy, fingerprint, run_cell
from autoal.experiment.datasets import DataSet
from autoal.experiment.metrics import Record, summarize


def run_grid(
    data: Sequence[DataSet],
    strategies: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
    out: str | Path,
    *,
    progress: bool = False,
) -> dict[str, Any]:
    """Runs every cell that is not finished; writes ``metrics.jsonl``, ``summary.json``, ``config.json`` and pictures.

    Interrupted, it goes on where it was when called again; more seeds, strategies or data sets extend it.

    Args:
        data: The data sets.
        strategies: Names of strategies.
        seeds: One run each.
        settings: What all cells share.
        out: The folder for the results; made if need be.
        progress: Whether to show progress bars on stderr.

    Returns:
        The summary.

    Raises:
        ValueError: If a name is unknown, a size does not fit a data set, or the folder cannot be written to.
    """
    for name in strategies:
        check_strategy(name)
    settings.check()
    check_data(data, settings)
    folder = files.writable_folder(out, "out")
    files.writable_folder(folder / "cells", "out")

    cells = [
        (Cell(one.name, mark, strategy, seed, settings), one)
        for one, mark in [(one, fingerprint(one)) for one in data]
        for seed in seeds
        for strategy in strategies
    ]
    records: list[Record] = []
    with tqdm(total=len(cells) * (settings.rounds + 1), unit="round", disable=None if progress else True) as bar:
        for cell, one in cells:
            bar.set_description(f"{cell.dataset} {cell.strategy} seed {cell.seed}")
            done = cell.load(folder)
            if done is None:
                done = run_cell(cell, one, on_round=bar.update)
                cell.save(folder, done)
            else:
                bar.update(settings.rounds + 1)
            records += done
    records.sort(key=lambda r: ([one.name for one in data].index(r["dataset"]), strategies.index(r["strategy"])))
    return write_results(folder, records, data, strategies, seeds, settings)


def check_data(data: Sequence[DataSet], settings: Settings) -> None:
    """Raises ValueError if two sets have one name, a pool is too small, or the model takes no such samples."""
    names = [one.name for one in data]
    for one in data:
        if names.count(one.name) > 1:
            raise ValueError(
                f"data sets must differ by name; {names.count(one.name)} are called {one.name!r}: rename a file"
            )
        pool = f"the pool of {one.name!r}"
        checks.as_count(settings.initial_size, "initial_size", low=1, high=len(one.x_train), of=pool)
        budget = settings.initial_size + settings.rounds * settings.query_size
        if budget > len(one.x_train):
            raise ValueError(
                f"initial_size + rounds * query_size = {budget} labels exceed {pool}, {len(one.x_train)} samples: "
                "ask for fewer rounds or smaller queries"
            )
        try:
            models.make(settings.model, device=settings.device).look(torch.from_numpy(one.x_train))
        except ValueError as error:
            raise ValueError(f"model {settings.model!r} and data set {one.name!r}: {error}") from None


def write_results(
    folder: Path,
    records: list[Record],
    data: Sequence[DataSet],
    strategies: Sequence[str],
    seeds: Sequence[int],
    settings: Settings,
) -> dict[str, Any]:
    """Writes the files of a grid, each whole or not at all; gives the summary."""
    config = {
        "autoal": autoal.__version__,
        "datasets": {one.name: {"source": one.source, "features": one.features} for one in data},
        "strategies": list(strategies),
        "seeds": list(seeds),
        **asdict(settings),
    }
    summary = summarize(records)
    files.atomic_write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    files.atomic_write_text(folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    files.atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    files.atomic_write(folder / "learning_curve.png", lambda path: plots.learning_curve(records, summary, path))
    weights = folder / "strategy_weights.png"
    if any("strategy_weights" in record for record in records):
        files.atomic_write(weights, lambda path: plots.strategy_weights(records, path))
    else:
        weights.unlink(missing_ok=True)  # of an earlier command, about runs that are not among these results
    return summary
