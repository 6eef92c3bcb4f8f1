"""Conditions of the pool: exact shares and profiles, the same for all strategies of a seed, impossible ones refused."""

import dataclasses

import numpy as np
import pytest

from autoal.experiment.cells import Cell, Settings, fingerprint, run_cell
from autoal.experiment.conditions import AS_IT_IS, Condition
from autoal.experiment.datasets import DataSet
from autoal.experiment.grid import check_data, run_grid
from autoal.experiment.sizes import check_size, labels_of, parse_size
from autoal.oracle import DataSetOracle

SMALL = Settings(initial_size=6, query_size=3, rounds=2)


@pytest.fixture(scope="module")
def balanced():
    """Four classes of 100; each sample is its own row number."""
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(4), 100))
    x = np.column_stack([np.arange(400), y]).astype(np.float32)
    return DataSet("balanced", x, y, x[:40], y[:40], ("a", "b", "c", "d"))


def rows(data):
    return data.x_train[:, 0].astype(int)


def test_the_pool_as_it_is_is_not_touched(balanced):
    assert AS_IT_IS.label == ""
    treated = AS_IT_IS.applied(balanced, 3)
    assert treated.x_train is balanced.x_train and treated.y_train is balanced.y_train
    assert AS_IT_IS.size(balanced, 3) == 400


def test_the_exact_share_of_labels_is_another_class(balanced):
    treated = Condition(label_noise=0.1).applied(balanced, 0)
    wrong = treated.y_train != balanced.y_train
    assert wrong.sum() == 40 and set(treated.y_train) == {0, 1, 2, 3}
    assert treated.x_train is balanced.x_train and treated.y_test is balanced.y_test
    other = Condition(label_noise=0.1).applied(balanced, 1)
    assert np.any((other.y_train != balanced.y_train) != wrong), "by seed"
    everything = Condition(label_noise=1.0).applied(balanced, 0)
    shift = (everything.y_train - balanced.y_train) % 4
    assert set(shift) == {1, 2, 3} and np.bincount(shift).max() < 180, "each other class alike"


def test_a_long_tail_has_its_ratio_and_an_exponential_profile(balanced):
    condition = Condition(imbalance=64)
    heads = set()
    for seed in range(8):
        treated = condition.applied(balanced, seed)
        counts = np.bincount(treated.y_train, minlength=4)
        assert sorted(counts) == [2, 6, 25, 100], "100 / 4^k, rounded"
        assert condition.size(balanced, seed) == len(treated.y_train) == 133
        assert np.array_equal(balanced.y_train[rows(treated)], treated.y_train) and len(set(rows(treated))) == 133
        heads.add(int(counts.argmax()))
    assert len(heads) > 1, "which class is large is drawn"


def test_a_long_tail_of_unequal_classes_keeps_to_the_profile():
    y = np.repeat(np.arange(3), [30, 300, 90])
    data = DataSet(
        "unequal", np.zeros((420, 1), np.float32), y, np.zeros((3, 1), np.float32), np.arange(3), tuple("abc")
    )
    for seed in range(6):
        counts = np.sort(np.bincount(Condition(imbalance=9).applied(data, seed).y_train))
        assert counts[0] >= 1 and counts[2] == pytest.approx(9 * counts[0], rel=0.2)
        assert counts[1] == pytest.approx(3 * counts[0], rel=0.3)


def test_part_of_the_pool_and_copies(balanced):
    part = Condition(pool_size=50).applied(balanced, 0)
    assert len(set(rows(part))) == 50 and np.array_equal(balanced.y_train[rows(part)], part.y_train)
    both = Condition(pool_size=50, duplicates=3, label_noise=0.2)
    treated = both.applied(balanced, 0)
    assert both.size(balanced, 0) == len(treated.x_train) == 150
    assert np.array_equal(rows(treated)[:50], rows(part)), "noise and copies do not move the draw of the part"
    for copy in (1, 2):
        assert np.array_equal(treated.x_train[50 * copy : 50 * (copy + 1)], treated.x_train[:50])
        assert np.array_equal(treated.y_train[50 * copy : 50 * (copy + 1)], treated.y_train[:50])
    assert both.label == "pool-size=50 label-noise=0.2 duplicates=3"


