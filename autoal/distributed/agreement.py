"""What all ranks must know before they begin: that they ask for the same, and whether one of them cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from autoal.distributed.ranks import Ranks

Facts = dict[str, Any]
Kept = TypeVar("Kept")


def agree(ranks: Ranks, op: str, find: Callable[[], tuple[Facts, Facts, Kept]]) -> tuple[list[Facts], Kept]:
    """Shares what ``find()`` gives: facts that must be alike on all ranks, and facts of this rank's own.

    Returns:
        The own facts of every rank; and the third of what ``find`` gives, which is not shared.

    Raises:
        TypeError, ValueError: Whatever ``find`` raises here.
        ValueError: If it raised on another rank, or the ranks differ; the same on all ranks.
    """
    what = f"all to begin with {op}"
    try:
        alike, own, kept = find()
    except (TypeError, ValueError) as error:  # the others are waiting to be told
        ranks.share({"op": op, "error": str(error), "alike": {}, "own": {}}, what)
        raise
    told = ranks.share({"op": op, "error": "", "alike": alike, "own": own}, what)
    raise_any(told)
    compare([{"op": each["op"], **each["alike"]} for each in told])
    return [each["own"] for each in told], kept


def raise_any(told: list[Facts]) -> None:
    """Raises the first ``error`` that a rank told, with the rank's number."""
    for rank, each in enumerate(told):
        if each["error"]:
            raise ValueError(f"rank {rank}: {each['error']}")


def compare(facts: list[Facts]) -> None:
    """Raises a ValueError naming the first fact in which ranks differ, and who says what."""
    for name in facts[0]:
        values = [each.get(name) for each in facts]
        other = next((rank for rank, value in enumerate(values) if value != values[0]), None)
        if other is not None:
            raise ValueError(
                f"{name} must be the same on all ranks; rank 0 has {values[0]!r}, rank {other} has {values[other]!r}"
            )
