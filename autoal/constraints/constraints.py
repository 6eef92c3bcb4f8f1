"""``autoal.Constraints``: the rules as they are given, checked."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.constraints.rules import CostBudget, MinDistance, Quota, Rule
from autoal.types import Context

METRICS = ("cosine", "l2")
MOST_COMPARED = 10_000  # groups among which the one that was meant is looked for


@dataclass(frozen=True, eq=False)
class Constraints:
    """Rules that a query obeys, whatever strategy makes it; ``docs/constraints.md`` says how.

    Attributes:
        excluded: [E] int64 pool indices that are never asked. Their rows stay part of the pool, which is to be covered.
        pending: [P] int64 pool indices that are with annotators: never asked again, and for a strategy that spreads its
            picks as good as labeled.
        groups: [N] int or str, the group of each sample (its video, patient, site ...); needs ``quota``.
        quota: At most so many samples of each group in a query, or group -> at most so many (of others any number).
        min_distance: No pick is nearer than this to another pick, or to a labeled or pending sample.
        metric: Of ``min_distance``, between embeddings: "cosine" (1 - cos) or "l2".
        costs: [N] float above 0, what each sample costs; needs ``cost_budget``.
        cost_budget: The picks of a query together cost at most this.

    Raises:
        TypeError: If an attribute has the wrong type.
        ValueError: If a number is out of range, or of groups and quota, or costs and cost_budget, only one is given.
    """

    excluded: Any = None
    pending: Any = None
    groups: Any = None
    quota: int | Mapping[Any, int] | None = None
    min_distance: float | None = None
    metric: str = "cosine"
    costs: Any = None
    cost_budget: float | None = None

    def __post_init__(self) -> None:
        checks.check_choice(self.metric, "metric", METRICS)
        for one, other, what in (
            ("groups", "quota", "how many samples of a group a query may hold"),
            ("quota", "groups", "the group of each sample"),
            ("costs", "cost_budget", "what a query may cost"),
            ("cost_budget", "costs", "what each sample costs"),
        ):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise ValueError(f"{one} needs {other}: {what}")
        limits = self.quota.values() if isinstance(self.quota, Mapping) else [self.quota]
        for limit in limits if self.quota is not None else []:
            checks.as_count(limit, "quota")
        for name in ("min_distance", "cost_budget"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _positive(getattr(self, name), name))

    def within(self, context: Context) -> Context:
        """The context without what is pending or excluded.

        Raises:
            TypeError: If they are no integers.
            ValueError: If an index lies outside the pool or repeats.
        """
        pending, closed = (self.rows(name, len(context)) for name in ("pending", "excluded"))
        pending = pending[~np.isin(pending, context.labeled)]
        closed = closed[~np.isin(closed, np.concatenate([context.labeled, pending]))]
        return replace(context, pending=pending, closed=closed)

    def rows(self, name: str, n: int) -> np.ndarray:
        """[L] int64, the pool indices ``excluded`` or ``pending`` of a pool of n samples.

        Raises:
            TypeError: If they are no integers.
            ValueError: If an index lies outside the pool or repeats.
        """
        given = getattr(self, name)
        return checks.as_indices(() if given is None else given, name, n)

    def rules(self, n: int, embeddings: Tensor | None, chosen: np.ndarray) -> list[Rule]:
        """The rules for a pool of n samples with ``embeddings`` [N, D]; those ``chosen`` are labeled or pending.

        Raises:
            TypeError: If groups or costs have the wrong type.
            ValueError: If lengths differ, quota names an unknown group, a cost is not above 0 or NaN, or embeddings are
                needed and missing.
        """
        found: list[Rule] = []
        if self.groups is not None:
            names, codes = np.unique(_groups(self.groups, n), return_inverse=True)
            found.append(Quota(codes, _limits(self.quota, names)))
        if self.costs is not None:
            assert self.cost_budget is not None
            found.append(CostBudget(_costs(self.costs, n), self.cost_budget))
        if self.min_distance is not None:
            if embeddings is None:
                raise ValueError("min_distance needs embeddings: give autoal.Outputs(embeddings=...)")
            found.append(MinDistance(embeddings, self.min_distance, self.metric, chosen))
        return found


def as_constraints(value: Any) -> Constraints:
    """``value`` if it is what it should be; TypeError otherwise."""
    if not isinstance(value, Constraints):
        raise TypeError(f"constraints must be autoal.Constraints(...), got {checks.describe(value)}")
    return value


def _positive(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} must be a number above 0, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {value}")
    return float(value)


def _groups(value: Any, n: int) -> np.ndarray:
    """[N] of integers or strings."""
    if isinstance(value, (list, tuple)) and 0 < sum(isinstance(name, str) for name in value) < len(value):
        raise TypeError("groups must be all int or all str, got both: 1 and '1' would be one group")
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind == "O" and all(isinstance(name, str) for name in array.flat):
        array = array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iuU":
        raise TypeError(f"groups must be [N] int or str, the group of each sample, got {checks.describe(array)}")
    return _as_long(array, "groups", "group", n)


def _costs(value: Any, n: int) -> np.ndarray:
    """[N] float64 above 0."""
    array = value.detach().cpu() if isinstance(value, Tensor) else np.asarray(value)
    if isinstance(array, Tensor):
        array = (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    if array.ndim != 1 or array.dtype.kind not in "iuf":
        raise TypeError(f"costs must be [N] numbers above 0, got {checks.describe(array)}")
    numbers = _as_long(array, "costs", "number", n).astype(np.float64)
    wrong = np.flatnonzero(~((numbers > 0) & (numbers < np.inf)))  # NaN compares false
    if len(wrong):
        raise ValueError(f"costs must be finite numbers above 0, which fails in {checks.name_rows(wrong.tolist())}")
    return numbers


def _as_long(array: np.ndarray, name: str, what: str, n: int) -> np.ndarray:
    if len(array) != n:
        raise ValueError(f"{name} must hold one {what} for each of the {n} samples of the pool, got {len(array)}")
    return array


def _limits(quota: Any, names: np.ndarray) -> np.ndarray:
    """[G] int64, of each group ``names`` [G] how many samples a query may hold."""
    if not isinstance(quota, Mapping):
        return np.full(len(names), int(quota), np.int64)
    number = {name: i for i, name in enumerate(names.tolist())}
    limits = np.full(len(names), np.iinfo(np.int64).max)
    for name, limit in quota.items():
        if name not in number:
            near = difflib.get_close_matches(str(name), map(str, list(number)[:MOST_COMPARED]), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f", such as {next(iter(number), None)!r}"
            raise ValueError(f"quota names the group {name!r}, but groups hold no such one{hint}")
        limits[number[name]] = int(limit)
    return limits