def test_numbers_out_of_range():
    for bad, word in (
        ({"label_noise": 1.2}, "label_noise"),
        ({"label_noise": float("nan")}, "label_noise"),
        ({"imbalance": 0.5}, "imbalance"),
        ({"imbalance": float("nan")}, "imbalance"),
        ({"pool_size": 0}, "pool_size"),
        ({"duplicates": 0}, "duplicates"),
    ):
        with pytest.raises(ValueError, match=word):
            Condition(**bad).check()


def test_impossible_cells_are_refused_before_anything_runs(balanced, tmp_path):
    for condition, settings, words in (
        (Condition(pool_size=401), SMALL, "pool_size must be at most 400"),
        (Condition(imbalance=101), SMALL, "no whole sample in the smallest class of 'balanced'"),
        (Condition(pool_size=11), SMALL, "12 labels exceed the pool of 'balanced, pool-size=11', 11 samples"),
        (AS_IT_IS, Settings("C", "200C", 1), "804 labels exceed"),
    ):
        with pytest.raises(ValueError, match=words):
            run_grid([balanced], ["random"], [0, 1], settings, tmp_path, condition=condition)
    assert not list(tmp_path.rglob("*.jsonl"))
    check_data([balanced], SMALL, Condition(pool_size=6, duplicates=2), [0])
    one = dataclasses.replace(balanced, y_train=np.zeros(400, np.int64), class_names=("a",))
    for condition in (Condition(label_noise=0.1), Condition(imbalance=2)):
        with pytest.raises(ValueError, match="class"):
            check_data([one], SMALL, condition)


def test_a_condition_is_part_of_the_key_and_of_the_records(balanced):
    cell = Cell("balanced", fingerprint(balanced), "random", 0, SMALL)
    keys = {cell.key}
    for change in ({"label_noise": 0.1}, {"imbalance": 2.0}, {"pool_size": 40}, {"duplicates": 2}):
        keys.add(dataclasses.replace(cell, condition=Condition(**change)).key)
    assert len(keys) == 5
    assert dataclasses.replace(cell, condition=Condition()).key == cell.key
    records = run_cell(dataclasses.replace(cell, condition=Condition(pool_size=40)), balanced)
    assert {record["condition"] for record in records} == {"pool-size=40"}
    assert all("condition" not in record for record in run_cell(cell, balanced))


def test_strategies_of_one_seed_meet_the_same_labels_and_a_clean_test_set(balanced, monkeypatch):
    pools = {}

    class Recorder(DataSetOracle):
        def __init__(self, y):
            super().__init__(y)
            pools[current] = y

    monkeypatch.setattr("autoal.experiment.cells.DataSetOracle", Recorder)
    condition = Condition(label_noise=0.5, imbalance=4, pool_size=100)
    for current in (("random", 0), ("margin", 0), ("random", 1)):
        records = run_cell(Cell("balanced", "0", *current, SMALL, condition), balanced)
        assert len(records) == 3
    assert np.array_equal(pools["random", 0], pools["margin", 0])
    assert not np.array_equal(pools["random", 0], pools["random", 1])


def test_sizes_in_classes(balanced, tmp_path):
    assert [labels_of(size, 7) for size in (5, "C", "classes", "3C", "2classes")] == [5, 7, 7, 21, 14]
    assert parse_size("20") == 20 and parse_size("2C") == "2C" and parse_size("-3") == -3
    for bad in ("c", "0C", "2.5C", "C2", "", "-1C", "many"):
        with pytest.raises(ValueError, match="query_size must be an integer, or a multiple"):
            check_size(bad, "query_size")
    with pytest.raises(ValueError, match="at least 1"):
        check_size(0, "query_size")
    settings = Settings("2C", "C", rounds=2)
    run_grid([balanced], ["random"], [0], settings, tmp_path)
    names = {path.name for path in (tmp_path / "cells").iterdir()}
    run_grid([balanced], ["random"], [0], Settings(8, 4, rounds=2), tmp_path)
    assert {path.name for path in (tmp_path / "cells").iterdir()} == names, "however it is written, it is one cell"
