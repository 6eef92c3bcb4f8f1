"""``autoal pool``: embeddings on disk as a folder that every command maps into memory."""

from __future__ import annotations

import argparse
from pathlib import Path

from autoal.disk import opening
from autoal.disk.layout import FLOATS, name_of
from autoal.disk.manifest import Manifest
from autoal.pool import Pool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own commands and their options."""
    commands = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = commands.add_parser(
        "import", help="write a pool from files, in little memory; cut off, it goes on"
    ).add_argument
    add("source", help=".npy, .safetensors, .parquet or .arrow file; folder of .safetensors, of .parquet, or data set")
    add("dest", help="folder of the pool, empty or not there yet")
    add("--columns", help="of tables: the column of lists, or those of numbers (a,b,c); of safetensors: the tensor")
    add("--dtype", choices=list(FLOATS), help="what features are stored as (default: as they come)")
    add("--shard-rows", type=int, help="rows of a file (default: what makes a gigabyte)")
    for action, summary in (("info", "what a pool consists of"), ("verify", "read all of it, compare the checksums")):
        commands.add_parser(action, help=summary).add_argument("path", help="folder, .npy or .safetensors file")


def call(arguments: argparse.Namespace) -> None:
    """Does what the action says."""
    if arguments.action == "import":
        columns = None if arguments.columns is None else arguments.columns.split(",")
        options = {"columns": columns, "shard_rows": arguments.shard_rows, "dtype": arguments.dtype}
        Pool.write(arguments.dest, Path(arguments.source), **options)
        show(Path(arguments.dest))
    elif arguments.action == "info":
        show(Path(arguments.path))
    else:
        path = Path(arguments.path)
        print(f"{path}: {opening.verify(path, opening.open_rows(path))}")


def show(path: Path) -> None:
    """Prints what a pool consists of."""
    rows = opening.open_rows(path)
    size = rows.numel() * rows.element_size()
    print(
        f"{path}: {len(rows):,} rows {list(rows.shape[1:])} {name_of(rows.dtype)}, {size:,} bytes, mapped as one array"
    )
    if path.is_dir():
        manifest = Manifest.of(path)
        print(f"{len(manifest.shards)} shards of {manifest.shard_rows:,} rows or fewer, with checksums")
        print(f"written from {manifest.source}")
