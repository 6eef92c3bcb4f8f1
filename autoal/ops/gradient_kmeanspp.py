"""BADGE's selection: D^2 sampling of the gradients of a classifier's last layer, which are never formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from autoal import checks
from autoal.ops import contract, native


def gradient_kmeanspp(
    logits: Any,
    embeddings: Any,
    k: int,
    *,
    kind: str = "logits",
    excluded: Any = None,
    seed: int = 0,
    on_nonfinite: str = "raise",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """D^2 sampling of k different rows over g_i = (p_i - onehot(argmax p_i)) (x) h_i [C * D].

    The first pick is the row with the longest g; the others are drawn with probability proportional to the squared
    distance of g to the nearest pick. Memory is O(N (C + D)): <g_i, g_j> = <a_i, a_j> <h_i, h_j>.

    Args:
        logits: [N, C] float, numpy or torch; the class scores. They may be -inf.
        embeddings: [N, D] float on the same device; h, the inputs of the last layer.
        k: Number of picks.
        kind: "logits", or "probs" if ``logits`` are probabilities already.
        excluded: [E] int64 rows that are never picked.
        seed: Source of the draws.
        on_nonfinite: Rows with NaN or Inf in either (logits: see ``uncertainty_scores``): "raise", or "drop" = go on as
            if they were not there.
        progress: Called with the number of picks so far, a few times a second (on CUDA: once, at the end).

    Returns:
        Indices [k] int64 in pick order; numpy or torch and on the device as ``logits``.

    Raises:
        TypeError: If an input is no floating point array.
        ValueError: If shapes, devices or ``k`` do not fit, rows are not finite, or probs do not sum to 1.

    Warns:
        DuplicatesWarning: If only rows with the gradient of a pick were left for the last picks.

    References:
        Ash et al. 2020.
    """
    checks.check_choice(kind, "kind", contract.KINDS)
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    seed = checks.as_count(seed, "seed", high=contract.MAX_SEED)
    x = contract.matrix(logits, "logits", "[N, C]")
    h = contract.matrix(embeddings, "embeddings", "[N, D]")
    contract.check_rows(x, "logits")
    if len(x) != len(h):
        raise ValueError(f"logits and embeddings must have the same number of rows, got {len(x)} and {len(h)}")
    if x.device != h.device:
        raise ValueError(f"logits and embeddings must be on one device, got {x.device} and {h.device}")
    out = contract.excluded_rows(excluded, len(x))
    rows = contract.kept_rows(h, "embeddings", on_nonfinite)
    barred = contract.among(rows, out, x)
    if rows is not None:
        x, h = x[rows], h[rows]
    k = contract.check_k(k, len(x) - len(barred))
    arguments = (kind == "probs", contract.tolerance(x))
    with native.ticking(progress):
        picks, filled, bad_row = torch.ops.autoal.gradient_kmeanspp(x, *arguments, h, k, seed, excluded=barred)
    kept = contract.kept_distributions(x, "logits", kind, bad_row, on_nonfinite, rows)
    if kept is not None:
        x, h, rows = x[kept], h[kept], kept if rows is None else rows[kept]
        barred = contract.among(rows, out, x)
        k = contract.check_k(k, len(x) - len(barred))
        with native.ticking(progress):
            picks, filled, _ = torch.ops.autoal.gradient_kmeanspp(x, *arguments, h, k, seed, excluded=barred)
    contract.warn_of_filling(filled, k)
    if progress is not None:
        progress(k)
    return contract.answer(picks if rows is None else rows[picks], logits)
