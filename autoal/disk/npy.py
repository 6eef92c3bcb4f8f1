"""Arrays in .npy files, as numpy.save writes them; nothing is ever unpickled or evaluated."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch

from autoal.disk import hostile
from autoal.disk.layout import Layout

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000  # what numpy reads, too; three short entries take about a hundred
MAX_AXES = 8

_VALUE = r"""('[^'\\]{1,16}'|"[^"\\]{1,16}"|True|False|\(\s*(?:\d{1,19}\s*,\s*)*(?:\d{1,19}\s*)?\))"""
_ENTRY = rf"""\s*['"](descr|fortran_order|shape)['"]\s*:\s*{_VALUE}\s*"""
_HEADER = re.compile(rf"\s*\{{{_ENTRY},{_ENTRY},{_ENTRY}(?:,\s*)?\}}\s*", re.ASCII)
_DTYPE = re.compile(r"[<>|=]?[biufSU]\d{1,9}", re.ASCII)  # numbers and text; "O" would be pickled objects, "V" records
_BY_NUMPY = {np.dtype("<f4"): torch.float32, np.dtype("<f2"): torch.float16, np.dtype("u1"): torch.uint8}


@dataclass(frozen=True)
class Header:
    """What an .npy file says of its array, whose numbers begin at byte ``offset``."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    offset: int

    def layout(self) -> Layout | None:
        """Where the numbers lie, if they lie as a pool needs them."""
        if self.dtype not in _BY_NUMPY or self.fortran_order or self.offset % self.dtype.itemsize:
            return None
        return Layout(_BY_NUMPY[self.dtype], self.shape, self.offset)

    def peculiarity(self) -> str:
        """Why they do not, for an error."""
        if self.fortran_order:
            return "is stored column by column (Fortran order)"
        if self.dtype not in _BY_NUMPY:
            return f"is {'big-endian ' if self.dtype.byteorder == '>' else ''}{self.dtype.name}"
        return f"begins at byte {self.offset}, in the middle of a number"


def read_header(file: BinaryIO) -> Header:
    """The header of the .npy file, compared with the file's size.

    Raises:
        ValueError: If it is damaged or describes no plain array.
    """
    start = file.read(len(MAGIC) + 2)
    if start[:4] == b"PK\x03\x04":
        raise ValueError(f"{file.name} is an .npz archive: give one .npy file per array")
    if start[: len(MAGIC)] != MAGIC:
        raise _damaged(file, "it does not begin as one")
    if start[len(MAGIC) :] not in (b"\x01\x00", b"\x02\x00", b"\x03\x00"):
        raise _damaged(file, "its version is unknown")
    field = 2 if start[len(MAGIC)] == 1 else 4
    length = int.from_bytes(file.read(field), "little")
    offset = len(start) + field + length
    if length > MAX_HEADER or offset > hostile.size_of(file):
        raise _damaged(file, f"its header has {length:,} bytes")
    header = _parse(file, file.read(length).decode("latin-1"), offset)
    expected = offset + math.prod(header.shape) * header.dtype.itemsize
    if expected != hostile.size_of(file):
        raise _damaged(file, f"its header promises {expected:,} bytes, it has {hostile.size_of(file):,}")
    return header


def load(path: Path) -> np.ndarray:
    """The array in an .npy file, memory-mapped.

    Raises:
        ValueError: If it is missing, damaged, or no plain array.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    with hostile.opened(path) as file:
        header = read_header(file)
        order: Literal["C", "F"] = "F" if header.fortran_order else "C"
        if not math.prod(header.shape):  # nothing can be mapped
            return np.empty(header.shape, header.dtype, order)
        return np.memmap(file, header.dtype, "r", header.offset, header.shape, order)


def _parse(file: BinaryIO, text: str, offset: int) -> Header:
    match = _HEADER.fullmatch(text)
    entries = dict(zip(match.groups()[::2], match.groups()[1::2], strict=True)) if match else {}
    if len(entries) < 3:
        raise _damaged(file, "its header describes no plain array")
    descr, order, shape = entries["descr"].strip("'\""), entries["fortran_order"], entries["shape"]
    if order not in ("True", "False") or not shape.startswith("("):
        raise _damaged(file, "its header describes no plain array")
    try:
        dtype = np.dtype(descr if _DTYPE.fullmatch(descr) else "O")
    except TypeError:  # <f3
        dtype = np.dtype("O")
    if dtype.hasobject or not dtype.itemsize:
        raise _damaged(file, f"its items are {descr}, no plain numbers")
    axes = tuple(int(axis) for axis in re.findall(r"\d+", shape))
    if len(axes) > MAX_AXES or math.prod(filter(None, axes)) * dtype.itemsize >= 2**63:
        raise _damaged(file, "its shape is larger than any memory")
    return Header(dtype, axes, order == "True", offset)


def _damaged(file: BinaryIO, why: str) -> ValueError:
    return ValueError(f"{file.name} is no readable .npy file ({why}): save it with numpy.save")
