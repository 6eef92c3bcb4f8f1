"""Draws the result files of a folder: how many times longer the peers took than ours, a panel per selection op."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

OPS = ("kcenter_greedy", "kmeanspp", "gradient_kmeanspp", "coverage_greedy")
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def draw(axes: Any, report: dict[str, Any]) -> None:
    """One op: cases along y, a mark per peer at its ratio."""
    cases = list(dict.fromkeys(row["case"] for row in report["rows"]))
    peers = list(dict.fromkeys(row["who"] for row in report["rows"] if row["who"] != "autoal"))
    for peer, color in zip(peers, COLORS, strict=False):
        rows = [row for row in report["rows"] if row["who"] == peer]
        positions = [cases.index(row["case"]) for row in rows]
        axes.plot([row["ratio"] for row in rows], positions, "o", color=color, label=peer, markersize=5)
    axes.axvline(1, color="#000000", linewidth=1.2)
    axes.set_xscale("log")
    axes.set_yticks(range(len(cases)), [case.split(", k=")[0] for case in cases], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("time of the peer / time of autoal")
    axes.set_title(f"{report['benchmark']}, k={cases[0].split(', k=')[1]}", loc="left")
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def main() -> None:
    """Reads the folder, writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with the JSON files of the benchmarks")
    parser.add_argument("out", type=Path, help="PNG file")
    options = parser.parse_args()
    figure = Figure(figsize=(9.0, 10.0), layout="constrained")
    for panel, name in enumerate(OPS):
        report = json.loads((options.folder / f"{name}.json").read_text())
        draw(figure.add_subplot(len(OPS), 1, panel + 1), report)
    FigureCanvasAgg(figure).print_figure(str(options.out), dpi=110, format="png")


if __name__ == "__main__":
    main()
