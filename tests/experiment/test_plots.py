"""Pictures: what is drawn is what was measured, and it can be told apart."""

import struct

import numpy as np
import pytest
from records import make_records as records

from autoal.experiment import plots
from autoal.experiment.metrics import summarize
from autoal.strategies import STRATEGIES


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are about to be saved."""
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    return figures


def line_of(axes, name):
    (line,) = [line for line in axes.lines if line.get_label().split()[0] == name]
    return line


def test_curves_are_means_and_the_legend_says_aulc(drawn, tmp_path):
    rows = records(["margin", "autoal", "random"])
    summary = summarize(rows)
    plots.learning_curve(rows, summary, tmp_path)
    (axes,) = drawn[0].axes
    for strategy in ("margin", "autoal", "random"):
        curves = [[r["accuracy"] for r in rows if r["strategy"] == strategy and r["seed"] == s] for s in (0, 1)]
        line = line_of(axes, strategy)
        assert line.get_xdata().tolist() == [10, 20, 30, 40]
        assert line.get_ydata() == pytest.approx(100 * np.mean(curves, axis=0))
        area = summary["aulc"][strategy]
        assert line.get_label() == f"{strategy}  {100 * area['mean']:.1f} ± {100 * area['sem']:.1f}"
        band = next(b for b, other in zip(axes.collections, axes.lines, strict=True) if other is line)
        edges = band.get_paths()[0].vertices[:, 1]
        width = 100 * np.abs(np.diff(curves, axis=0)[0]) / 2  # the standard error of two values
        assert edges.max() == pytest.approx((line.get_ydata() + width).max())
        assert edges.min() == pytest.approx((line.get_ydata() - width).min())
    shown = [text.get_text().split()[0] for text in axes.get_legend().get_texts()]
    assert shown == sorted(shown, key=lambda s: -summary["aulc"][s]["mean"]), "best first"


def test_one_seed_has_no_band(drawn, tmp_path):
    rows = records(["random"], seeds=(0,))
    plots.learning_curve(rows, summarize(rows), tmp_path)
    (axes,) = drawn[0].axes
    assert (
        not axes.collections and "±" not in line_of(axes, "random").get_label() and "1 seed)" in axes.get_title("left")
    )


def test_a_panel_per_data_set_in_rows(drawn, tmp_path):
    rows = records(["autoal", "random"], datasets=("a", "b", "c", "d", "e"))
    plots.learning_curve(rows, summarize(rows), tmp_path)
    plots.strategy_weights(rows, tmp_path)
    for figure in drawn:
        assert [axes.get_title("left")[0] for axes in figure.axes] == ["a", "b", "c", "d", "e"]
        assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)


def test_all_strategies_look_different_and_alike_in_every_picture(drawn, tmp_path):
    def look(axes, name):
        line = line_of(axes, name)
        return line.get_color(), str(line._unscaled_dash_pattern)

    rows = records(list(STRATEGIES))
    plots.learning_curve(rows, summarize(rows), tmp_path)
    few = records(["random", "bald", "margin", "autoal"])
    plots.learning_curve(few, summarize(few), tmp_path)
    plots.strategy_weights(few, tmp_path)
    everything, some, weights = (figure.axes[0] for figure in drawn)
    assert len({look(everything, name) for name in STRATEGIES}) == len(STRATEGIES)
    for name in ("bald", "margin"):
        assert look(everything, name) == look(some, name) == look(weights, name)


def test_weights_are_means_over_seeds(drawn, tmp_path):
    rows = records(["autoal"])
    for row in rows:
        if "strategy_weights" in row and row["seed"] == 1:
            row["strategy_weights"] = {"margin": 0.75, "bald": 0.25}
    plots.strategy_weights(rows, tmp_path)
    (axes,) = drawn[0].axes
    assert line_of(axes, "margin").get_xdata().tolist() == [1, 2, 3]
    assert line_of(axes, "margin").get_ydata().tolist() == [0.5, 0.5, 0.5]


def test_each_automated_strategy_has_a_panel_of_its_weights(drawn, tmp_path):
    rows = records(["autoal"])
    for row in [row for row in rows if "strategy_weights" in row]:
        rows.append({**row, "strategy": "tailor", "strategy_weights": {"entropy": 0.9, "bald": 0.1}})
    plots.strategy_weights(rows, tmp_path)
    titles = [axes.get_title("left") for axes in drawn[0].axes]
    assert [title.split("what ")[1] for title in titles] == ["autoal trusts", "tailor trusts"]
    assert line_of(drawn[0].axes[1], "entropy").get_ydata().tolist() == [0.9, 0.9, 0.9]


def test_files_are_png_of_a_readable_size(tmp_path):
    rows = records(list(STRATEGIES))
    plots.learning_curve(rows, summarize(rows), tmp_path / "curve")
    plots.strategy_weights(rows, tmp_path / "weights")
    for name in ("curve", "weights"):
        content = (tmp_path / name).read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"
        width, height = struct.unpack(">II", content[16:24])
        assert 800 <= width <= 2000 and 500 <= height <= 1200
