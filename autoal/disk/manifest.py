"""What a pool's folder says of itself: ``manifest.json``, or ``unfinished.json`` until the last shard is there."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autoal import files
from autoal.disk import hostile
from autoal.disk.layout import DTYPES, NotMappableError, check_rows, name_of

FINISHED, UNFINISHED = "manifest.json", "unfinished.json"
FORMAT, VERSION = "autoal pool", 1
MAX_BYTES = 1 << 24  # a hundred thousand shards
MAX_ROW_AXES = 3

_KEYS = ("format", "version", "dtype", "row_shape", "rows", "shard_rows", "source", "shards")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.safetensors", re.ASCII)  # within the folder: no separators
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True)
class Shard:
    """A file of the pool: the SHA-256 is that of the whole file, as sha256sum prints it."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a pool consists of.

    Attributes:
        dtype, row_shape: Of every row.
        shard_rows: Rows of every shard but the last.
        source: What the rows were taken from: a pool is only continued from the same.
        shards: In the order of the rows.
    """

    dtype: torch.dtype
    row_shape: tuple[int, ...]
    shard_rows: int
    source: str
    shards: tuple[Shard, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of the whole pool."""
        return sum(shard.rows for shard in self.shards)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return math.prod(self.row_shape) * self.dtype.itemsize

    def with_shard(self, shard: Shard) -> Manifest:
        """This and one shard more."""
        return replace(self, shards=(*self.shards, shard))

    def write(self, path: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        value = {
            "format": FORMAT, "version": VERSION, "dtype": name_of(self.dtype), "row_shape": list(self.row_shape),
            "rows": self.rows, "shard_rows": self.shard_rows, "source": self.source,
            "shards": [vars(shard) for shard in self.shards],
        }  # fmt: skip
        files.atomic_write_text(path, json.dumps(value, indent=1) + "\n")

    @staticmethod
    def of(folder: Path) -> Manifest:
        """The manifest of a finished pool of at least one row.

        Raises:
            NotMappableError: If the folder has none.
            ValueError: If the pool is unfinished, or its manifest damaged.
        """
        if not os.path.lexists(folder / FINISHED):
            if not os.path.lexists(folder / UNFINISHED):
                raise NotMappableError(f"{folder} has no {FINISHED}, so it is no pool")
            rows = Manifest.read(folder / UNFINISHED).rows
            raise ValueError(
                f"{folder} is an unfinished pool of {rows:,} rows: write it again, and it goes on from there"
            )
        manifest = Manifest.read(folder / FINISHED)
        if not manifest.shards:
            raise ValueError(f"{folder} is a pool without rows")
        return manifest

    @staticmethod
    def read(path: Path) -> Manifest:
        """The manifest in a file.

        Raises:
            ValueError: If it is missing, damaged, or names files outside its folder.
        """
        try:
            with hostile.opened(path, follow=False) as file:
                if hostile.size_of(file) > MAX_BYTES:
                    raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
                return _parse(hostile.json_object(file.read()))
        except ValueError as error:
            raise ValueError(f"{path} is no readable manifest of a pool ({error})") from None


def _parse(value: dict[str, Any]) -> Manifest:
    if value.get("format") != FORMAT or value.get("version") != VERSION or type(value.get("version")) is not int:
        raise ValueError(f"it is not of the format {FORMAT!r}, version {VERSION}")
    hostile.require_keys(value, _KEYS, "it")
    if not isinstance(value["dtype"], str) or value["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}")
    if not isinstance(value["source"], str) or not isinstance(value["shards"], list):
        raise ValueError("source must be text, shards a list")
    dtype, row_shape = DTYPES[value["dtype"]], hostile.counts(value["row_shape"], "row_shape", MAX_ROW_AXES)
    check_rows(dtype, row_shape)
    shards = tuple(_shard(shard) for shard in value["shards"])
    if len({shard.name for shard in shards}) < len(shards):
        raise ValueError("a shard comes twice")
    found = Manifest(dtype, row_shape, hostile.count(value["shard_rows"], "shard_rows", 1), value["source"], shards)
    if hostile.count(value["rows"], "rows") != found.rows:
        raise ValueError(f"it promises {value['rows']:,} rows, its shards hold {found.rows:,}")
    return found


def _shard(value: Any) -> Shard:
    if not isinstance(value, dict):
        raise ValueError("a shard must be an object")
    hostile.require_keys(value, ("name", "rows", "sha256"), "a shard")
    name, digest = value["name"], value["sha256"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"a shard must be a file NAME.safetensors of the folder, got {str(name)[:60]!r}")
    if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"sha256 of {name} must be 64 hexadecimal digits")
    return Shard(name, hostile.count(value["rows"], f"rows of {name}", 1), digest)
