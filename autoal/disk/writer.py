"""Writing a pool shard by shard; what is cut off leaves whole shards, and is continued by the same call.

Shards are safetensors files whose numbers begin on a memory page and, but for the last, end on one, so that any number
of them maps into one array. The manifest comes last: until then the folder is no pool.
"""

from __future__ import annotations

import errno
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from autoal import checks, files
from autoal.disk import opening, tensors
from autoal.disk.layout import check_rows, name_of
from autoal.disk.manifest import FINISHED, UNFINISHED, Manifest, Shard
from autoal.disk.mapping import HUGE_PAGE
from autoal.disk.sources import Source, as_rows

PAGE = 1 << 16  # the largest memory page in use; most machines' is a sixteenth of it
SHARD_BYTES = 1 << 30
TENSOR = "x"
FULL = (errno.ENOSPC, errno.EDQUOT)
HALF_WRITTEN = (".shard-*.safetensors", f".{FINISHED}.*", f".{UNFINISHED}.*")


def write(folder: Path, source: Source, *, shard_rows: int | None = None, dtype: torch.dtype | None = None) -> Manifest:
    """Writes the source's rows to the folder, or those that are still missing there; see ``Pool.write``."""
    files.writable_folder(folder, "path")
    with _alone(folder):
        before = _unfinished(folder)
        rows = _Rows(source, before, dtype)
        manifest = _begun(source, rows, shard_rows) if before is None else before
        if before is None:
            manifest.write(folder / UNFINISHED)
        else:
            _require_same(folder, before, source, rows, shard_rows)
        try:
            while rows.more():
                manifest = manifest.with_shard(_write_shard(folder, manifest, rows))
                if manifest.shards[-1].rows == manifest.shard_rows:
                    manifest.write(folder / UNFINISHED)
            manifest.write(folder / FINISHED)
        except OSError as error:
            if error.errno not in FULL:
                raise
            stored = Manifest.read(folder / UNFINISHED).rows
            reason = f"{error.strerror}; {stored:,} rows are stored, and the same call goes on from there"
            raise OSError(f"path {folder}: {reason}") from None
        (folder / UNFINISHED).unlink()
    return manifest


class _Rows:
    """The batches of a source as rows that are cut where shards end; each is checked as it passes."""

    def __init__(self, source: Source, before: Manifest | None, dtype: torch.dtype | None) -> None:
        self.position = before.rows if before else 0
        self.kind = (before.dtype, before.row_shape) if before else None
        self.wanted, self.name = dtype, source.name
        self._batches, self._left = source.batches(self.position), torch.empty(0)

    def more(self) -> bool:
        """Whether rows are left; if so, the next are at hand."""
        while not len(self._left):
            batch = next(self._batches, None)
            if batch is None:
                return False
            self._left = self._checked(as_rows(batch))
        return True

    def take(self, most: int) -> Tensor:
        """The next rows, at most so many, after ``more``."""
        part, self._left = self._left[:most], self._left[most:]
        self.position += len(part)
        return part

    def _checked(self, batch: Tensor) -> Tensor:
        row_shape = tuple(batch.shape[1:])
        if self.kind is None:
            self.kind = (self.wanted or batch.dtype, row_shape)
            check_rows(*self.kind)
        dtype, expected = self.kind
        if row_shape != expected:
            raise ValueError(
                f"{self.name} must have rows {list(expected)}, got {list(row_shape)} at row {self.position}"
            )
        opening.require_finite(batch, self.name, self.position)
        if batch.dtype != dtype:
            if self.wanted is None or not batch.is_floating_point():
                kinds = f"{name_of(dtype)}, got {name_of(batch.dtype)}"
                raise ValueError(f"{self.name} must have rows of {kinds} at row {self.position}")
            batch = batch.to(dtype)
            opening.require_finite(batch, f"{self.name} as {name_of(dtype)}", self.position)
        return batch


def _begun(source: Source, rows: _Rows, shard_rows: int | None) -> Manifest:
    """The manifest of a pool of which no shard is there yet."""
    if not rows.more() or rows.kind is None:
        raise ValueError(f"{source.name} holds no rows: a pool has at least one")
    dtype, row_shape = rows.kind
    return Manifest(dtype, row_shape, whole_pages(shard_rows, math.prod(row_shape) * dtype.itemsize), source.origin)


def whole_pages(shard_rows: int | None, row_bytes: int) -> int:
    """``shard_rows``, or what makes about a gigabyte, rounded up to as many as fill whole pages.

    Huge ones if that takes no more than a gigabyte: passes over a map of huge pages took two thirds of the time.
    """
    wanted = SHARD_BYTES // row_bytes if shard_rows is None else checks.as_count(shard_rows, "shard_rows", low=1)
    step, huge_step = (size // math.gcd(size, row_bytes) for size in (PAGE, HUGE_PAGE))
    if shard_rows is None and huge_step <= wanted:
        step = huge_step
    return max(1, -(-wanted // step)) * step


def _require_same(folder: Path, before: Manifest, source: Source, rows: _Rows, shard_rows: int | None) -> None:
    """Raises ValueError if what is there was begun otherwise."""
    given = {
        "source": (before.source, source.origin),
        "dtype": (name_of(before.dtype), name_of(rows.wanted or before.dtype)),
        "shard_rows": (before.shard_rows, shard_rows and whole_pages(shard_rows, before.row_bytes)),
    }
    for name, (then, now) in given.items():
        if now not in (None, then):
            raise ValueError(
                f"path {folder} holds an unfinished pool of another {name} ({then}, not {now}): remove it, or give "
                "another folder"
            )


def _write_shard(folder: Path, manifest: Manifest, rows: _Rows) -> Shard:
    name, written = f"shard-{len(manifest.shards):05d}.safetensors", 0

    def fill(temporary: Path) -> None:
        nonlocal written
        with temporary.open("wb") as file:
            file.seek(PAGE)
            while written < manifest.shard_rows and rows.more():
                part = rows.take(manifest.shard_rows - written)
                file.write(part.view(-1).view(torch.uint8).numpy().data)
                written += len(part)
            file.seek(0)
            file.write(tensors.header(TENSOR, manifest.dtype, (written, *manifest.row_shape), PAGE))

    files.atomic_write(folder / name, fill)
    return Shard(name, written, opening.digest(folder / name))


def _unfinished(folder: Path) -> Manifest | None:
    """What a writer left behind that was cut off; only whole shards count.

    Raises:
        ValueError: If the folder holds anything else.
    """
    for pattern in HALF_WRITTEN:
        for left in folder.glob(pattern):
            left.unlink()
    if (folder / FINISHED).exists():
        raise ValueError(f"path {folder} holds a pool already: give another folder, or remove it")
    if (folder / UNFINISHED).exists():
        return Manifest.read(folder / UNFINISHED)
    if other := next(folder.iterdir(), None):
        raise ValueError(f"path {folder} must be empty or an unfinished pool, it holds {other.name}")
    return None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process writes to the folder meanwhile.

    Raises:
        ValueError: If one does.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ValueError(f"path {folder} is being written to by another process") from None
    except OSError:
        pass  # some network file systems cannot lock folders: there nobody tells two writers apart
    try:
        yield
    finally:
        os.close(descriptor)
