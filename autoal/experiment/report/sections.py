"""The parts of the report that are text and tables."""

from __future__ import annotations

from typing import Any

from autoal.experiment import formats
from autoal.experiment.formats import listed
from autoal.experiment.report.page import Markup, element, paragraph, table
from autoal.experiment.statistics import SIGNIFICANT
from autoal.experiment.summary import Summary, best_first
from autoal.strategies import ORACLES

BETTER, WORSE = "0,114,178", "213,94,0"  # blue and vermilion, told apart by color-blind readers
NOTHING = element("td", "-")


def number(shown: str, value: float, **attributes: str) -> Markup:
    """A table cell that is sorted by its value."""
    return element("td", shown, data_value=repr(float(value)), **attributes)


def area(one: dict[str, Any]) -> Markup:
    """A cell with an AULC."""
    return number(formats.percent(one), one["mean"])


def gap(one: dict[str, Any] | None) -> Markup:
    """A cell with a difference, in blue or vermilion by its sign; a dash for None."""
    if one is None:
        return NOTHING
    color = BETTER if one["mean"] > 0 else WORSE
    return number(formats.points(one), one["mean"], style=f"color: rgb({color})")


def rate(share: float | None) -> Markup:
    """A cell with a win rate, the bluer the more often won, the redder the more often lost."""
    if share is None:
        return NOTHING
    color, depth = (BETTER if share > 0.5 else WORSE), 1.1 * abs(share - 0.5)
    return number(f"{100 * share:.0f}", share, style=f"background: rgba({color},{depth:.2f})")


def heading(words: str, *content: object) -> Markup:
    """A section: its heading, then what it holds."""
    return element("section", element("h2", words), *content)


def in_short(summary: Summary) -> Markup:
    """Sentences: whom the reference beats, who beats it, what is open; losses as plainly as wins."""
    reference, against = summary["reference"], summary["comparisons"]
    if not against:
        return paragraph("Nothing to test: that takes two strategies that ran on the same data set and seed.")
    decided = {name: one for name, one in against.items() if one["p_holm"] is not None and one["p_holm"] < SIGNIFICANT}
    below = [
        f"{other} ({formats.points(one)} points on {name})"
        for name, others in summary["differences_by_dataset"].items()
        for other, one in others.items()
        if one["mean"] < 0 and other not in ORACLES
    ]
    lost, pairs = (sum(one[part] for one in against.values()) for part in ("losses", "pairs"))
    sentences = [
        f"Better than: {listed(name for name, one in decided.items() if one['mean'] > 0)}.",
        f"Worse than: {listed(name for name, one in decided.items() if one['mean'] <= 0)}.",
        f"Not told apart from: {listed(name for name in against if name not in decided)}.",
        f"Lost {lost} of {pairs} paired runs. Its mean is below that of: {listed(below)}.",
    ]
    note = f"Better and worse: p < {SIGNIFICANT:g} by Wilcoxon's signed-rank test with Holm's correction."
    points = element("ul", *[element("li", sentence) for sentence in sentences])
    return heading(f"In short: {reference} against the others", points, paragraph(note, note=True))


def headline(summary: Summary) -> Markup:
    """One row per strategy, best first."""
    reference, rows, notes = summary["reference"], [], formats.too_few_pairs(summary["comparisons"])
    for name in best_first(summary):
        rank, against = summary["average_rank"].get(name), summary["comparisons"].get(name)
        row: list[object] = [name, area(summary["aulc"][name]), area(summary["balanced_aulc"][name])]
        row.append(NOTHING if rank is None else number(f"{rank['mean']:.2f}", rank["mean"]))
        row.append(gap(against))
        if against is None:
            row += [NOTHING, NOTHING, NOTHING]
        else:
            p = against["p_holm"]
            row += [number(formats.record(against), against["win_rate"]), rate(against["win_rate"])]
            row.append(NOTHING if p is None else number(formats.p_value(p), p))
        median = summary["query_seconds"][name]["median"]
        rows.append([*row, number(formats.seconds(median), median)])
    oracles = [name for name in summary["aulc"] if name in ORACLES]
    if oracles:
        notes.append(f"{listed(oracles)} knows the true labels: a measure for the others, no competitor.")
    sets = summary["aulc_by_dataset"].values()
    partial = [name for name in summary["aulc"] if any(name not in of_set for of_set in sets)]
    if partial:
        notes.append(f"Not run on all data sets, so that their means are of other things: {listed(partial)}.")
    header = ["strategy", "AULC %", "of balanced accuracy", "mean rank", f"{reference} minus it, points"]
    header += [f"{reference} won / tied / lost", f"win rate of {reference}, %", "p (Holm)", "seconds per query, median"]
    remarks = [paragraph(note, note=True) for note in notes]
    return heading("All strategies, best first", table(header, rows, sortable=True, marked=reference), *remarks)


def win_rates(summary: Summary) -> Markup:
    """The matrix of win rates as a heat map."""
    order, rates = best_first(summary), summary["win_rate"]
    rows = [[one, *[NOTHING if one == other else rate(rates[one][other]) for other in order]] for one in order]
    note = (
        "Percent of the paired runs in which the row's strategy had a higher AULC than the column's; ties count half."
    )
    return heading("Win rates", paragraph(note, note=True), table(["", *order], rows))


