"""``autoal.select``: the outputs of any model in, a query out. No training loop is forced on anyone here."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from autoal.strategies import Strategy, resolve
from autoal.types import Context, Outputs, Query


def select(
    outputs: Outputs,
    size: int,
    strategy: str | type[Strategy] | Strategy = "autoal",
    *,
    labeled: Any = (),
    labels: Any = None,
    n_classes: int | None = None,
    inputs: Tensor | None = None,
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
        seed: Source of all randomness; the same seed gives the same query.

    Returns:
        The query; its indices refer to the full pool.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes disagree, an index is outside the pool, ``size`` exceeds the unlabeled samples, a name is
            unknown, or an output that the strategy needs is missing.

    ``AutoAL`` learns from its earlier queries and keeps the pool's neighbor graph: round after round, give the same
    ``autoal.AutoAL()`` object. It remembers as long as the embeddings stay the same.
    """
    chosen = resolve(strategy)
    if isinstance(outputs, Outputs) and outputs.n_classes == 1:
        raise ValueError(
            "logits need a column per class, got one column: for a score z of the second of two classes "
            "give np.column_stack([0 * z, z])"
        )
    context = Context.of(outputs, labeled, labels, n_classes=n_classes, seed=seed, inputs=inputs)
    return chosen.query(context, size)
