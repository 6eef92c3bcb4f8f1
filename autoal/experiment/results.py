"""The folder of results: records, what was run, the summary, pictures and the report."""

from __future__ import annotations

import json
from pathlib import Path

from autoal import files
from autoal.experiment import plots
from autoal.experiment.config import Config
from autoal.experiment.metrics import Record
from autoal.experiment.report import report
from autoal.experiment.summary import Summary, summary_of

MEASURED = ("jobs", "threads")  # kept with the cells' seconds and told once: nothing else depends on them


def write(folder: Path, records: list[Record], config: Config, reference: str | None) -> Summary:
    """Writes the files, each whole or not at all; gives the summary."""
    ways = {tuple(record[name] for name in MEASURED) for record in records if MEASURED[0] in record}
    config = {"measured": [dict(zip(MEASURED, way, strict=True)) for way in sorted(ways)], **config}
    records = [{key: value for key, value in record.items() if key not in MEASURED} for record in records]
    summary = summary_of(records, reference)
    files.atomic_write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    files.atomic_write_text(folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    files.atomic_write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    files.atomic_write_text(folder / "report.html", report(records, summary, config))
    files.atomic_write(folder / "learning_curve.png", lambda path: plots.learning_curve(records, summary, path))
    weights = folder / "strategy_weights.png"
    if any("strategy_weights" in record for record in records):
        files.atomic_write(weights, lambda path: plots.strategy_weights(records, path))
    else:
        weights.unlink(missing_ok=True)  # of an earlier command, about runs that are not among these results
    return summary
