"""Tensors in .safetensors files: a length, a JSON header, and the numbers."""

from __future__ import annotations

import json
import math
from typing import Any, BinaryIO

import torch

from autoal import checks
from autoal.disk import hostile
from autoal.disk.layout import Layout

MAX_HEADER = 1 << 20  # one tensor takes a hundred bytes; shards of ours are padded to a page
MAX_AXES = 8
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_header(file: BinaryIO) -> dict[str, Layout]:
    """The tensors by name, in the order of their bytes, which fill the file without gap or overlap.

    Raises:
        ValueError: If the header is damaged, or contradicts itself or the file's size.
    """
    try:
        return _read_header(file)
    except ValueError as error:
        raise ValueError(f"{file.name} is no readable .safetensors file ({error})") from None


def only(file: BinaryIO, name: str | None) -> Layout:
    """The tensor called ``name``, or the one that there is.

    Raises:
        ValueError: If the file is damaged, has no such tensor, or has several and none is named.
    """
    layouts = read_header(file)
    if name is not None and name not in layouts:
        raise ValueError(f"{file.name} holds no tensor {name!r}, but {_listed(layouts)}")
    if name is None and len(layouts) != 1:
        raise ValueError(f"{file.name} must hold one tensor, got {_listed(layouts)}: name one of them as columns")
    return layouts[name if name is not None else next(iter(layouts))]


def header(name: str, dtype: torch.dtype, shape: tuple[int, ...], length: int) -> bytes:
    """The header of a file with one tensor, padded so that the numbers begin at byte ``length``."""
    end = math.prod(shape) * dtype.itemsize
    text = json.dumps({name: {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [0, end]}}).encode()
    return (length - 8).to_bytes(8, "little") + text.ljust(length - 8)


def _read_header(file: BinaryIO) -> dict[str, Layout]:
    size = hostile.size_of(file)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(MAX_HEADER, size - 8):
        raise ValueError(f"its header has {length:,} bytes, the file {size:,}" if size >= 8 else "it is too short")
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("its header does not begin as one")
    tensors = hostile.json_object(text)
    tensors.pop("__metadata__", None)
    found = [(*_entry(name, value), name) for name, value in tensors.items()]
    position = 0
    layouts = {}
    for begin, end, dtype, shape, name in sorted(found, key=lambda entry: entry[:2]):
        if begin != position:
            raise ValueError(f"the bytes of {name[:40]!r} overlap others, or leave a gap")
        layouts[name] = Layout(dtype, shape, 8 + length + begin)
        position = end
    if 8 + length + position != size:
        raise ValueError(f"its header promises {8 + length + position:,} bytes, it has {size:,}")
    return layouts


def _entry(name: str, value: Any) -> tuple[int, int, torch.dtype, tuple[int, ...]]:
    what = f"tensor {name[:40]!r}"
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no object")
    hostile.require_keys(value, ("dtype", "shape", "data_offsets"), what)
    if not isinstance(value["dtype"], str) or value["dtype"] not in DTYPES:
        raise ValueError(f"{what} is of a dtype that is not read here: {', '.join(DTYPES)}")
    dtype = DTYPES[value["dtype"]]
    shape = hostile.counts(value["shape"], f"the shape of {what}", MAX_AXES)
    offsets = hostile.counts(value["data_offsets"], f"data_offsets of {what}", 2)
    if len(offsets) != 2 or offsets[1] - offsets[0] != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{what} has other bytes than its shape needs")
    return offsets[0], offsets[1], dtype, shape


def _listed(layouts: dict[str, Layout]) -> str:
    names = ", ".join(repr(name[:40]) for name in list(layouts)[: checks.MAX_NAMED_ROWS])
    return f"{len(layouts)}: {names}" if layouts else "none"
