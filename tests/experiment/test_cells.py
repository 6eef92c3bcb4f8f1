"""One cell: what decides its file, what it records, and that strategies start alike."""

import dataclasses

import numpy as np
import pytest
import torch

import autoal
from autoal.experiment.cells import Cell, Settings, fingerprint, run_cell
from autoal.oracle import DataSetOracle
from autoal.search.autoal import DEFAULT_CANDIDATES

SMALL = Settings(initial_size=6, query_size=3, rounds=2)
TIMED = ("query_seconds", "fit_seconds")


def untimed(records):
    return [{key: value for key, value in record.items() if key not in TIMED} for record in records]


def test_everything_that_decides_the_result_is_in_the_key(data):
    cell = Cell("small", fingerprint(data), "autoal", 0, SMALL)
    assert cell.key == dataclasses.replace(cell).key
    changed = [
        dataclasses.replace(cell, **change)
        for change in ({"dataset": "other"}, {"fingerprint": "0"}, {"strategy": "margin"}, {"seed": 1})
    ]
    changes = {"initial_size": 7, "query_size": 4, "rounds": 3, "model": "mlp", "variant": "paper"}
    changes |= {"search": "none", "candidates": ("margin",)}
    of_paper = {"query": "top", "loss_prediction": False}
    assert {*changes, *of_paper, "device"} == {field.name for field in dataclasses.fields(Settings)}
    for name, value in changes.items():
        changed.append(dataclasses.replace(cell, settings=dataclasses.replace(SMALL, **{name: value})))
    for name, value in of_paper.items():
        changed.append(dataclasses.replace(cell, settings=dataclasses.replace(SMALL, variant="paper", **{name: value})))
    assert len({cell.key, *(other.key for other in changed)}) == len(changed) + 1


def test_what_is_said_and_what_is_the_default_are_one_cell():
    cell = Cell("small", "0", "autoal", 0, SMALL)
    here = "cuda" if torch.cuda.is_available() else "cpu"
    for same in ({"device": here}, {"variant": "coverage"}, {"candidates": DEFAULT_CANDIDATES}):
        assert dataclasses.replace(cell, settings=dataclasses.replace(SMALL, **same)).key == cell.key


def test_another_version_is_run_anew(monkeypatch):
    cell = Cell("small", "0", "random", 0, SMALL)
    before = cell.key
    monkeypatch.setattr(autoal, "__version__", "99.0")
    assert cell.key != before


def test_settings_of_autoal_do_not_recompute_the_others():
    cell = Cell("small", "0", "margin", 0, SMALL)
    other = dataclasses.replace(SMALL, variant="paper", search="none", candidates=("margin",))
    assert dataclasses.replace(cell, settings=other).key == cell.key


@pytest.mark.parametrize("part", ["x_train", "y_train", "x_test", "y_test"])
def test_the_fingerprint_sees_every_array(data, part):
    array = getattr(data, part).copy()
    array[-1] += 1
    assert fingerprint(dataclasses.replace(data, **{part: array})) != fingerprint(data)


def test_records_are_those_of_the_loop_by_hand(data):
    learner = autoal.ActiveLearner(
        data.x_train, "linear", "margin", initial_size=6, query_size=3, budget=12, n_classes=3, seed=5
    )
    expected = []
    oracle = DataSetOracle(data.y_train)
    for number in range(3):
        query = learner.ask()
        learner.tell(query.indices, oracle(query.indices))
        right = learner.model.predict(learner.pool.x.new_tensor(data.x_test)) == data.y_test
        by_class = [right[data.y_test == c].mean() for c in (0, 1, 2)]
        expected.append(
            {
                "dataset": "small",
                "strategy": "margin",
                "seed": 5,
                "round": number,
                "labeled": 6 + 3 * number,
                "accuracy": pytest.approx(right.mean()),
                "balanced_accuracy": pytest.approx(np.mean(by_class)),
            }
        )
    records = run_cell(Cell("small", "0", "margin", 5, SMALL), data)
    assert untimed(records) == expected
    assert all(record[key] >= 0 for record in records for key in TIMED)


def test_strategies_of_one_seed_start_from_the_same_labels(data, monkeypatch):
    asked = {}

    class Recorder(DataSetOracle):
        def __call__(self, indices):
            asked.setdefault(current, []).append(np.asarray(indices).tolist())
            return super().__call__(indices)

    monkeypatch.setattr("autoal.experiment.cells.DataSetOracle", Recorder)
    for strategy in ("random", "entropy", "kcenter"):
        for seed in (0, 1):
            current = strategy, seed
            run_cell(Cell("small", "0", strategy, seed, SMALL), data)
    first = {key: batches[0] for key, batches in asked.items()}
    assert first["random", 0] == first["entropy", 0] == first["kcenter", 0] != first["random", 1]
    assert first["random", 1] == first["entropy", 1] == first["kcenter", 1]
    for batches in asked.values():
        taken = [index for batch in batches for index in batch]
        assert [len(batch) for batch in batches] == [6, 3, 3] and len(set(taken)) == 12, "no sample is asked for twice"


def test_a_cell_is_reproducible_by_its_seed(data):
    for strategy in ("random", "autoal"):
        cell = Cell("small", "0", strategy, 3, SMALL)
        assert untimed(run_cell(cell, data)) == untimed(run_cell(cell, data))


def test_saved_and_loaded(tmp_path, data):
    cell = Cell("small", "0", "random", 0, SMALL)
    (tmp_path / "cells").mkdir()
    assert cell.load(tmp_path) is None
    records = run_cell(cell, data)
    cell.save(tmp_path, records)
    assert cell.load(tmp_path) == records
    assert cell.path(tmp_path).name == f"{cell.key}.jsonl" and len(cell.key) == 64


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"round": 0}\n', b"1\n2\n3\n"])
def test_a_damaged_file_is_told(tmp_path, content):
    cell = Cell("small", "0", "random", 0, SMALL)
    (tmp_path / "cells").mkdir()
    cell.path(tmp_path).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{cell.key}\.jsonl is damaged: delete it"):
        cell.load(tmp_path)
