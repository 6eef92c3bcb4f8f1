"""``autoal run``: compares strategies on data sets."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from autoal import checks, files
from autoal.commands.table import table
from autoal.experiment import datasets
from autoal.experiment.cells import Settings, check_strategy
from autoal.experiment.grid import check_data, run_grid
from autoal.models import DEVICES, MODELS
from autoal.search.autoal import SEARCHES, VARIANTS, AutoAL

DEFAULT_STRATEGIES = ("autoal", "margin", "random")
MOST_SEEDS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    default = Settings()
    add = parser.add_argument
    add(
        "--dataset",
        action="append",
        required=True,
        help="name (see: autoal datasets) or path of an .npz; may be given again",
    )
    add("--strategy", action="append", help=f"may be given again; default: {', '.join(DEFAULT_STRATEGIES)}")
    add("--initial-size", type=int, default=default.initial_size, help="random labels of round 0 (%(default)s)")
    add("--query-size", type=int, default=default.query_size, help="labels per round (%(default)s)")
    add("--rounds", type=int, default=default.rounds, help="rounds after round 0 (%(default)s)")
    add("--seeds", type=int, default=3, help="paired repetitions, seeds 0..SEEDS-1 (%(default)s)")
    add("--model", default=default.model, help=f"task model: {', '.join(MODELS)} (%(default)s)")
    add("--device", default=default.device, help=f"{', '.join(DEVICES)} (%(default)s)")
    add("--features", default="auto", help=f"{', '.join(datasets.FEATURES)} (%(default)s)")
    add("--data-folder", help="folder with a set's official files, looked at first")
    add("--variant", help=f"of autoal: {', '.join(VARIANTS)}")
    add("--search", help=f"of autoal: {', '.join(SEARCHES)}")
    add("--candidates", type=names, help="of autoal: names of strategies, a,b,c")
    add("--out", required=True, help="folder for the results; given again, the same command goes on where it was")
    add("--quiet", action="store_true", help="no progress bars")


def call(arguments: argparse.Namespace) -> None:
    """Runs the grid and prints its summary."""
    strategies = list(dict.fromkeys(arguments.strategy or DEFAULT_STRATEGIES))
    for name in strategies:
        check_strategy(name)
    checks.as_count(arguments.seeds, "seeds", low=1, high=MOST_SEEDS)
    for name in ("variant", "search", "candidates"):
        if getattr(arguments, name) is not None and AutoAL.name not in strategies:
            raise ValueError(f"--{name} is of autoal, which is not among the strategies: add --strategy autoal")
    if not arguments.out:
        raise ValueError("--out must name a folder, got an empty name")
    settings = Settings(
        initial_size=arguments.initial_size,
        query_size=arguments.query_size,
        rounds=arguments.rounds,
        model=arguments.model,
        device=arguments.device,
        variant=arguments.variant,
        search=arguments.search,
        candidates=arguments.candidates,
    )
    settings.check()
    files.writable_folder(arguments.out, "--out")
    progress = not arguments.quiet
    sets = [
        datasets.load(name, features=arguments.features, folder=arguments.data_folder, progress=progress)
        for name in dict.fromkeys(arguments.dataset)
    ]
    check_data(sets, settings)
    for one in sets:
        print(describe(one), file=sys.stderr)
    summary = run_grid(sets, strategies, range(arguments.seeds), settings, arguments.out, progress=progress)
    print(summary_table(summary))
    pictures = ", ".join(path.name for path in sorted(Path(arguments.out).iterdir()) if path.is_file())
    print(f"\nin {arguments.out}: {pictures}")


def names(text: str) -> tuple[str, ...]:
    """The names in ``a,b,c``."""
    return tuple(name.strip() for name in text.split(","))


def describe(data: datasets.DataSet) -> str:
    """One line on a data set: its size, features and source."""
    shape = " x ".join(str(axis) for axis in data.x_train.shape[1:])
    return (
        f"{data.name}: pool {len(data.x_train):,}, test {len(data.x_test):,}, {data.n_classes} classes, "
        f"{shape} {data.features}; from {data.source}"
    )


def summary_table(summary: dict[str, Any]) -> str:
    """Strategies, best first: AULC with its standard error, of each data set too if there are several; query time."""
    by_dataset = summary["aulc_by_dataset"] if len(summary["aulc_by_dataset"]) > 1 else {}
    rows = []
    for strategy in sorted(summary["aulc"], key=lambda name: -summary["aulc"][name]["mean"]):
        areas = [summary["aulc"][strategy], *(of_set[strategy] for of_set in by_dataset.values())]
        rows.append([strategy, *map(percent, areas), f"{summary['query_seconds'][strategy]['mean']:.3f}"])
    return table(["strategy", "AULC %", *by_dataset, "seconds per query"], rows)


def percent(area: dict[str, Any]) -> str:
    """``93.60 ± 0.20``; without an error where there is one seed."""
    return f"{100 * area['mean']:.2f}" + ("" if area["sem"] is None else f" ± {100 * area['sem']:.2f}")
