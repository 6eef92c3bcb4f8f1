"""Opening a pool: what can be mapped is mapped, the rest is refused unless a copy in memory is allowed."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from autoal import checks
from autoal.disk import columnar, hostile, npy, sources, tensors
from autoal.disk.layout import Layout, NotMappableError, check_rows, name_of
from autoal.disk.manifest import Manifest, Shard
from autoal.disk.mapping import Part, mapped

CHUNK = 1 << 20


def open_rows(path: str | Path, *, copy: bool | None = False) -> Tensor:
    """The rows [N, ...] of a pool on disk; see ``Pool.open``.

    Raises:
        ValueError: If there is none, it is damaged, or cannot be mapped while ``copy`` is False.
    """
    place = Path(path)
    if not place.exists():
        raise ValueError(f"there is no file or folder {place}")
    try:
        rows = _folder(place) if place.is_dir() else _file(place)
    except NotMappableError as error:
        if copy is False:
            raise NotMappableError(
                f"{error}: write a pool that can be mapped by `autoal pool import {place} DEST`, "
                "or read it into memory by copy=None"
            ) from None
        return sources.of_path(place).load()
    return rows.clone() if copy else rows


def verify(path: str | Path, rows: Tensor) -> str:
    """Reads all of a pool that was opened; says what was compared.

    Raises:
        ValueError: If shards are not those that were written, naming them, or rows hold NaN or Inf.
    """
    place, compared = Path(path), "a single file has no checksums"
    if place.is_dir():
        manifest = Manifest.of(place)
        damaged = [shard.name for shard in manifest.shards if digest(place / shard.name) != shard.sha256]
        if damaged:
            more = f" and {len(damaged) - checks.MAX_NAMED_ROWS} more" if len(damaged) > checks.MAX_NAMED_ROWS else ""
            listed = ", ".join(damaged[: checks.MAX_NAMED_ROWS])
            raise ValueError(f"{place} is damaged: {listed}{more} hold other bytes than were written")
        compared = f"checksums of {len(manifest.shards)} shards agree"
    require_finite(rows, str(place))
    return f"{compared}; {len(rows):,} rows without NaN or Inf"


def require_finite(rows: Tensor, name: str, first: int = 0) -> None:
    """Raises ValueError naming the first rows with NaN or Inf; ``first`` is the number of the first row."""
    if rows.is_floating_point():
        checks.require_finite(rows, name, first=first)


def digest(path: Path) -> str:
    """SHA-256 of the file."""
    found = hashlib.sha256()
    with hostile.opened(path, follow=False) as file:
        while part := file.read(CHUNK):
            found.update(part)
    return found.hexdigest()


def _folder(folder: Path) -> Tensor:
    """The rows of a folder with a manifest; sizes and headers are looked at, numbers are not."""
    manifest = Manifest.of(folder)
    with ExitStack() as stack:
        parts = []
        for shard in manifest.shards:
            file = stack.enter_context(hostile.opened(folder / shard.name, follow=False))
            layout = _layout(file, manifest, shard)
            parts.append(Part(file, layout.offset, layout.length))
        return _rows(parts, Layout(manifest.dtype, (manifest.rows, *manifest.row_shape), 0))


def _layout(file: BinaryIO, manifest: Manifest, shard: Shard) -> Layout:
    """Where the rows of a shard lie, if they are what the manifest promises."""
    layout = tensors.only(file, None)
    shape = (shard.rows, *manifest.row_shape)
    if layout.dtype != manifest.dtype or layout.shape != shape:
        raise ValueError(
            f"{file.name} holds {list(layout.shape)} {name_of(layout.dtype)}, "
            f"the manifest promises {list(shape)} {name_of(manifest.dtype)}"
        )
    return layout


def _file(path: Path) -> Tensor:
    if path.suffix in columnar.SUFFIXES:
        raise NotMappableError(f"{path} holds columns, which are no matrix")
    with hostile.opened(path) as file:
        if path.suffix == ".safetensors":
            layout = tensors.only(file, None)
        else:
            header = npy.read_header(file)
            found = header.layout()
            if found is None:
                raise NotMappableError(f"{path} {header.peculiarity()}")
            layout = found
        return _rows([Part(file, layout.offset, layout.length)], layout)


def _rows(parts: list[Part], layout: Layout) -> Tensor:
    """The parts as a tensor of this dtype and shape."""
    name = parts[0].file.name
    if not layout.shape or not layout.shape[0]:
        raise ValueError(f"{name} holds no rows")
    try:
        check_rows(layout.dtype, layout.shape[1:])
    except ValueError as error:
        raise NotMappableError(f"{name}: {error}") from None
    if parts[0].offset % layout.dtype.itemsize:  # kernels read whole numbers
        raise NotMappableError(f"{name} has its numbers at byte {parts[0].offset}, in the middle of one")
    return mapped(parts).view(layout.dtype).view(layout.shape)
