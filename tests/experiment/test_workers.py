"""Worker processes: the same results, everything stops on demand, a death is told, users' classes are found."""

import json
import os
import signal
import textwrap

import numpy as np
import pytest

from autoal.experiment import grid, messages, workers
from autoal.experiment.cells import Cell, Settings, fingerprint
from autoal.experiment.conditions import Condition
from autoal.experiment.grid import run_grid
from autoal.strategies import ScoreStrategy

SMALL = Settings(initial_size=6, query_size=3, rounds=2)
SECONDS = ("query_seconds", "fit_seconds")

OWN = """
import os, signal, warnings
from autoal.strategies import ScoreStrategy

class First(ScoreStrategy):
    name = "first"
    def score(self, context):
        warnings.warn("first come, first served")
        return -context.outputs.logits[:, 0].cumsum(0).argsort().double()

class Dies(First):
    name = "dies"
    def score(self, context):
        os.kill(os.getpid(), signal.SIGKILL)

class Fails(First):
    name = "fails"
    def score(self, context):
        raise LookupError("nothing there")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of a user's strategies."""
    (tmp_path / "own_strategies.py").write_text(textwrap.dedent(OWN))
    monkeypatch.syspath_prepend(tmp_path)
    return __import__("own_strategies")


def untimed(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{key: value for key, value in line.items() if key not in SECONDS} for line in lines]


def test_results_are_those_of_one_process(tmp_path, data, make_data, own):
    sets, strategies = [data, make_data("other", seed=1)], ["autoal", own.First]
    for name, jobs in (("one", 1), ("two", 2)):
        with pytest.warns(UserWarning, match="first come"):
            run_grid(sets, strategies, [3], SMALL, tmp_path / name, condition=Condition(label_noise=0.1), jobs=jobs)
    assert untimed(tmp_path / "one") == untimed(tmp_path / "two")
    cells = [sorted(path.name for path in (tmp_path / name / "cells").iterdir()) for name in ("one", "two")]
    assert cells[0] == cells[1] and len(cells[0]) == 4
    assert json.loads((tmp_path / "two" / "config.json").read_text())["measured"] == [{"jobs": 2, "threads": 1}]


def test_a_worker_that_dies_is_told_and_the_rest_is_kept(tmp_path, data, own):
    with pytest.raises(RuntimeError, match=r"small, dies, seed 0: the worker process was ended by signal 9 .*memory"):
        run_grid([data], ["random", "margin", "entropy", own.Dies], [0], SMALL, tmp_path / "out", jobs=2)
    cells = [Cell("small", fingerprint(data), name, 0, SMALL) for name in ("random", "margin", "entropy")]
    kept = [cell for cell in cells if cell.load(tmp_path / "out")]
    assert len(kept) >= 2 and len(kept) == len(list((tmp_path / "out" / "cells").iterdir()))


def test_what_a_strategy_raises_names_the_cell(tmp_path, data, own):
    for jobs in (1, 2):
        with pytest.raises(RuntimeError, match="small, fails, seed 0: LookupError: nothing there") as caught:
            run_grid([data], [own.Fails], [0], SMALL, tmp_path / "out", jobs=jobs)
        assert "nothing there" in str(caught.value.__cause__)


def test_an_interrupt_ends_all_workers_and_keeps_finished_cells(tmp_path, data, monkeypatch):
    started, cells = [], []
    start, save = workers.start, Cell.save
    monkeypatch.setattr(workers, "start", lambda folder: started.append((start(folder), folder)) or started[-1][0])

    def interrupted(cell, folder, records):
        save(cell, folder, records)
        cells.append(cell.key)
        if len(cells) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Cell, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_grid([data], ["random"], range(200), SMALL, tmp_path, jobs=2)
    assert all(process.poll() is not None for (process, _), _ in started) and len(started) == 2
    assert not any(folder.exists() for _, folder in started), "the data for the workers are gone"
    assert sorted(path.stem for path in (tmp_path / "cells").iterdir()) == sorted(cells)


def test_workers_leave_when_nobody_is_there_any_more(tmp_path):
    (tmp_path / "data" / "0").mkdir(parents=True)
    process, connection = workers.start(tmp_path / "data")
    connection.close()
    assert process.wait(timeout=60) == 0 and not (tmp_path / "data").exists(), "nor do they leave anything behind"


def test_classes_that_no_worker_could_import_are_refused_before_anything_runs(tmp_path, data, monkeypatch):
    class Local(ScoreStrategy):
        name = "local"

        def score(self, context):
            return context.outputs.logits[:, 0]

    with pytest.raises(ValueError, match=r"Local cannot be imported by worker processes.*jobs=1"):
        run_grid([data], [Local], [0], SMALL, tmp_path / "out", jobs=2)
    assert not (tmp_path / "out").exists()
    assert set(run_grid([data], [Local, "random"], [0], SMALL, tmp_path / "out")["aulc"]) == {"local", "random"}
    monkeypatch.setattr("inspect.getsource", lambda cls: "source")
    Local.__qualname__ = "Local"
    for module, reason in (("__main__", "script that is running"), ("no_such_module", "no module 'no_such_module'")):
        Local.__module__ = module
        with pytest.raises(ValueError, match=reason):
            run_grid([data], [Local], [0], SMALL, tmp_path / "out", jobs=2)


def test_names_of_own_classes(tmp_path, data, own, monkeypatch):
    with pytest.raises(TypeError, match="names or classes"):
        run_grid([data], [own.First()], [0], SMALL, tmp_path)
    monkeypatch.setattr(own.First, "name", "random")
    with pytest.raises(ValueError, match="is called 'random', as another strategy"):
        run_grid([data], [own.First], [0], SMALL, tmp_path)
    with pytest.raises(ValueError, match="'random' comes 2 times"):
        run_grid([data], ["random", "random"], [0], SMALL, tmp_path)


def test_an_edited_class_is_run_anew(tmp_path, data, own, monkeypatch):
    from autoal.experiment.own_strategy import named

    first = Cell("small", "0", "first", 0, SMALL, own=named(own.First)[1])
    monkeypatch.setattr("inspect.getsource", lambda cls: "edited")
    assert Cell("small", "0", "first", 0, SMALL, own=named(own.First)[1]).key != first.key
    assert Cell("small", "0", "first", 0, SMALL).key != first.key


def test_cells_and_data_survive_the_way_to_a_worker(tmp_path, data, own):
    from autoal.experiment.own_strategy import named

    settings = Settings(6, 3, 2, candidates=("margin", "entropy"))
    cell = Cell("small", fingerprint(data), "first", 3, settings, Condition(pool_size=30), named(own.First)[1])
    arrived = messages.cell_of(json.loads(json.dumps(messages.as_message(cell))))
    assert arrived == cell and arrived.key == cell.key
    messages.write(data, tmp_path / "0")
    mapped = messages.mapped(tmp_path / "0")
    assert isinstance(mapped.x_train, np.memmap) and mapped.class_names == data.class_names
    assert fingerprint(mapped) == fingerprint(data)


def test_default_jobs():
    assert grid.default_jobs(Settings(device="cpu")) == len(os.sched_getaffinity(0))
