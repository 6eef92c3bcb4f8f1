"""The pool: all samples, and which of them have a label. The only place that keeps that account."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.disk import opening, sources, writer
from autoal.disk.layout import FLOATS, name_of


class Pool(checks.HoldsRows):
    """Samples x [N, ...] with the labels known so far. Ops, ``Outputs`` and ``select`` take it for its samples.

    Args:
        x: [N, D] float features, or [N, H, W] / [N, H, W, 3] images (uint8, or float in [0, 1]).

    Attributes:
        x: The samples as a tensor; shares memory with what came where possible.
        labeled: [L] int64 pool indices in the order in which their labels came.
        labels: [L] int64 class numbers of ``labeled``.

    Raises:
        TypeError: If x is no array of numbers.
        ValueError: If x is empty, has a wrong number of axes, or holds NaN or Inf.
    """

    def __init__(self, x: Any) -> None:
        samples = as_samples(x, "x")
        if len(samples) == 0:
            raise ValueError("x must hold at least one sample, got none")
        self._begin(samples)

    def _begin(self, x: Tensor) -> None:
        self.x = x
        self._class_of = np.full(len(x), -1, np.int64)
        self.labeled = np.empty(0, np.int64)

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False, copy: bool | None = False) -> Pool:
        """The pool in a folder that ``write`` made, an ``.npy`` or a ``.safetensors`` file, mapped into memory.

        Nothing is unpickled. Of a folder, headers and sizes are looked at, and its writer has looked at the numbers;
        those of a single file are read once, since nobody has.

        Args:
            path: The folder or file. It must not shrink while the pool is in use, nor may ``x`` be written to: memory
                maps answer either by ending the process.
            verify: Whether all of it is read and compared with the checksums.
            copy: False: what cannot be mapped is refused (other dtypes, Fortran order, Parquet, Arrow). None: that is
                copied into memory. True: everything is.

        Raises:
            MissingExtraError: If Parquet or Arrow is to be copied and pyarrow is not installed.
            ValueError: If there is no such pool, it is damaged or unfinished, cannot be mapped, or holds NaN or Inf.
        """
        try:
            rows = opening.open_rows(path, copy=copy)
            if verify:
                opening.verify(path, rows)
            elif not Path(path).is_dir():
                opening.require_finite(rows, str(path))
        except ValueError as error:
            raise ValueError(f"path: {error}") from None
        pool = cls.__new__(cls)
        pool._begin(rows)
        return pool

    @staticmethod
    def write(
        path: str | Path,
        x: Any,
        *,
        columns: str | Sequence[str] | None = None,
        shard_rows: int | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> Pool:
        """Writes rows to a folder, batch by batch, and opens it.

        A call that was cut off leaves whole shards and no pool; the same call goes on where it was.

        Args:
            path: The folder, empty or not there yet.
            x: An array, tensor or ``Pool``; the path of an ``.npy``, ``.safetensors``, Parquet or Arrow file, or of a
                folder of them; a data set of Hugging Face's; batches [n, ...] one after the other; or, so that nothing
                is computed again when it goes on, a function that gives the batches from a row on.
            columns: Of Parquet, Arrow or a data set: the column of lists, or those of numbers. Of safetensors: the
                tensor.
            shard_rows: Rows of a file; rounded up to whole memory pages, a gigabyte by default.
            dtype: float32, float16 or bfloat16, as which features are stored; by default as they come, and float64 and
                integers as float32.

        Raises:
            MissingExtraError: If pyarrow is needed and not installed.
            TypeError: If ``x`` is nothing of these.
            ValueError: If rows hold NaN or Inf, naming them, or the folder holds anything else.
        """
        if isinstance(dtype, str):
            dtype = FLOATS[checks.check_choice(dtype, "dtype", tuple(FLOATS))]
        if dtype is not None and dtype not in FLOATS.values():
            raise ValueError(f"dtype must be one of {', '.join(FLOATS)}, got {name_of(dtype)}")
        columns = [columns] if isinstance(columns, str) else columns
        writer.write(Path(path), sources.of(x, columns), shard_rows=shard_rows, dtype=dtype)
        return Pool.open(path)

    def __len__(self) -> int:
        return len(self.x)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """``x`` as a numpy array, which shares its memory where it can."""
        return np.array(self.x.numpy(), dtype=dtype, copy=copy)

    @property
    def labels(self) -> np.ndarray:
        """[L] int64 class numbers of ``labeled``."""
        return self._class_of[self.labeled]

    @property
    def unlabeled(self) -> np.ndarray:
        """[U] int64 pool indices without a label, ascending."""
        return np.flatnonzero(self._class_of < 0)

    def label(self, indices: Any, labels: Any) -> None:
        """Records labels [B] of the samples ``indices`` [B]. Nothing is recorded if anything is wrong.

        Raises:
            TypeError: If they are not integers.
            ValueError: If an index is outside the pool, repeats or has a label already, or the lengths differ.
        """
        new = checks.as_indices(indices, "indices", len(self))
        classes = checks.as_labels(labels, "labels", len(new))
        known = new[self._class_of[new] >= 0]
        if len(known):
            raise ValueError(f"indices must be unlabeled samples; {known[0]} has a label already")
        self._class_of[new] = classes
        self.labeled = np.concatenate([self.labeled, new])


def as_samples(x: Any, name: str) -> Tensor:
    """``x`` as a tensor of features [N, D] or images [N, H, W(, channels)]; images may be uint8."""
    if (isinstance(x, np.ndarray) and x.dtype == np.uint8) or (isinstance(x, Tensor) and str(x.dtype) == "torch.uint8"):
        tensor = x if isinstance(x, Tensor) else checks.tensor_of(np.ascontiguousarray(x))
        if tensor.ndim not in (3, 4):
            raise ValueError(
                f"{name} must be images [N, H, W] or [N, H, W, 3] where it is uint8, got {checks.describe(x)}: "
                "features are float, convert them with .astype('float32')"
            )
        return tensor
    axes = {2: "[N, D]", 3: "[N, H, W]", 4: "[N, H, W, channels]"}
    ndim = getattr(x, "ndim", 2)
    if ndim not in axes:
        raise ValueError(f"{name} must be features [N, D] or images [N, H, W(, channels)], got {checks.describe(x)}")
    tensor = checks.as_floats(x, name, axes[ndim])
    checks.require_finite(tensor, name)
    return tensor
