"""``autoal.select``: the outputs of any model in, a query out. No training loop is forced on anyone here."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from autoal.constraints import Constraints
from autoal.constraints import query as constrained_query
from autoal.pool import Pool
from autoal.strategies import Strategy, resolve
from autoal.types import Context, Outputs, Query

FEW_CLASSES = 1000  # up to here gaps between the class numbers cost nothing


def select(
    outputs: Outputs,
    size: int,
    strategy: str | type[Strategy] | Strategy = "autoal",
    *,
    labeled: Any = (),
    labels: Any = None,
    n_classes: int | None = None,
    inputs: Tensor | Pool | None = None,
    constraints: Constraints | None = None,
    seed: int = 0,
) -> Query:
    """Which samples to label next.

    Args:
        outputs: The model's outputs for the whole pool of N samples; give what the strategy needs.
        size: How many samples to ask for, at most the number of unlabeled ones.
        strategy: A name of ``autoal.strategies.STRATEGIES``, a class, or an object (which remembers its rounds).
        labeled: [L] int64 pool indices that have a label already; they are never returned.
        labels: [L] int64 their class numbers, for strategies that learn from them.
        n_classes: C; by default what ``outputs`` and ``labels`` show.
        inputs: [N, ...] the raw pool, for strategies that train a net of their own on it.
        constraints: What may not be asked, and how much of what: ``autoal.Constraints(...)``. ``size`` is then the most
            that is asked.
        seed: Source of all randomness; the same seed gives the same query.

    Returns:
        The query; its indices refer to the full pool.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes disagree, an index is outside the pool, ``size`` exceeds the unlabeled samples, a name is
            unknown, an output that the strategy needs is missing, or constraints do not fit the pool or leave nothing.

    Warns:
        ShortQueryWarning: If constraints leave fewer samples than ``size``.

    ``AutoAL`` learns from its earlier queries and keeps the pool's neighbor graph: round after round, give the same
    ``autoal.AutoAL()`` object. It remembers as long as the embeddings stay the same.
    """
    chosen = resolve(strategy)
    context = Context.of(outputs, labeled, labels, n_classes=n_classes, seed=seed, inputs=inputs)
    for name in ("logits", "mc_logits"):
        if name in chosen.needs and outputs.n_classes == 1:
            raise ValueError(
                f"{name} need a column per class, got one: for a score z of the second of two classes give "
                "np.concatenate([0 * z, z], axis=-1)"
            )
    if "labels" in chosen.needs and context.labels is not None and n_classes is None and outputs.n_classes is None:
        different = len(np.unique(context.labels))
        if context.n_classes > max(FEW_CLASSES, 10 * different):
            raise ValueError(
                f"labels go up to {context.n_classes - 1} but only {different} different ones occur: map them to "
                "0..C-1, e.g. np.unique(labels, return_inverse=True)[1], or give n_classes if there are so many"
            )
    return constrained_query(chosen, context, size, constraints)
