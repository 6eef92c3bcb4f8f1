"""What ``summary.json`` holds: figures of each strategy, and the reference against the others."""

from __future__ import annotations

from typing import Any

from autoal.experiment import statistics
from autoal.experiment.metrics import Record, aulc, by_task, over_tasks, seconds, summarize, task_of
from autoal.strategies import ORACLES

Summary = dict[str, Any]


def summary_of(records: list[Record], reference: str | None = None) -> Summary:
    """All statistics of the records of a grid, or of several.

    Args:
        records: Those of whole runs.
        reference: The strategy the others are tested against; by default "autoal", else the first.
    """
    areas, balanced = aulc(records), aulc(records, "balanced_accuracy")
    strategies = list(dict.fromkeys(record["strategy"] for record in records))
    statistics.check_reference(reference, strategies)
    reference = reference or statistics.reference_of(strategies)
    gaps = {} if reference is None else statistics.differences(areas, reference)
    oracles = [name for name in strategies if name in ORACLES]
    return {
        **summarize(records),
        "balanced_aulc": {s: over_tasks(balanced, s) for s in strategies},
        "balanced_aulc_by_dataset": by_task(balanced),
        "fit_seconds": {s: seconds(records, s, "fit_seconds") for s in strategies},
        "reference": reference,
        "comparisons": {} if reference is None else statistics.compare(areas, reference),
        "differences_by_dataset": by_task(gaps),
        "average_rank": statistics.average_ranks(areas),
        "regret": {oracle: statistics.regrets(areas, oracle) for oracle in oracles},
        "datasets": {
            task_of(record): {"dataset": record["dataset"], "condition": record.get("condition", "")}
            for record in records
        },
    }


def best_first(summary: Summary) -> list[str]:
    """Strategies by AULC; those that lack a data set come last, for their mean is of other things."""
    areas, sets = summary["aulc"], summary["aulc_by_dataset"].values()
    return sorted(areas, key=lambda name: (sum(name not in of_set for of_set in sets), -areas[name]["mean"]))
