"""What a pool can be written from: rows in batches, from any row on, so that a write can be continued."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.disk import columnar, hostile, npy, tensors
from autoal.disk.layout import DTYPES
from autoal.disk.manifest import FINISHED, Manifest
from autoal.disk.mapping import Part, mapped

BATCH_BYTES = 1 << 22
FEW = 64  # rows by which an array is recognised
READABLE = ".npy, .safetensors, .parquet, .arrow, or a folder of .safetensors, .parquet or a saved data set"


@dataclass(frozen=True)
class Source:
    """Rows in batches.

    Attributes:
        origin: What they are taken from; a write is continued only from the same.
        batches: Gives the batches [n, ...] from a row on.
        name: What errors call them.
    """

    origin: str
    batches: Callable[[int], Iterator[Any]]
    name: str = "x"

    def load(self) -> Tensor:
        """All rows, in memory."""
        batches = [as_rows(batch) for batch in self.batches(0)]
        if not any(map(len, batches)):
            raise ValueError(f"{self.name} holds no rows")
        return torch.cat(batches)


def of(value: Any, columns: Sequence[str] | None = None) -> Source:
    """The source that ``value`` is: an array, a path, a data set, batches, or a function from a row to batches.

    Raises:
        TypeError: If it is none of them.
        ValueError: If it is a path and cannot be read, or has no such columns.
    """
    if isinstance(value, (str, Path)):
        return of_path(Path(value), columns)
    if columnar.is_dataset(value):
        return Source(*columnar.of_dataset(value, columns))
    if columns is not None:
        raise ValueError(f"columns are those of a file or data set, x is {checks.describe(value)}: leave them out")
    if isinstance(value, checks.HoldsRows):
        value = value.x
    if isinstance(value, (np.ndarray, Tensor)):
        return of_array(value)
    if callable(value):
        return Source("a function", value)
    if isinstance(value, Iterable):
        return Source("batches", lambda start: _without(value, start))
    raise TypeError(f"x must be an array, a path, a data set or batches of rows, got {checks.describe(value)}")


def of_path(path: Path, columns: Sequence[str] | None = None) -> Source:
    """The file's rows, or those of a folder's files in the order of their names, numbers in them counted (p2, p10).

    Raises:
        ValueError: If there is nothing that is read here, or it has no such columns.
    """
    if not path.exists():
        raise ValueError(f"there is no file or folder {path}")
    files = [path]
    if path.is_dir():
        if (path / FINISHED).exists():
            files = [path / shard.name for shard in Manifest.of(path).shards]
            if linked := [file.name for file in files if file.is_symlink()]:
                raise ValueError(f"{path / linked[0]} is a symbolic link")
        elif (path / columnar.SAVED).exists():
            files = columnar.saved_files(path)
        else:
            files = sorted(
                (file for file in path.iterdir() if file.suffix in (".safetensors", ".parquet")), key=_counted
            )
    suffixes = {file.suffix for file in files}
    if len(suffixes) != 1:
        raise ValueError(f"{path} is nothing that rows are read from: {READABLE}")
    suffix = suffixes.pop()
    origin = _described(path, files) + (f", columns {', '.join(columns)}" if columns else "")
    if suffix in columnar.SUFFIXES:
        return Source(origin, columnar.of_files(files, columns), str(path))
    if suffix == ".safetensors":
        if columns is not None and len(columns) != 1:
            raise ValueError(f"columns must be one tensor's name where {path} is read, got {', '.join(columns)}")
        return Source(origin, lambda start: _of_tensors(files, columns[0] if columns else None, start), str(path))
    if columns is not None:
        raise ValueError(f"columns cannot be chosen from {path}, which holds one array: leave them out")
    return Source(origin, lambda start: _of_npy(path, start), str(path))


def _counted(file: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", file.name)]


def of_array(x: np.ndarray | Tensor) -> Source:
    """Rows of an array in memory, or of a memory map; some of them tell it from others."""
    if not x.ndim:
        raise TypeError(f"x must be rows [N, ...], got {checks.describe(x)}")
    step = _step(x)
    few = x[:: max(1, len(x) // FEW)]
    parts = [as_rows(few[start : start + step]) for start in range(0, len(few), step)]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.view(-1).view(torch.uint8).numpy().data)
    origin = f"array {checks.describe(x)} {digest.hexdigest()[:16]}"
    return Source(origin, lambda start: (x[first : first + step] for first in range(start, len(x), step)))


def as_rows(batch: Any) -> Tensor:
    """A batch [n, ...] as a pool holds it: float64 and integer features become float32, images of uint8 stay.

    Raises:
        TypeError: If it is no array.
        ValueError: If it is none of numbers, or of images that are neither floats nor uint8.
    """
    if not isinstance(batch, (np.ndarray, Tensor)):
        raise TypeError(f"rows must come as arrays or tensors [n, ...], got {checks.describe(batch)}")
    if isinstance(batch, np.ndarray) and batch.dtype.kind in "biuf":
        kind = batch.dtype.newbyteorder("=")
        kept = kind in (np.float32, np.float16, np.uint8) or (batch.ndim != 2 and kind.kind != "f")
        batch = checks.tensor_of(np.ascontiguousarray(batch, kind if kept else np.float32))
    wrong = isinstance(batch, np.ndarray) or batch.ndim < 2 or batch.is_complex()
    if wrong or (batch.ndim > 2 and not batch.is_floating_point() and batch.dtype != torch.uint8):
        raise ValueError(
            f"rows must be features [n, D] of numbers, or images of floats or uint8, got {checks.describe(batch)}"
        )
    if batch.dtype not in DTYPES.values() or (batch.dtype == torch.uint8 and batch.ndim == 2):
        batch = batch.float()
    return batch.detach().cpu().contiguous()


def _of_npy(path: Path, start: int) -> Iterator[np.ndarray]:
    """By reads, not through a map: pages of a map count as this process's memory until others need it."""
    with hostile.opened(path) as file:
        header = npy.read_header(file)
        rows, row_shape = (header.shape or (0,))[0], header.shape[1:]
        width, item = math.prod(row_shape), header.dtype.itemsize
        step = max(1, BATCH_BYTES // max(1, width * item))
        for first in range(start, rows, step):
            count = min(step, rows - first)
            if header.fortran_order:
                block = np.empty((count, width), header.dtype, order="F")
                for column in range(width):
                    file.seek(header.offset + (column * rows + first) * item)
                    block[:, column] = np.fromfile(file, header.dtype, count)
                yield block.reshape((count, *row_shape), order="F")
            else:
                file.seek(header.offset + first * width * item)
                yield np.fromfile(file, header.dtype, count * width).reshape(count, *row_shape)


def _of_tensors(files: Sequence[Path], name: str | None, start: int) -> Iterator[Tensor]:
    for path in files:
        with hostile.opened(path) as file:
            layout = tensors.only(file, name)
            rows, row_shape = (layout.shape or (0,))[0], layout.shape[1:]
            if start < rows and layout.length:
                numbers, row_bytes = mapped([Part(file, layout.offset, layout.length)]), layout.length // rows
                step = max(1, BATCH_BYTES // row_bytes)
                for first in range(start, rows, step):
                    part = numbers[first * row_bytes : min(first + step, rows) * row_bytes]
                    yield part.clone().view(layout.dtype).view(-1, *row_shape)  # they may begin at any byte
            start = max(0, start - rows)


def _without(batches: Iterable[Any], rows: int) -> Iterator[Any]:
    """The batches less their first rows."""
    for batch in batches:
        if rows < len(batch):
            yield batch[rows:]
        rows = max(0, rows - len(batch))


def _step(x: np.ndarray | Tensor) -> int:
    """How many rows make a batch."""
    item = x.itemsize if isinstance(x, np.ndarray) else x.element_size()
    return max(1, BATCH_BYTES // max(1, math.prod(x.shape[1:]) * item))


def _described(path: Path, files: Sequence[Path]) -> str:
    """What tells files from others without reading them."""
    seen = []
    for file in files:
        with hostile.opened(file) as readable:
            status = os.fstat(readable.fileno())
        seen.append(f"{file.name}, {status.st_size} bytes, changed {status.st_mtime_ns}")
    if len(files) == 1:
        return seen[0]
    return f"{path.name}, {len(files)} files {hashlib.sha256('; '.join(seen).encode()).hexdigest()[:16]}"
