"""What all ops promise alike: answers in kind, rows that cannot be used, picks that only fill up."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import reference

KINDS = ("logits", "probs")
ON_NONFINITE = ("raise", "drop")
MAX_SEED = 2**63 - 1
MAX_CUDA_ROWS = 2**32 - 2  # CUDA's kernels find the largest by keys that hold a row's number in 32 bits

SLICE = 1 << 22  # numbers looked at together when faulty rows are searched for


class DuplicatesWarning(UserWarning):
    """The pool holds fewer different rows than picks were asked for: the last picks are copies of earlier ones."""


def matrix(value: Any, name: str, shape: str) -> Tensor:
    """``value`` as a tensor of ``checks.FLOATS`` with rows one after the other; copied only where they are not.

    Raises:
        TypeError: If it is no array of floating point numbers.
        ValueError: If the number of axes differs, or rows are empty.
    """
    x = checks.as_floats(value, name, shape)
    if x.shape[-1] == 0:
        raise ValueError(f"{name} must be {shape} with at least one column, got {checks.describe(x)}")
    return x.contiguous()


def check_rows(x: Tensor, name: str) -> None:
    """Refuses more rows than the CUDA kernels can tell apart.

    Raises:
        ValueError: If x [N, D] is on a CUDA device and has more than ``MAX_CUDA_ROWS``.
    """
    if x.is_cuda and len(x) > MAX_CUDA_ROWS:
        raise ValueError(f"{name} may have at most {MAX_CUDA_ROWS:,} rows on CUDA, got {len(x):,}: pass a CPU tensor")


def answer(result: Tensor, like: Any) -> Any:
    """``result`` as a torch tensor if ``like`` is one, else as a numpy array."""
    return result if isinstance(like, Tensor) else result.numpy()


def capturing(x: Tensor) -> bool:
    """Whether a CUDA graph is being captured: then nothing may wait for values, and checks of values are skipped."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


def check_k(k: Any, available: int) -> int:
    """``k`` as an int in [0, available]."""
    return checks.as_count(k, "k", high=available, of="the rows that can be picked")


def kept_rows(x: Tensor, name: str, on_nonfinite: str) -> Tensor | None:
    """The rows of x [N, D] to go on with: None if all, else the numbers [M] of the finite ones.

    Raises:
        ValueError: If rows hold NaN or Inf and ``on_nonfinite`` is "raise", or are so large that distances overflow.
    """
    if capturing(x):
        return None
    suspicious = ~(torch.ops.autoal.squared_norms(x) <= checks.LARGEST_SQUARE)  # NaN compares false
    if not bool(suspicious.any()):
        return None
    rows = suspicious.nonzero()[:, 0]
    finite = torch.cat([torch.isfinite(x[part]).all(1) for part in rows.split(_step(x))])
    if bool(finite.any()):
        listed = checks.name_rows(rows[finite].tolist())
        raise ValueError(f"{name} is too large in {listed}: squared distances overflow float32, so scale it down")
    if on_nonfinite == "raise":
        listed = checks.name_rows(rows.tolist())
        raise ValueError(f"{name} holds NaN or Inf in {listed}: repair them, or skip them by on_nonfinite='drop'")
    return (~suspicious).nonzero()[:, 0]


def kept_distributions(
    x: Tensor, name: str, kind: str, bad_row: Tensor, on_nonfinite: str, rows: Tensor | None = None
) -> Tensor | None:
    """The rows of logits or probs x [N, C] or [T, N, C] to go on with: None if all, else the numbers [M] of the good.

    Args:
        x: What the kernel read.
        name: The argument's name, for the error.
        kind: "logits" or "probs".
        bad_row: [1], the kernel's finding: the lowest row that is no distribution, or N.
        on_nonfinite: "raise" or "drop".
        rows: [N], what the caller calls the rows of x where some were dropped already; for the error.

    Raises:
        ValueError: If rows hold NaN or Inf (logits may be -inf, but not all of a row) and ``on_nonfinite`` is "raise";
            if rows of probs are negative or do not sum to 1.
    """
    n = x.shape[-2]
    if capturing(x) or int(bad_row) == n:
        return None
    masks = [
        reference.distributions(x.narrow(-2, start, min(_step(x), n - start)), kind == "probs", tolerance(x))[1:]
        for start in range(0, n, _step(x))
    ]
    over_samples = [[mask.any(0) if x.ndim == 3 else mask for mask in pair] for pair in masks]
    nonfinite, wrong = (torch.cat(parts) for parts in zip(*over_samples, strict=True))
    if not bool((nonfinite | wrong).any()):  # float32 sums of the kernel fell on the other side of the tolerance
        wrong[bad_row] = True
    if bool(wrong.any()):
        raise ValueError(
            f"{name} with kind='probs' must be at least 0 and sum to 1 within {tolerance(x)}, which fails in "
            f"{_listed(wrong, rows)}: normalize them, or pass kind='logits' if that is what they are"
        )
    if on_nonfinite == "raise":
        what = "NaN or Inf" if kind == "probs" else "NaN, +inf or nothing but -inf"
        listed = _listed(nonfinite, rows)
        raise ValueError(f"{name} holds {what} in {listed}: repair them, or skip them by on_nonfinite='drop'")
    return (~nonfinite).nonzero()[:, 0]


def tolerance(x: Tensor) -> float:
    """How far from 1 a row of probs of this dtype may sum."""
    return 1e-3 if x.dtype == torch.float32 else 1e-2


COPIES = "are copies of earlier picks or labeled rows, taken by lowest index: the pool has no other rows left"


def warn_of_filling(filled: Tensor, k: int, what: str = COPIES) -> None:
    """Warns if the last ``filled`` [1] of ``k`` picks were made only to fill up; ``what`` says what they are."""
    if not capturing(filled) and int(filled):
        warnings.warn(f"{int(filled)} of {k} picks {what}", DuplicatesWarning, stacklevel=3)


def rows_beside(x: Tensor, rows: np.ndarray) -> Tensor:
    """``rows`` [L] int64 on the device of x."""
    if not len(rows):  # no copy from the host: this form can be captured in a CUDA graph
        return torch.empty(0, dtype=torch.int64, device=x.device)
    return torch.from_numpy(rows).to(x.device)


def excluded_rows(value: Any, n: int) -> np.ndarray:
    """``value`` or nothing as int64 rows [E] that a selection must not pick."""
    return checks.as_indices(() if value is None else value, "excluded", n)


def among(kept: Tensor | None, rows: np.ndarray, x: Tensor) -> Tensor:
    """``rows`` [L] beside x; where not all rows were kept, in positions among those kept [M], without the others."""
    beside = rows_beside(x, rows)
    return beside if kept is None else torch.isin(kept, beside).nonzero()[:, 0]


def free_row(n: int, excluded: np.ndarray, share: float) -> int:
    """The row at ``share`` in [0, 1) of those that are not excluded; there must be one."""
    if not len(excluded):
        return int(share * n)
    free = np.ones(n, dtype=bool)
    free[excluded] = False
    free_rows = np.flatnonzero(free)
    return int(free_rows[int(share * len(free_rows))])


def _listed(mask: Tensor, rows: Tensor | None) -> str:
    """The rows where the mask [N] is True, in the caller's numbers."""
    bad = mask.nonzero()[:, 0]
    return checks.name_rows((bad if rows is None else rows[bad]).tolist())


def _step(x: Tensor) -> int:
    return max(1, SLICE // max(1, x.numel() // max(1, x.shape[-2])))
