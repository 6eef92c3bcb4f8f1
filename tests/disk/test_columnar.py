"""Parquet, Arrow and data sets: the columns that make the matrix, batch by batch, from any row on."""

import contextlib
import json

import numpy as np
import pytest
from pools import numbers

from autoal import Pool
from autoal.disk import columnar, sources

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

X = numbers(3000, 8)


def fixed(x=X):
    return arrow.FixedSizeListArray.from_arrays(arrow.array(x.ravel()), x.shape[1])


TABLES = {
    "fixed": arrow.table({"id": np.arange(len(X)), "e": fixed()}),
    "lists": arrow.table({"e": arrow.array(list(X), arrow.list_(arrow.float32()))}),
    "large": arrow.table({"e": arrow.array(list(X), arrow.large_list(arrow.float32()))}),
    "columns": arrow.table({f"f{i}": X[:, i] for i in range(8)}),
}


def write(table, path):
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=700)
    elif path.suffix == ".feather":
        with arrow.ipc.new_file(path, table.schema) as file:
            file.write_table(table, 700)
    else:
        with arrow.ipc.new_stream(path, table.schema) as file:
            file.write_table(table, 700)


@pytest.mark.parametrize("table", list(TABLES))
@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_the_matrix_is_found_and_streamed(tmp_path, table, suffix):
    path = tmp_path / f"a{suffix}"
    write(TABLES[table], path)
    assert np.array_equal(Pool.write(tmp_path / "pool", path).x.numpy(), X)
    with pytest.raises(ValueError, match="autoal pool import"):
        Pool.open(path)
    assert np.array_equal(Pool.open(path, copy=None).x.numpy(), X)
    for start in (1, 699, 700, 1500, 2999, 3000):
        rest = list(sources.of(path).batches(start))
        assert np.array_equal(np.concatenate([np.empty((0, 8), np.float32), *rest]), X[start:])


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_no_more_than_some_rows_are_in_memory(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    table = arrow.table({"e": fixed(numbers(40_000, 256))})
    if suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=1 << 20)  # all is one row group
    else:
        write(table, path)
    size = table.nbytes
    del table
    before = arrow.total_allocated_bytes()
    assert max(arrow.total_allocated_bytes() - before for _ in sources.of(path).batches(0)) < size / 4


def test_a_folder_of_parts_is_read_in_the_order_of_names(tmp_path):
    for number, first in enumerate(range(0, 3000, 1000)):
        parquet.write_table(arrow.table({"e": fixed(X[first : first + 1000])}), tmp_path / f"part-{number}.parquet")
    source = sources.of(tmp_path, ["e"])
    assert np.array_equal(np.concatenate(list(source.batches(1500))), X[1500:])


def test_columns_are_named_where_they_must_be(tmp_path):
    path = tmp_path / "a.parquet"
    write(arrow.table({"id": np.arange(3000), "a": X[:, 0], "b": X[:, 1].astype(np.float64), "t": ["x"] * 3000}), path)
    assert np.array_equal(Pool.write(tmp_path / "pool", path, columns=["b", "a"]).x.numpy(), X[:, [1, 0]])
    for columns, words in (
        (None, r"columns must be given .* id \(int64\), a \(float\)"),
        (["c"], "columns c are not in"),
        (["t"], "column 't' of .* must hold numbers"),
        (["id", "t"], "column 't' of .* must hold numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            Pool.write(tmp_path / "bad", path, columns=columns)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (arrow.array([[1.0, 2.0], [3.0]]), "lists of one length, got"),
        (arrow.array([[1.0, 2.0], None]), "rows without a value"),
        (arrow.array([[1.0, 2.0], [3.0, None]]), "numbers that are missing"),
        (arrow.array([["a"], ["b"]]), "must hold numbers"),
        (arrow.array([[], []], arrow.list_(arrow.float32())), r"rows are \[0\]"),
        (arrow.array([[1.0, 2.0], [3.0, float("nan")]]), "NaN or Inf in row 1"),
    ],
)
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_what_is_no_matrix_is_refused(tmp_path, column, words, suffix):
    path = tmp_path / f"a{suffix}"
    write(arrow.table({"e": column}), path)
    with pytest.raises(ValueError, match=words):
        Pool.write(tmp_path / "pool", path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write(TABLES["lists"], path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for cut in [0, 4, 100, *rng.integers(0, len(whole) - 20, 10).tolist()]:
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=f"a{suffix}"):
            sources.of(path).load()
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        with contextlib.suppress(ValueError):
            sources.of(path).load()


def test_a_data_set_is_read_in_its_order(tmp_path):
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_dict({"embedding": X.tolist(), "label": list(range(3000))})
    assert np.array_equal(Pool.write(tmp_path / "a", data).x.numpy(), X)
    shuffled = data.shuffle(seed=0)
    order = shuffled["label"][:]
    assert np.array_equal(Pool.write(tmp_path / "b", shuffled, columns=["embedding"]).x.numpy(), X[order])
    assert np.array_equal(np.concatenate(list(sources.of(shuffled).batches(1700))), X[order][1700:])
    assert np.array_equal(Pool.write(tmp_path / "c", shuffled.to_iterable_dataset()).x.numpy(), X[order])
    shuffled.save_to_disk(tmp_path / "saved")
    assert np.array_equal(Pool.write(tmp_path / "d", tmp_path / "saved").x.numpy(), X[order])


@pytest.mark.parametrize(
    "listed", [None, [], [{"filename": "../a.arrow"}], [{"filename": ".."}], ["a"], [{"filename": 3}]]
)
def test_a_saved_data_set_names_files_of_its_folder(tmp_path, listed):
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": listed}))
    with pytest.raises(ValueError, match="names no files of its folder"):
        sources.of(tmp_path)


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    write(TABLES["fixed"], tmp_path / "a.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'autoal\[data\]'"):
        Pool.write(tmp_path / "pool", tmp_path / "a.parquet")
    monkeypatch.undo()
    monkeypatch.setattr(arrow, "__version__", "14.0.0")
    with pytest.raises(ImportError, match=r"pyarrow>=16"):
        columnar.of_files([tmp_path / "a.parquet"], None)
