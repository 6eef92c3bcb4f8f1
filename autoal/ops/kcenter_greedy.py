"""k-center greedy: each pick is the row farthest from everything labeled or picked before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract, native, reference


def kcenter_greedy(
    embeddings: Any,
    k: int,
    *,
    labeled: Any = None,
    excluded: Any = None,
    first: int | None = None,
    metric: str = "l2",
    seed: int = 0,
    return_radius: bool = False,
    on_nonfinite: str = "raise",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Farthest-first traversal of the rows; ties go to the lowest index.

    Args:
        embeddings: [N, D] float, numpy (memory maps too) or torch. Rows that are not one after the other are copied.
        k: Number of picks.
        labeled: [L] int64 rows that are centers already; they are never picked.
        excluded: [E] int64 rows that are never picked and are no centers (but those that are labeled, too). The
            radius is that of the others.
        first: The first pick. Without it: the row farthest from ``labeled``, or if there is none, a row drawn by
            ``seed``.
        metric: "l2", or "cosine" (1 - cos; a row of zeros counts as the origin, 1/2 away from every direction).
        seed: Draws the first pick where nothing else fixes it.
        return_radius: Whether to return the covering radii too.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = go on as if they were not in the pool.
        progress: Called with the number of picks so far, a few times a second (on CUDA: once, at the end).

    Returns:
        Indices [k] int64 in pick order; with ``return_radius`` also the radius [k] float32: the largest distance of any
        row to its nearest center after each pick, which never grows. On the device of ``embeddings``.

    Raises:
        TypeError: If ``embeddings`` are no floating point array, or indices no integers.
        ValueError: If shapes, indices or ``k`` do not fit the pool, rows are not finite, or ``first`` is labeled or
            excluded.

    Warns:
        DuplicatesWarning: If only copies of centers were left for the last picks.

    References:
        Gonzalez 1985; Sener & Savarese 2018 (core-set).
    """
    checks.check_choice(metric, "metric", ("l2", "cosine"))
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    seed = checks.as_count(seed, "seed", high=contract.MAX_SEED)
    x = contract.matrix(embeddings, "embeddings", "[N, D]")
    contract.check_rows(x, "embeddings")
    centers = checks.as_indices(() if labeled is None else labeled, "labeled", len(x))  # [L]
    out = contract.excluded_rows(excluded, len(x))  # [E]
    if first is not None:
        first = checks.as_count(first, "first", high=len(x) - 1, of="the rows of the pool")
        if first in centers:
            raise ValueError(f"first must be a row that is not labeled; row {first} is")
        if first in out:
            raise ValueError(f"first must be a row that is not excluded; row {first} is")
    kept = contract.kept_rows(x, "embeddings", on_nonfinite)
    if kept is not None:
        x, centers, out, first = _without_dropped(x, centers, out, first, kept)
    k = contract.check_k(k, len(x) - len(centers) - len(np.setdiff1d(out, centers)))
    picks, radius = torch.empty(0, dtype=torch.int64, device=x.device), torch.empty(0, device=x.device)
    if k:
        if first is None:
            first = -1 if len(centers) else contract.free_row(len(x), out, reference.uniform(seed, 0))
        scale = inverse_norms(x) if metric == "cosine" else None
        with native.ticking(progress):
            picks, radius, filled = torch.ops.autoal.kcenter_greedy(
                x, scale, contract.rows_beside(x, centers), first, k, excluded=contract.rows_beside(x, out)
            )
        contract.warn_of_filling(filled, k)
    if progress is not None:
        progress(k)
    if kept is not None:
        picks = kept[picks]
    indices = contract.answer(picks, embeddings)
    if not return_radius:
        return indices
    # Between rows of length one |x - y|^2 = 2 (1 - cos).
    return indices, contract.answer(radius.square() / 2 if metric == "cosine" else radius, embeddings)


def inverse_norms(x: Tensor) -> Tensor:
    """1 / |x_i| [N] float32 of x [N, D]; 0 for a row of zeros."""
    squares = torch.ops.autoal.squared_norms(x)
    return torch.where(squares > 0, squares.rsqrt(), 0.0)


def _without_dropped(
    x: Tensor, centers: np.ndarray, out: np.ndarray, first: int | None, kept: Tensor
) -> tuple[Tensor, np.ndarray, np.ndarray, int | None]:
    """The pool, its centers, excluded rows and the first pick, all in positions among the rows ``kept`` [M]."""
    position = np.full(len(x), -1)
    position[kept.cpu().numpy()] = np.arange(len(kept))
    if first is not None and position[first] < 0:
        raise ValueError(f"first must be a finite row; row {first} holds NaN or Inf and was dropped")
    centers, out = position[centers], position[out]
    return x[kept], centers[centers >= 0], out[out >= 0], None if first is None else int(position[first])
