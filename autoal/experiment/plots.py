"""Pictures that a person can read: learning curves with error bands, strategy weights over rounds."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from autoal.experiment.metrics import Record, task_of
from autoal.strategies import STRATEGIES

# Okabe and Ito's palette and Tol's, safe for color-blind readers; AutoAL and random stand apart.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#332288", "#AA4499", "#44AA99")
SPECIAL = {"autoal": "#000000", "random": "#999999"}
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
PANEL = (8.2, 4.6)  # inches
COLUMNS = 3  # panels side by side
DPI = 130


def learning_curve(records: list[Record], summary: dict[str, Any], path: Path) -> None:
    """A picture of the learning curves, a panel per task."""
    panels = _by_task(records)
    figure, axes = _panels(len(panels))
    for (name, rows), panel in zip(panels.items(), axes, strict=True):
        draw_curves(panel, name, rows, summary["aulc_by_dataset"][name])
    _save(figure, path)


def strategy_weights(records: list[Record], path: Path) -> None:
    """A picture of the weights of automated strategies, a panel per task and strategy."""
    panels = weighted(records)
    figure, axes = _panels(len(panels))
    for ((name, strategy), rows), panel in zip(panels.items(), axes, strict=True):
        draw_weights(panel, name, strategy, rows)
    _save(figure, path)


def learning_curve_svgs(records: list[Record], summary: dict[str, Any]) -> dict[str, str]:
    """An SVG of the learning curves of each task."""
    drawn = {}
    for name, rows in _by_task(records).items():
        figure, (axes,) = _panels(1)
        draw_curves(axes, name, rows, summary["aulc_by_dataset"][name])
        drawn[name] = _svg(figure)
    return drawn


def strategy_weights_svgs(records: list[Record]) -> dict[tuple[str, str], str]:
    """An SVG of the weights in each task and automated strategy."""
    drawn = {}
    for (name, strategy), rows in weighted(records).items():
        figure, (axes,) = _panels(1)
        draw_weights(axes, name, strategy, rows)
        drawn[name, strategy] = _svg(figure)
    return drawn


def draw_curves(axes: Any, name: str, rows: list[Record], areas: dict[str, Any]) -> None:
    """Mean test accuracy against labels in one task; bands are standard errors, AULC in the legend."""
    strategies = _distinct(rows, "strategy")
    style = _styles(strategies)
    for strategy in sorted(strategies, key=lambda s: -areas[s]["mean"]):
        x, y = _curves([r for r in rows if r["strategy"] == strategy], "accuracy")
        mean, width = 100 * y.mean(axis=0), 2.4 if strategy == "autoal" else 1.4
        area = areas[strategy]
        error = "" if area["sem"] is None else f" ± {100 * area['sem']:.1f}"
        label = f"{_plain(strategy)}  {100 * area['mean']:.1f}{error}"
        axes.plot(x, mean, label=label, linewidth=width, zorder=3 if strategy == "autoal" else 2, **style[strategy])
        if len(y) > 1:
            band = 100 * y.std(axis=0, ddof=1) / np.sqrt(len(y))
            axes.fill_between(x, mean - band, mean + band, color=style[strategy]["color"], alpha=0.13, linewidth=0)
    seeds = len({r["seed"] for r in rows})
    axes.set_title(f"{_plain(name)}  ({seeds} seed{'s' if seeds > 1 else ''})", loc="left")
    axes.set_xlabel("labels")
    axes.set_ylabel("test accuracy, %")
    _tidy(axes, legend="strategy, AULC %")


def draw_weights(axes: Any, name: str, strategy: str, rows: list[Record]) -> None:
    """An automated strategy's weight of each candidate over the rounds in one task, mean over seeds."""
    candidates = list(rows[0]["strategy_weights"])
    style = _styles(candidates)
    for candidate in candidates:
        flat = [{**r, "weight": r["strategy_weights"].get(candidate, 0.0)} for r in rows]
        x, y = _curves(flat, "weight", x="round")
        look = {"linewidth": 1.6, "marker": "o", "markersize": 3, **style[candidate]}
        axes.plot(x, y.mean(axis=0), label=_plain(candidate), clip_on=False, **look)  # a weight of 0 lies on the axis
    axes.axhline(1 / len(candidates), color="#BBBBBB", linewidth=0.8, zorder=0)
    axes.set_title(f"{_plain(name)}: what {_plain(strategy)} trusts", loc="left")
    axes.set_xlabel("round")
    axes.set_ylabel("weight (gray: all alike)")
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _tidy(axes, legend="candidate")


def weighted(records: list[Record]) -> dict[tuple[str, str], list[Record]]:
    """The records with strategy weights, by task and strategy."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if "strategy_weights" in record:
            groups.setdefault((task_of(record), record["strategy"]), []).append(record)
    return groups


def _by_task(records: list[Record]) -> dict[str, list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(task_of(record), []).append(record)
    return groups


def _curves(rows: list[Record], key: str, x: str = "labeled") -> tuple[np.ndarray, np.ndarray]:
    """x [R] and values [seeds, R] of the rows of one strategy."""
    seeds = sorted({r["seed"] for r in rows})
    rounds = sorted({r["round"] for r in rows})
    table = {(r["seed"], r["round"]): r for r in rows}
    positions = np.array([table[seeds[0], t][x] for t in rounds])
    return positions, np.array([[table[s, t][key] for t in rounds] for s in seeds])


def _styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """Color and dashes of each name; a strategy looks the same in every picture."""
    others = [name for name in dict.fromkeys([*STRATEGIES, *names]) if name not in SPECIAL]
    styles: dict[str, dict[str, Any]] = {
        name: {
            "color": COLORS[i % len(COLORS)],
            "linestyle": DASHES[(i % len(COLORS) // 3 + i // len(COLORS)) % len(DASHES)],
        }
        for i, name in enumerate(others)
    }
    return styles | {name: {"color": color, "linestyle": "-"} for name, color in SPECIAL.items() if name in names}


def _distinct(records: list[Record], key: str) -> list[str]:
    return list(dict.fromkeys(record[key] for record in records))


def _panels(count: int) -> tuple[Figure, list[Any]]:
    """A figure and its ``count`` axes, row by row."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, panel + 1) for panel in range(count)]


def _tidy(axes: Any, *, legend: str) -> None:
    """Quiet axes, and the legend beside them, where no curve can run into it."""
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.0, 0.5)}
    axes.legend(title=legend, fontsize=8, title_fontsize=8, alignment="left", frameon=False, **place)
    axes.grid(color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(name: str) -> str:
    """A name as text: no formula between dollars, and no leading underscore, which would hide it from the legend."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure).print_figure(str(path), dpi=DPI, format="png")


def _svg(figure: Figure) -> str:
    """The figure as SVG, the same text for the same figure: no date, no random names."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "autoal"}):
        FigureCanvasSVG(figure).print_figure(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