def by_dataset(summary: Summary) -> Markup:
    """AULC of each strategy on each data set, and the reference's difference there."""
    reference, parts = summary["reference"], []
    for name, areas in summary["aulc_by_dataset"].items():
        gaps, balanced = summary["differences_by_dataset"].get(name, {}), summary["balanced_aulc_by_dataset"][name]
        rows = [
            [strategy, area(areas[strategy]), area(balanced[strategy]), gap(gaps.get(strategy))]
            for strategy in sorted(areas, key=lambda strategy: -areas[strategy]["mean"])
        ]
        header = ["strategy", "AULC %", "of balanced accuracy", f"{reference} minus it, points"]
        parts += [element("h3", name), table(header, rows, sortable=True, marked=reference)]
    return heading("By data set", *parts)


def regret(summary: Summary) -> Markup:
    """What the strategies lose to an oracle, where one ran."""
    names, parts = list(summary["aulc_by_dataset"]), []
    for oracle, others in summary["regret"].items():
        rows = [
            [other, gap(one), *[gap(one["by_dataset"].get(name)) for name in names]]
            for other, one in sorted(others.items(), key=lambda item: item[1]["mean"])
        ]
        note = (
            f"AULC of {oracle} minus the strategy's. {oracle} is the best of its candidates in one round, not over "
            "many: regret may be negative."
        )
        header = ["strategy", "all", *names]
        parts.append(
            heading(f"Regret to {oracle}, points", paragraph(note, note=True), table(header, rows, sortable=True))
        )
    return element("div", *parts)


def times(summary: Summary, config: dict[str, Any]) -> Markup:
    """Seconds of queries and fits, the fastest first."""
    rows = []
    for name in sorted(summary["query_seconds"], key=lambda strategy: summary["query_seconds"][strategy]["median"]):
        query, fit = summary["query_seconds"][name], summary["fit_seconds"][name]
        values = query["median"], query["mean"], fit["median"], fit["mean"]
        rows.append([name, *[number(formats.seconds(value), value) for value in values]])
    note = (
        f"Measured with {formats.measured(config)}. Runs at the same time share the machine's caches and memory: "
        "with more than one, these are the seconds of a thread under load."
    )
    header = ["strategy", "query, median", "query, mean", "fit, median", "fit, mean"]
    return heading("Seconds", paragraph(note, note=True), table(header, rows, sortable=True))


def what_was_run(summary: Summary, config: dict[str, Any]) -> Markup:
    """Settings, data sets and versions."""
    pairs = {
        "strategies": listed(config["strategies"]),
        "seeds": numbers(config["seeds"]),
        "conditions": listed(label or "the pool as it is" for label in config.get("conditions", [""])),
        "labels": f"{config['initial_size']} first, then {config['rounds']} rounds of {config['query_size']}",
        "task model": f"{config['model']} on {config['device']}",
        "autoal": listed(f"{name} {config[name]}" for name in ("variant", "search", "candidates") if config.get(name))
        if "autoal" in config["strategies"]
        else None,
        "measured with": formats.measured(config),
        "versions": listed(f"{name} {config[name]}" for name in ("autoal", "torch", "numpy") if config.get(name)),
        "CPU": f"{config['cpu']}, {config['cores']} cores" if "cores" in config else None,
    }
    settings = [[name, element("td", value, class_="text")] for name, value in pairs.items() if value is not None]
    sets = [
        [name, *[one.get(part, "") for part in ("pool", "test", "classes")]]
        + [element("td", one.get(part, ""), class_="text") for part in ("features", "source")]
        for name, one in config["datasets"].items()
    ]
    header = ["data set", "pool", "test", "classes", "features", "from"]
    return heading("What was run", table(["", ""], settings), table(header, sets))


def numbers(seeds: list[int]) -> str:
    """``5 (0 to 4)``, or each of them."""
    if sorted(seeds) == list(range(min(seeds), max(seeds) + 1)):
        return f"{len(seeds)} ({min(seeds)} to {max(seeds)})"
    return listed(map(str, seeds))


def how_to_read() -> Markup:
    """What the words mean."""
    meanings = {
        "AULC": "area under the learning curve, the mean test accuracy over the rounds after round 0; where there are "
        "several data sets, the mean over them. ± is one standard error, over the seeds.",
        "paired": "strategies of one seed meet the same pool, the same first labels and the same task model, and are "
        "compared run by run.",
        "p": "of Wilcoxon's signed-rank test over all (data set, seed) pairs: two-sided, exact, pairs without a "
        "difference left out; then corrected by Holm for all comparisons with the reference. It speaks of these data "
        "sets, not of others.",
        "mean rank": "by AULC, 1 is best; over the seeds, then over the data sets.",
        "labels": "C is the number of classes.",
    }
    lines = [element("li", element("b", word), ": ", meaning) for word, meaning in meanings.items()]
    return heading("How to read this", element("ul", *lines))
