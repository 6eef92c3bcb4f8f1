"""``autoal select``: arrays on disk in, picks out."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from autoal import files, ops
from autoal.constraints import Constraints
from autoal.disk import columnar, npy, opening
from autoal.selection import select
from autoal.strategies import resolve
from autoal.types import Outputs, Query

ROWS = (".safetensors", *columnar.SUFFIXES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("--embeddings", help=".npy [N, D] float, or folder of a pool: embeddings of the whole pool")
    add("--logits", help=".npy [N, C] float, or such a folder: class scores of the whole pool")
    add("--mc-logits", help=".npy [T, N, C] float: class scores of T stochastic passes")
    add("--labeled", help=".npy [L] int: pool indices that have a label")
    add("--labels", help=".npy [L] int: their class numbers")
    add("--n-classes", type=int, help="number of classes, where the logits do not show it (default: what labels show)")
    add("-n", "--size", type=int, required=True, help="how many samples to ask for")
    add("--strategy", default="autoal", help="see: autoal strategies (%(default)s)")
    add("--excluded", help=".npy [E] int: pool indices that are never asked")
    add("--pending", help=".npy [P] int: pool indices that are with annotators: not asked again, as good as labeled")
    add("--groups", help=".npy [N] int or str: the group of each sample (its video, patient, site ...)")
    add("--quota", type=int, help="at most so many samples of each group")
    add("--min-distance", type=float, help="no pick is nearer than this to another, or to a labeled or pending sample")
    add("--metric", default="cosine", help="of --min-distance: cosine or l2 (%(default)s)")
    add("--costs", help=".npy [N] numbers above 0: what each sample costs")
    add("--cost-budget", type=float, help="the picks together cost at most this")
    add("--seed", type=int, default=0, help="source of all randomness (%(default)s)")
    add("--out", help="CSV file; without it the rows go to stdout")


def call(arguments: argparse.Namespace) -> None:
    """Selects and writes one row per pick: index, score, rank, and provenance columns."""
    strategy = resolve(arguments.strategy)
    out = None if arguments.out is None else Path(arguments.out)
    if out is not None:
        if out.is_dir():
            raise ValueError(f"--out must be a file, {out} is a folder")
        files.writable_folder(out.parent, "--out's folder")
    arrays = {name: getattr(arguments, name) for name in ("embeddings", "logits", "mc_logits")}
    if all(path is None for path in arrays.values()):
        raise ValueError("--embeddings, --logits or --mc-logits must be given: what the strategy looks at")
    for need in strategy.needs:
        if getattr(arguments, need) is None:
            raise ValueError(f"strategy {arguments.strategy!r} needs {option(need)}")
    if arguments.labels is not None and arguments.labeled is None:
        raise ValueError("--labels needs --labeled: the pool indices that the labels belong to")
    given: dict[str, Any] = {name: read(path, option(name)) for name, path in arrays.items() if path is not None}
    outputs = Outputs(**given)
    labeled = () if arguments.labeled is None else read(arguments.labeled, "--labeled")
    labels = None if arguments.labels is None else read(arguments.labels, "--labels")
    query = select(
        outputs,
        arguments.size,
        strategy,
        labeled=labeled,
        labels=labels,
        n_classes=arguments.n_classes,
        constraints=read_constraints(arguments),
        seed=arguments.seed,
    )

    text = as_csv(query)
    if out is None:
        sys.stdout.write(text)
    else:
        files.atomic_write_text(out, text)
    print(report(query, len(outputs), arguments.strategy), file=sys.stderr)


def read_constraints(arguments: argparse.Namespace) -> Constraints | None:
    """The constraints that options name; None without any."""
    files_of = ("excluded", "pending", "groups", "costs")
    given: dict[str, Any] = {
        name: getattr(arguments, name) for name in (*files_of, "quota", "min_distance", "cost_budget")
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    for name in given.keys() & set(files_of):
        given[name] = read(given[name], option(name))
    return Constraints(**given, metric=arguments.metric)


def option(name: str) -> str:
    """The option that gives what a strategy needs."""
    return "--" + name.replace("_", "-")


def read(path: str, name: str) -> np.ndarray | Tensor:
    """The array in an .npy file, or the rows of a pool, memory-mapped and never unpickled.

    Raises:
        ValueError: If it is missing, damaged, no plain array, or no pool that can be mapped.
    """
    place = Path(path)
    try:
        return opening.open_rows(place) if place.is_dir() or place.suffix in ROWS else npy.load(place)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def as_csv(query: Query) -> str:
    """One row per pick, best first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["index", "score", "rank", *query.provenance])
    columns = [column.tolist() for column in query.provenance.values()]
    for rank, (index, score) in enumerate(zip(query.indices.tolist(), query.scores, strict=True)):
        writer.writerow([index, f"{score:.7g}", rank, *[shown(column[rank]) for column in columns]])
    return text.getvalue()


def shown(value: object) -> object:
    """Floats in seven digits, all else as it is."""
    return f"{value:.7g}" if isinstance(value, float) else value


def report(query: Query, n: int, strategy: str) -> str:
    """One line: what was selected, how long the stages took, which backend ran."""
    cpu = ops.backends()["cpu"]
    stages = ", ".join(f"{stage} {seconds:.2f} s" for stage, seconds in query.timings.items())
    return f"{len(query)} of {n:,} samples by {strategy} ({stages}) on cpu, {cpu['isa']}, {cpu['threads']} threads"
