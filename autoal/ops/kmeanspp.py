"""k-means++ seeding: each pick is drawn with probability proportional to the squared distance to the picks before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autoal import checks
from autoal.ops import contract, native, reference


def kmeanspp(
    points: Any,
    k: int,
    *,
    first: int | None = None,
    excluded: Any = None,
    seed: int = 0,
    on_nonfinite: str = "raise",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """D^2 sampling of k different rows: the law of k-means++, without greedy trials.

    The draws depend on ``seed`` alone, not on the device or the number of threads.

    Args:
        points: [N, D] float, numpy (memory maps too) or torch. Rows that are not one after the other are copied.
        k: Number of picks.
        first: The first pick; without it, uniform.
        excluded: [E] int64 rows that are never picked.
        seed: Source of the draws.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = go on as if they were not there.
        progress: Called with the number of picks so far, a few times a second (on CUDA: once, at the end).

    Returns:
        Indices [k] int64 in pick order, on the device of ``points``.

    Raises:
        TypeError: If ``points`` are no floating point array.
        ValueError: If shapes, ``first`` or ``k`` do not fit, or rows are not finite.

    Warns:
        DuplicatesWarning: If only copies of picks were left for the last picks.

    References:
        Arthur & Vassilvitskii 2007.
    """
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    seed = checks.as_count(seed, "seed", high=contract.MAX_SEED)
    x = contract.matrix(points, "points", "[N, D]")
    start = -1 if first is None else checks.as_count(first, "first", high=len(x) - 1, of="the rows of points")
    out = contract.excluded_rows(excluded, len(x))
    if start in out:
        raise ValueError(f"first must be a row that is not excluded; row {first} is")
    kept = contract.kept_rows(x, "points", on_nonfinite)
    if kept is not None:
        out = contract.among(kept, out, x).cpu().numpy()
        x = x[kept]
        if first is not None:
            position = (kept == first).nonzero()
            if not len(position):
                raise ValueError(f"first must be a finite row; row {first} holds NaN or Inf and was dropped")
            start = int(position)
    k = contract.check_k(k, len(x) - len(out))
    picks = torch.empty(0, dtype=torch.int64, device=x.device)
    if k:
        if start < 0 and len(out):  # without excluded rows the kernel draws it, by the same number
            start = contract.free_row(len(x), out, reference.uniform(seed, 0))
        with native.ticking(progress):
            picks, filled = torch.ops.autoal.kmeanspp(x, start, k, seed, excluded=contract.rows_beside(x, out))
        contract.warn_of_filling(filled, k)
    if progress is not None:
        progress(k)
    return contract.answer(picks if kept is None else kept[picks], points)
