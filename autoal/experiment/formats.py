"""Figures as people read them, on a terminal and in a report."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from autoal.experiment.statistics import LEAST_PAIRS, SIGNIFICANT


def percent(area: dict[str, Any]) -> str:
    """``93.60 ± 0.20``; without an error where there is one seed."""
    return f"{100 * area['mean']:.2f}{error(area)}"


def points(difference: dict[str, Any]) -> str:
    """``+1.60 ± 0.20``, a difference in points."""
    return f"{100 * difference['mean']:+.2f}{error(difference)}"


def error(value: dict[str, Any]) -> str:
    """`` ± 0.20``, or nothing where there is no standard error."""
    return "" if value["sem"] is None else f" ± {100 * value['sem']:.2f}"


def record(standing: dict[str, Any]) -> str:
    """``9 / 0 / 1``: won, tied, lost."""
    return f"{standing['wins']} / {standing['ties']} / {standing['losses']}"


def p_value(p: float | None) -> str:
    """A p-value in two digits; a dash where there is none."""
    return "-" if p is None else f"{p:.2g}" if p >= 0.0001 else "< 0.0001"


def too_few_pairs(comparisons: dict[str, dict[str, Any]]) -> list[str]:
    """Sentences on what so few pairs could not show, whatever they said."""
    differing = {name: one["wins"] + one["losses"] for name, one in comparisons.items()}
    untested = [f"{name} ({differing[name]})" for name, one in comparisons.items() if one["p"] is None]
    sentences = []
    if untested:
        why = f"No p-value where fewer than {LEAST_PAIRS} pairs differ, for none could be below {SIGNIFICANT:g}"
        sentences.append(f"{why}: {listed(untested)}.")
    most = max(differing.values(), default=0)
    if len(untested) < len(comparisons) and len(comparisons) * 2.0 ** (1 - most) >= SIGNIFICANT:
        why = f"{most} pairs, {len(comparisons)} comparisons"
        sentences.append(f"{why}: no corrected p-value could be below {SIGNIFICANT:g}; more seeds are needed.")
    return sentences


def seconds(value: float) -> str:
    """Seconds in two digits or more."""
    return f"{value:.2g}" if value < 1 else f"{value:.2f}"


def listed(names: Iterable[str]) -> str:
    """``a, b, c``, or ``none``."""
    return ", ".join(names) or "none"


def measured(config: dict[str, Any]) -> str:
    """With how many jobs and threads the seconds were measured."""
    ways = [
        f"{one['jobs']} run{'s' if one['jobs'] > 1 else ''} at a time of {one['threads']} "
        f"thread{'s' if one['threads'] > 1 else ''} each"
        for one in config.get("measured", [])
    ]
    return listed(ways) if ways else "an unknown number of threads"
