"""The report: one HTML file that says what was run, who won, who lost, and how sure that is."""

from __future__ import annotations

from autoal.experiment.config import Config
from autoal.experiment.metrics import Record
from autoal.experiment.plots import learning_curve_svgs, strategy_weights_svgs
from autoal.experiment.report import sections
from autoal.experiment.report.page import page, picture
from autoal.experiment.summary import Summary


def report(records: list[Record], summary: Summary, config: Config) -> str:
    """The page for the records of a grid; the same text for the same arguments."""
    curves = [picture(svg, f"learning curves: {name}") for name, svg in learning_curve_svgs(records, summary).items()]
    weights = [
        picture(svg, f"weights of {strategy}: {name}")
        for (name, strategy), svg in strategy_weights_svgs(records).items()
    ]
    return page(
        "Strategies of active learning, compared",
        sections.in_short(summary),
        sections.headline(summary),
        sections.win_rates(summary),
        sections.heading("Learning curves", *curves),
        sections.by_dataset(summary),
        sections.heading("What automated strategies trusted", *weights) if weights else "",
        sections.regret(summary),
        sections.times(summary, config),
        sections.what_was_run(summary, config),
        sections.how_to_read(),
    )
