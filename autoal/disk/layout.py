"""Where the numbers of a pool lie in a file, and which numbers a pool may hold."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from autoal import checks

IMAGE_AXES, FEATURE_AXES = (2, 3), (1,)
FLOATS = {str(dtype).removeprefix("torch."): dtype for dtype in checks.FLOATS}
DTYPES = FLOATS | {"uint8": torch.uint8}


class NotMappableError(ValueError):
    """What can be read but not mapped as it is: a copy is needed, in memory or on disk."""


@dataclass(frozen=True)
class Layout:
    """An array in a file: ``shape`` numbers of ``dtype``, little-endian, row after row, from byte ``offset`` on."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def length(self) -> int:
        """Bytes of the numbers."""
        return math.prod(self.shape) * self.dtype.itemsize


def name_of(dtype: torch.dtype) -> str:
    """``float32`` for torch.float32."""
    return str(dtype).removeprefix("torch.")


def check_rows(dtype: torch.dtype, row_shape: tuple[int, ...]) -> None:
    """Raises ValueError unless a pool may hold such rows: features [D] float, or images [H, W(, channels)]."""
    axes = IMAGE_AXES if dtype == torch.uint8 else FEATURE_AXES + IMAGE_AXES
    if dtype not in DTYPES.values():
        raise ValueError(f"rows are {name_of(dtype)}, a pool holds {', '.join(DTYPES)}")
    if len(row_shape) not in axes or 0 in row_shape:
        raise ValueError(
            f"rows are {list(row_shape)} {name_of(dtype)}, a pool holds features [D] float, images [H, W(, channels)]"
        )
