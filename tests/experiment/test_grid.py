"""Grids: what is finished is kept, what is missing is run, and results are about what was asked for."""

import json

import pytest

from autoal.experiment import grid
from autoal.experiment.cells import Settings
from autoal.experiment.grid import run_grid

SMALL = Settings(initial_size=6, query_size=3, rounds=2)


@pytest.fixture
def ran(monkeypatch):
    """The cells that were computed: (data set, strategy, seed)."""
    cells = []
    original = grid.run_cell

    def run_cell(cell, *arguments, **options):
        cells.append((cell.dataset, cell.strategy, cell.seed))
        return original(cell, *arguments, **options)

    monkeypatch.setattr(grid, "run_cell", run_cell)
    return cells


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_an_interrupted_grid_goes_on(tmp_path, data, monkeypatch):
    whole = run_grid([data], ["margin", "random"], [0, 1], SMALL, tmp_path / "whole")
    original, computed = grid.run_cell, []

    def interrupted(cell, *arguments, **options):
        if len(computed) == 2:
            raise KeyboardInterrupt
        computed.append(cell.key)
        return original(cell, *arguments, **options)

    monkeypatch.setattr(grid, "run_cell", interrupted)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_grid([data], ["margin", "random"], [0, 1], SMALL, out)
    assert files(out) == ["cells"] and files(out / "cells") == sorted(f"{key}.jsonl" for key in computed)
    kept = {path.name: path.read_bytes() for path in (out / "cells").iterdir()}

    monkeypatch.setattr(grid, "run_cell", lambda cell, *a, **k: computed.append(cell.key) or original(cell, *a, **k))
    summary = run_grid([data], ["margin", "random"], [0, 1], SMALL, out)
    assert len(computed) == len(set(computed)) == 4, "each cell once"
    assert all((out / "cells" / name).read_bytes() == content for name, content in kept.items())
    for key in ("aulc", "win_rate"):
        assert summary[key] == whole[key], "interrupted or not, the results are the same"


def test_more_seeds_strategies_and_sets_extend(tmp_path, data, make_data, ran):
    run_grid([data], ["random"], [0], SMALL, tmp_path)
    run_grid([data], ["random"], [0, 1], SMALL, tmp_path)
    run_grid([data], ["random", "margin"], [0, 1], SMALL, tmp_path)
    run_grid([data, make_data("other", seed=1)], ["random", "margin"], [0], SMALL, tmp_path)
    assert ran == [
        ("small", "random", 0),
        ("small", "random", 1),
        ("small", "margin", 0),
        ("small", "margin", 1),
        ("other", "random", 0),
        ("other", "margin", 0),
    ]
    assert {(line["dataset"], line["seed"]) for line in lines(tmp_path)} == {("small", 0), ("other", 0)}


def test_other_data_under_the_same_name_are_run_anew(tmp_path, data, make_data, ran):
    run_grid([data], ["random"], [0], SMALL, tmp_path)
    run_grid([make_data("small", seed=1)], ["random"], [0], SMALL, tmp_path)
    assert len(ran) == 2


def test_the_order_of_the_results_is_that_of_the_arguments(tmp_path, data, make_data):
    other = make_data("other", seed=1)
    run_grid([data, other], ["random", "margin"], [1, 0], SMALL, tmp_path)
    order = [(line["dataset"], line["strategy"], line["seed"], line["round"]) for line in lines(tmp_path)]
    assert order == [
        (d, s, seed, t) for d in ("small", "other") for s in ("random", "margin") for seed in (1, 0) for t in range(3)
    ]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["strategies"] == ["random", "margin"] and config["seeds"] == [1, 0] and config["rounds"] == 2


def test_pictures_are_about_the_results(tmp_path, data):
    run_grid([data], ["autoal", "random"], [0], SMALL, tmp_path)
    assert "strategy_weights.png" in files(tmp_path)
    run_grid([data], ["random"], [0], SMALL, tmp_path)
    assert files(tmp_path) == [
        "cells",
        "config.json",
        "learning_curve.png",
        "metrics.jsonl",
        "report.html",
        "summary.json",
    ]


def test_faults_of_later_sets_are_told_before_the_first_is_run(tmp_path, data, make_data, ran):
    small = make_data("tiny", n=11)
    with pytest.raises(ValueError, match="12 labels exceed the pool of 'tiny', 11 samples"):
        run_grid([data, small], ["random"], [0], SMALL, tmp_path / "out")
    with pytest.raises(ValueError, match=r"model 'cnn' and data set 'small'.*images"):
        run_grid([data], ["random"], [0], Settings(6, 3, 2, model="cnn"), tmp_path / "out")
    with pytest.raises(ValueError, match="2 are called 'small'"):
        run_grid([data, data], ["random"], [0], SMALL, tmp_path / "out")
    with pytest.raises(ValueError, match="Did you mean 'random'"):
        run_grid([data], ["radom"], [0], SMALL, tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="out must be a folder"):
        run_grid([data], ["random"], [0], SMALL, tmp_path / "file")
    assert not ran and files(tmp_path) == ["file"]
