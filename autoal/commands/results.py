"""The statistics of results as text for a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoal.commands.table import table
from autoal.experiment import formats
from autoal.experiment.summary import best_first


def print_statistics(summary: dict[str, Any], folder: Path) -> None:
    """Prints the tables, and which files are in the folder."""
    print(summary_table(summary))
    if summary["comparisons"]:
        print(f"\n{comparison_table(summary)}")
    for oracle, others in summary["regret"].items():
        rows = [[name, formats.points(others[name])] for name in best_first(summary) if name in others]
        print(f"\n{table([f'regret to {oracle}', 'AULC points'], rows)}")
    written = ", ".join(path.name for path in sorted(folder.iterdir()) if path.is_file())
    print(f"\nin {folder}: {written}")


def summary_table(summary: dict[str, Any]) -> str:
    """Strategies, best first: AULC with its standard error, of each data set too if there are several; query time."""
    by_dataset = summary["aulc_by_dataset"] if len(summary["aulc_by_dataset"]) > 1 else {}
    rows = []
    for strategy in best_first(summary):
        of_sets = [formats.percent(areas[strategy]) if strategy in areas else "" for areas in by_dataset.values()]
        seconds = f"{summary['query_seconds'][strategy]['mean']:.3f}"
        rows.append([strategy, formats.percent(summary["aulc"][strategy]), *of_sets, seconds])
    return table(["strategy", "AULC %", *by_dataset, "seconds per query"], rows)


def comparison_table(summary: dict[str, Any]) -> str:
    """The reference against each other strategy, in the order of the summary's table."""
    against = {name: summary["comparisons"][name] for name in best_first(summary) if name in summary["comparisons"]}
    rows = [
        [name, formats.points(one), formats.record(one), formats.p_value(one["p"]), formats.p_value(one["p_holm"])]
        for name, one in against.items()
    ]
    header = [f"{summary['reference']} against", "AULC points", "won / tied / lost", "p (Wilcoxon)", "p (Holm)"]
    return "\n".join([table(header, rows), *formats.too_few_pairs(against)])
