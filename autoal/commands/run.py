"""``autoal run``: compares strategies on data sets."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from autoal import checks, files
from autoal.commands.results import print_statistics
from autoal.experiment import datasets
from autoal.experiment.cells import OF_AUTOAL, Settings
from autoal.experiment.conditions import Condition
from autoal.experiment.grid import check_data, default_jobs, run_grid
from autoal.experiment.own_strategy import named
from autoal.experiment.sizes import parse_size
from autoal.experiment.statistics import check_reference
from autoal.models import DEVICES, MODELS
from autoal.search.autoal import QUERIES, SEARCHES, VARIANTS, AutoAL

DEFAULT_STRATEGIES = ("autoal", "margin", "random")
MOST_SEEDS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add_grid_arguments(parser, required=True)
    add_result_arguments(parser)


def add_grid_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The options that say what is run, and how; ``required``: whether there must be a data set."""
    default, untouched = Settings(), Condition()
    add = parser.add_argument
    add(
        "--dataset",
        action="append",
        required=required,
        help="name (see: autoal datasets) or path of an .npz; may be given again",
    )
    add("--strategy", action="append", help=f"may be given again; default: {', '.join(DEFAULT_STRATEGIES)}")
    sized = "(%(default)s; C, 2C: multiples of the number of classes)"
    add("--initial-size", type=parse_size, default=default.initial_size, help=f"random labels of round 0 {sized}")
    add("--query-size", type=parse_size, default=default.query_size, help=f"labels per round {sized}")
    add("--rounds", type=int, default=default.rounds, help="rounds after round 0 (%(default)s)")
    add("--seeds", type=int, default=3, help="paired repetitions, seeds 0..SEEDS-1 (%(default)s)")
    add("--model", default=default.model, help=f"task model: {', '.join(MODELS)} (%(default)s)")
    add("--device", default=default.device, help=f"{', '.join(DEVICES)} (%(default)s)")
    add("--features", default="auto", help=f"{', '.join(datasets.FEATURES)} (%(default)s)")
    add("--data-folder", help="folder with a set's official files, looked at first")
    add("--variant", help=f"of autoal: {', '.join(VARIANTS)}")
    add("--search", help=f"of autoal: {', '.join(SEARCHES)}")
    add("--query", help=f"of autoal's variant paper: {', '.join(QUERIES)}")
    add("--loss-prediction", action=argparse.BooleanOptionalAction, help="of autoal's variant paper")
    add("--candidates", type=names, help="of autoal: names of strategies, a,b,c")
    of_pool = parser.add_argument_group("conditions of the pool, drawn by the seed; the test set stays as it is")
    of_pool.add_argument("--imbalance", type=float, default=untouched.imbalance, help="largest : smallest class")
    of_pool.add_argument("--pool-size", type=int, help="a random part of the pool")
    of_pool.add_argument("--label-noise", type=float, default=untouched.label_noise, help="share of wrong labels")
    of_pool.add_argument("--duplicates", type=int, default=untouched.duplicates, help="times each sample is there")
    add("--jobs", type=int, help="runs at a time, each in a process of one thread (one per core; on CUDA, one)")
    add("--quiet", action="store_true", help="no progress bars")


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what becomes of the records."""
    parser.add_argument("--reference", help="strategy the others are tested against (autoal, else the first)")
    parser.add_argument(
        "--out", required=True, help="folder for the results; given again, the same command goes on where it was"
    )


def call(arguments: argparse.Namespace) -> None:
    """Runs the grid and prints its statistics."""
    strategies = list(dict.fromkeys(arguments.strategy or DEFAULT_STRATEGIES))
    for name in strategies:
        named(name)
    check_reference(arguments.reference, strategies)
    checks.as_count(arguments.seeds, "seeds", low=1, high=MOST_SEEDS)
    for name in OF_AUTOAL:
        if getattr(arguments, name) is not None and AutoAL.name not in strategies:
            option = "--" + name.replace("_", "-")
            raise ValueError(f"{option} is of autoal, which is not among the strategies: add --strategy autoal")
    if not arguments.out:
        raise ValueError("--out must name a folder, got an empty name")
    settings = Settings(**{field.name: getattr(arguments, field.name) for field in fields(Settings)})
    settings.check()
    condition = Condition(**{field.name: getattr(arguments, field.name) for field in fields(Condition)})
    condition.check()
    jobs = default_jobs(settings) if arguments.jobs is None else checks.as_count(arguments.jobs, "jobs", low=1)
    files.writable_folder(arguments.out, "--out")
    progress, seeds = not arguments.quiet, range(arguments.seeds)
    sets = [
        datasets.load(name, features=arguments.features, folder=arguments.data_folder, progress=progress)
        for name in dict.fromkeys(arguments.dataset)
    ]
    check_data(sets, settings, condition, seeds)
    for one in sets:
        print(describe(one, condition), file=sys.stderr)
    summary = run_grid(
        sets,
        strategies,
        seeds,
        settings,
        arguments.out,
        condition=condition,
        reference=arguments.reference,
        jobs=jobs,
        progress=progress,
    )
    print_statistics(summary, Path(arguments.out))


def names(text: str) -> tuple[str, ...]:
    """The names in ``a,b,c``."""
    return tuple(name.strip() for name in text.split(","))


def describe(data: datasets.DataSet, condition: Condition) -> str:
    """One line on a data set: its size, features, source, and what is done to its pool."""
    shape = " x ".join(str(axis) for axis in data.x_train.shape[1:])
    done = f"; pool with {condition.label}: {condition.size(data, 0):,} (seed 0)" if condition.label else ""
    return (
        f"{data.name}: pool {len(data.x_train):,}, test {len(data.x_test):,}, {data.n_classes} classes, "
        f"{shape} {data.features}; from {data.source}{done}"
    )
