"""What every public function asks of its arguments: one clear error that names the argument and the fix."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
MAX_NAMED_ROWS = 5

# Squared distances, also of gradient embeddings (|g_i - g_j|^2 <= 8 max |h|^2), must not overflow float32.
LARGEST_SQUARE = torch.finfo(torch.float32).max / 8


class HoldsRows:
    """What may be given for an array of its rows ``x``: a ``Pool``."""

    x: Tensor


def how_to_install(extra: str) -> str:
    """The command that brings an extra."""
    return f"pip install 'autoal[{extra}]' (in a checkout: '.[{extra}]')"


class MissingExtraError(ImportError):
    """A package that only some features need is not installed; the message says which extra brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs the package {package!r}: {how_to_install(extra)}")


def describe(value: Any) -> str:
    """What came, in the words of an error message: shape and dtype of an array, else the type."""
    if isinstance(value, (np.ndarray, Tensor)):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def tensor_of(array: np.ndarray) -> Tensor:
    """A CPU tensor on the memory of ``array``, which may be read-only (a memory map): nobody here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def as_floats(value: Any, name: str, shape: str) -> Tensor:
    """``value`` as a tensor of float32, float16 or bfloat16 on its own device; without a copy where possible.

    Args:
        value: numpy array (or memory map), torch tensor, ``Pool`` or nested sequence; float64 becomes float32.
        name: The argument's name, for the error.
        shape: The axes it must have, such as ``"[N, D]"``.

    Raises:
        TypeError: If it is no array of floating point numbers.
        ValueError: If the number of axes differs.
    """
    if isinstance(value, HoldsRows):
        value = value.x
    if not isinstance(value, (np.ndarray, Tensor)):
        if not isinstance(value, (Sequence, np.generic)) or isinstance(value, (str, bytes)):
            raise TypeError(f"{name} must be {shape} float, a numpy array or torch tensor, got {describe(value)}")
        try:
            value = np.asarray(value, dtype=np.float32)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be {shape} float, got a sequence that is no numeric array") from None
    ndim = shape.count(",") + 1
    if value.ndim != ndim:
        raise ValueError(f"{name} must be {shape} float, got {describe(value)}")
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            raise TypeError(f"{name} must be {shape} float, got {describe(value)}: convert it with .astype('float32')")
        if value.dtype.newbyteorder("=") not in (np.float32, np.float16):
            value = value.astype(np.float32)
        elif not value.dtype.isnative or any(stride < 0 for stride in value.strides):
            value = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("="))
        value = tensor_of(value)
    if not value.dtype.is_floating_point:
        raise TypeError(f"{name} must be {shape} float, got {describe(value)}: convert it with .float()")
    value = (
        value.detach() if value.requires_grad else value
    )  # the same object where it can be: strategies know it by that
    return value if value.dtype in FLOATS else value.to(torch.float32)


def as_indices(value: Any, name: str, n: int) -> np.ndarray:
    """``value`` as int64 pool indices [L], all different and in ``[0, n)``.

    Raises:
        TypeError: If it is not one-dimensional integers.
        ValueError: If an index lies outside the pool or comes twice.
    """
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.size == 0 and array.ndim <= 1:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        hint = ": use np.flatnonzero(mask)" if array.dtype.kind == "b" else ""
        raise TypeError(f"{name} must be [L] int64 pool indices, got {describe(array)}{hint}")
    outside = array[(array < 0) | (array >= n)]
    if len(outside):
        raise ValueError(f"{name} must lie in [0, {n}), the rows of the pool; got {outside[0]}")
    array = array.astype(np.int64)
    unique, counts = np.unique(array, return_counts=True)
    if len(unique) < len(array):
        raise ValueError(f"{name} must not repeat an index; {unique[counts > 1][0]} comes {counts.max()} times")
    return array


def as_labels(value: Any, name: str, length: int) -> np.ndarray:
    """``value`` as int64 class numbers [length], none negative.

    Raises:
        TypeError: If it is not one-dimensional integers.
        ValueError: If the length differs or a class number is negative.
    """
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.size == 0 and array.ndim <= 1:
        array = np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        hint = ": map class names to 0..C-1 first, e.g. np.unique(y, return_inverse=True)[1]"
        raise TypeError(f"{name} must be [L] int64 class numbers, got {describe(array)}{hint}")
    if len(array) != length:
        raise ValueError(f"{name} must hold one label for each of the {length} labeled indices, got {len(array)}")
    if len(array) and array.min() < 0:
        raise ValueError(f"{name} must be class numbers 0..C-1, got {array.min()}")
    return array.astype(np.int64)


def as_count(value: Any, name: str, *, low: int = 0, high: int | None = None, of: str = "") -> int:
    """``value`` as an int within ``[low, high]``; ``of`` says in the error what the upper limit counts.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it lies outside.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < low or (high is not None and value > high):
        limit = f"at least {low}" if high is None else f"between {low} and {high}{f', {of}' if of else ''}"
        raise ValueError(f"{name} must be {limit}; got {value}")
    return int(value)


def as_bool(value: Any, name: str) -> bool:
    """``value`` if it is True or False; TypeError otherwise, as any text is true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def require_finite(values: Tensor, name: str, *, squares: bool = False, first: int = 0) -> None:
    """Raises ValueError naming the first rows of ``values`` [N, ...] with NaN or Inf, or squares that overflow.

    ``squares``: whether these are looked at. ``first``: the number of the first row. Reads in slices: O(1) memory.
    """
    step = max(1, (1 << 20) // max(1, values[:1].numel()))
    for start in range(0, len(values), step):
        part = values[start : start + step].reshape(min(step, len(values) - start), -1)
        suspicious = ~(part.float().square().sum(1) <= LARGEST_SQUARE)  # NaN compares false
        if bool(suspicious.any()) and (squares or not bool(torch.isfinite(part).all())):
            rows = suspicious.nonzero()[:, 0]
            bad = (~torch.isfinite(part[rows])).any(1)
            if bool(bad.any()):
                listed = name_rows((rows[bad] + first + start).tolist())
                raise ValueError(f"{name} holds NaN or Inf in {listed}: remove or repair them")
            listed = name_rows((rows + first + start).tolist())
            raise ValueError(f"{name} is too large in {listed}: squared distances overflow float32, so scale it down")


def name_rows(rows: Sequence[int]) -> str:
    """``row 3`` or ``rows 3, 5, 8 (of 12 such rows)``."""
    shown = ", ".join(str(row) for row in rows[:MAX_NAMED_ROWS])
    more = f" (of {len(rows)} such rows)" if len(rows) > MAX_NAMED_ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in ``known``: suggests the nearest and lists all."""
    names = sorted(known)
    lower = {other.lower(): other for other in names}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return ValueError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}")


def check_choice(value: Any, name: str, choices: Sequence[str]) -> str:
    """``value`` if it is one of ``choices``; else a ValueError that suggests the nearest."""
    if value not in choices:
        raise unknown_name(name, value, choices)
    return str(value)
