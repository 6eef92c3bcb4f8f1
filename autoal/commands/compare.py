"""``autoal compare``: statistics and a report over folders of earlier results, or over a grid that it runs first."""

from __future__ import annotations

import argparse
from pathlib import Path

from autoal import files
from autoal.commands import run
from autoal.commands.results import print_statistics
from autoal.experiment import merge, results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("folder", nargs="*", help="--out of an earlier run; without any, --dataset says what to run")
    run.add_result_arguments(parser)
    run.add_grid_arguments(parser, required=False)


def call(arguments: argparse.Namespace) -> None:
    """Compares what the folders hold, or runs what the options say."""
    if not arguments.folder:
        if not arguments.dataset:
            raise ValueError("give folders of results to compare, or --dataset to run a comparison")
        run.call(arguments)
        return
    check_no_grid(arguments)
    folders = [Path(name) for name in dict.fromkeys(arguments.folder)]
    records, config = merge.merged(folders)
    out = files.writable_folder(arguments.out, "--out")
    if any(out.samefile(folder) for folder in folders):
        raise ValueError(f"--out {out} is one of the folders that are compared: name another")
    print_statistics(results.write(out, records, config, arguments.reference), out)


def check_no_grid(arguments: argparse.Namespace) -> None:
    """Raises ValueError if an option is given that only a new run would heed."""
    grid = argparse.ArgumentParser(add_help=False)
    run.add_grid_arguments(grid, required=False)
    for name, default in vars(grid.parse_args([])).items():
        if name != "quiet" and getattr(arguments, name) != default:
            option = "--" + name.replace("_", "-")
            raise ValueError(
                f"{option} is of a new run, but folders of earlier results are given: leave one of them out"
            )
