"""A query under rules: a strategy's picks are taken in order as they obey, then it is asked for what is missing."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoal.constraints.constraints import Constraints, as_constraints
from autoal.constraints.rules import Rule
from autoal.strategies.base import ScoreStrategy, Strategy
from autoal.types import Context, Query

BLOCK = 256  # picks that the rules look at together


class ShortQueryWarning(UserWarning):
    """The constraints leave fewer samples than were asked for; the message says which of them ended the query."""


def query(strategy: Strategy, context: Context, size: int, constraints: Constraints | None = None) -> Query:
    """The next samples to label, at most ``size``, best first, none that the constraints forbid.

    Where they have rules beyond what is excluded and pending, provenance tells by ``"ask"`` in which of the asks a pick
    was taken.

    Raises:
        TypeError: If a constraint has the wrong type.
        ValueError: If constraints do not fit the pool, no sample may be asked, or as ``strategy.query``.

    Warns:
        ShortQueryWarning: If the query is shorter than ``size``.
    """
    if constraints is None:
        return strategy.query(context, size)
    start = time.perf_counter()
    wanted = strategy.checked_size(context, size)
    context = as_constraints(constraints).within(context)
    size = min(wanted, len(context.unlabeled))
    if not size:
        raise ValueError("no sample may be asked: all that have no label are excluded or pending")
    rules = constraints.rules(len(context), context.outputs.embeddings, context.chosen)
    if not rules:
        _tell_if_short(size, wanted, {})
        return strategy.query(context, size)
    walk = _Walk(context.unlabeled, rules, size)
    (_rank if isinstance(strategy, ScoreStrategy) else _ask_again)(strategy, context, walk)
    taken = sum(map(len, walk.parts))
    _tell_if_short(taken, wanted, walk.ruled_out)
    return _joined(walk.parts, time.perf_counter() - start)


def random_sample(n: int, size: int, constraints: Constraints, rng: np.random.Generator) -> np.ndarray:
    """At most ``size`` of n pool indices in random order, of a pool without labels and embeddings.

    Raises:
        TypeError: If a constraint has the wrong type.
        ValueError: If constraints do not fit the pool, or no sample may be asked.

    Warns:
        ShortQueryWarning: If they are fewer than ``size``.
    """
    closed = np.concatenate([constraints.rows(name, n) for name in ("excluded", "pending")])
    order = rng.permutation(np.setdiff1d(np.arange(n), closed))
    rules = replace(constraints, min_distance=None).rules(n, None, np.empty(0, np.int64))
    taken = order[first_allowed(order, rules, size)]
    if len(taken) < size:
        rest = np.setdiff1d(order, taken)
        _tell_if_short(len(taken), size, {rule.name: int((~rule.allows(rest)).sum()) for rule in rules})
    return taken


def _tell_if_short(taken: int, size: int, ruled_out: dict[str, int]) -> None:
    """Says by which rules, and how many samples each rules out, there are fewer samples than wanted."""
    if taken == size:
        return
    reasons = ", ".join(f"{name} rules out {count:,}" for name, count in ruled_out.items() if count)
    if not taken:
        raise ValueError(f"no sample may be asked: {reasons or 'all are excluded or pending'}")
    warnings.warn(
        f"the query holds {taken} of {size} samples, as no other may be asked: "
        f"{reasons or 'all others are labeled, excluded or pending'}",
        ShortQueryWarning,
        stacklevel=4,
    )


def first_allowed(order: np.ndarray, rules: Sequence[Rule], size: int) -> np.ndarray:
    """Positions [n], at most ``size``, of what is taken of ``order`` [m] when it is gone through under the rules."""
    taken: list[int] = []
    for start in range(0, len(order), BLOCK):
        left = np.arange(start, min(start + BLOCK, len(order)))
        for rule in rules:
            left = left[rule.allows(order[left])]
        while len(left) and len(taken) < size:
            position, left = int(left[0]), left[1:]
            taken.append(position)
            for rule in rules:
                left = left[rule.take(int(order[position]), order[left])]
        if len(taken) == size:
            break
    return np.array(taken, np.int64)


@dataclass
class _Walk:
    """How far a query has come.

    Attributes:
        open: Pool indices, ascending, that may be taken as far as is known.
        rules: What they are to obey.
        size: How many are wanted.
    """

    open: np.ndarray
    rules: list[Rule]
    size: int

    def __post_init__(self) -> None:
        self.parts: list[Query] = []  # of each ask, what was taken
        self.ruled_out = {rule.name: 0 for rule in self.rules}

    @property
    def missing(self) -> int:
        return self.size - sum(map(len, self.parts))

    def narrow(self) -> None:
        """Closes what a rule forbids by now."""
        for rule in self.rules:
            before = len(self.open)
            self.open = rule.narrow(self.open)
            self.ruled_out[rule.name] += before - len(self.open)

    def take(self, strategy: Strategy, asked: Query) -> None:
        """Takes of a query what obeys the rules, in its order."""
        kept = first_allowed(asked.indices, self.rules, self.missing)
        provenance = {name: column[kept] for name, column in asked.provenance.items()}
        provenance["ask"] = np.full(len(kept), len(self.parts))
        part = replace(asked, indices=asked.indices[kept], scores=asked.scores[kept], provenance=provenance)
        if len(kept) < len(asked):
            strategy.settle(part.indices)
        self.parts.append(part)
        self.open = np.setdiff1d(self.open, part.indices, assume_unique=True)


def _rank(strategy: Strategy, context: Context, walk: _Walk) -> None:
    """Scores do not depend on the picks: the whole ranking is gone through once."""
    walk.take(strategy, strategy.query(context, len(walk.open)))
    if walk.missing:
        walk.narrow()


def _ask_again(strategy: Strategy, context: Context, walk: _Walk) -> None:
    """Asks for what is missing until nothing is, or no sample is left: each ask takes one at least."""
    while walk.missing:
        walk.narrow()
        if not len(walk.open):
            break
        pending = np.concatenate([context.pending, *(part.indices for part in walk.parts)])
        closed = np.setdiff1d(context.unchosen, np.concatenate([pending, walk.open]), assume_unique=True)
        seed = context.seed
        if walk.parts:  # the draws of an ask are not those of the last
            seed = int(context.generator(f"ask {len(walk.parts)}").integers(2**62))
        now = replace(context, pending=pending, closed=closed, seed=seed)
        room = min(rule.room(walk.open) for rule in walk.rules)
        walk.take(strategy, strategy.query(now, min(walk.missing, room)))


def _joined(parts: list[Query], seconds: float) -> Query:
    """What was taken in all asks as one query, which took so many seconds."""
    names = [name for name in parts[0].provenance if all(name in part.provenance for part in parts)]
    provenance = {name: np.concatenate([part.provenance[name] for part in parts]) for name in names}
    timings: dict[str, float] = {}
    weights: dict[str, float] = {}
    taken = sum(map(len, parts))
    for part in parts:
        for stage, spent in part.timings.items():
            timings[stage] = timings.get(stage, 0.0) + spent
        for name, weight in part.strategy_weights.items():
            weights[name] = weights.get(name, 0.0) + weight * len(part) / taken
    timings["rules"] = max(0.0, seconds - timings["total"])
    timings["total"] = seconds
    indices, scores = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "scores"))
    return Query(indices, scores, provenance, timings, weights)
