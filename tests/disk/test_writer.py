"""Writing pools: from anything that gives rows, whole or not at all, and on from where it was cut off."""

import errno
import itertools
import os
import signal

import numpy as np
import pytest
import torch
from pools import SHARD_ROWS, in_child, killed_at, numbers

from autoal import Pool
from autoal.disk import sources, writer
from autoal.disk.manifest import FINISHED, Manifest
from autoal.disk.mapping import HUGE_PAGE

X = numbers(1100)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("row", [0, 50, 300, 512, 800, 1050])
def test_a_killed_writer_leaves_no_pool_and_is_continued(tmp_path, row):
    path = tmp_path / "pool"
    assert killed_at(path, X, row) == -signal.SIGKILL
    if row == 0:
        assert not list(path.iterdir())
    else:
        with pytest.raises(ValueError, match=f"unfinished pool of {row // SHARD_ROWS * SHARD_ROWS} rows|1,024 rows"):
            Pool.open(path)
    asked = []

    def batches(start):
        asked.append(start)
        return iter([X[start:]] if start < len(X) else [])

    pool = Pool.write(path, batches, shard_rows=SHARD_ROWS)
    assert asked == [row // SHARD_ROWS * SHARD_ROWS], "whole shards are not asked for again"
    assert np.array_equal(pool.x.numpy(), X)
    Pool.write(tmp_path / "at once", lambda start: iter([X]), shard_rows=SHARD_ROWS)
    assert contents(path) == contents(tmp_path / "at once")


def test_killed_at_any_step_to_disk_it_is_continued(tmp_path):
    for number in itertools.count(1):
        path = tmp_path / str(number)
        status = in_child(lambda path=path, number=number: write_and_die(path, number))
        pool = (
            Pool.open(path) if (path / "manifest.json").exists() else Pool.write(path, X[:600], shard_rows=SHARD_ROWS)
        )
        assert np.array_equal(pool.x.numpy(), X[:600])
        if status == 0:
            break
        assert status == -signal.SIGKILL
    assert number > 30


def write_and_die(path, number):
    """Writes a pool until before or after the ``number``-th fsync, rename or removal."""
    steps = itertools.count(1)

    def dying(call):
        def step(*arguments, **options):
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments, **options)
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return step

    for name in ("fsync", "replace", "unlink"):
        setattr(os, name, dying(getattr(os, name)))
    Pool.write(path, X[:600], shard_rows=SHARD_ROWS)


def test_what_gives_rows(tmp_path):
    ways = {
        "array": X, "tensor": torch.from_numpy(X), "pool": Pool(X), "columns": np.asfortranarray(X),
        "reversed": X[::-1][::-1],
        "batches": [X[:10], torch.from_numpy(X[10:])], "generator": (X[i : i + 7] for i in range(0, len(X), 7)),
        "function": lambda start: iter([X[start:]]),
    }  # fmt: skip
    for name, way in ways.items():
        assert np.array_equal(Pool.write(tmp_path / name, way, shard_rows=SHARD_ROWS).x.numpy(), X), name
    assert np.array_equal(Pool.write(tmp_path / "copy", tmp_path / "array", shard_rows=1).x.numpy(), X)
    for bad in (3, object(), [[1.0, 2.0]], ["text"], [np.zeros(3)], [np.array([["a"]])], np.float32(3)):
        with pytest.raises((TypeError, ValueError), match=r"rows must|x must"):
            Pool.write(tmp_path / "bad", bad)
    for none in ([], np.zeros((0, 3), np.float32), [np.zeros((0, 3))]):
        with pytest.raises(ValueError, match="x holds no rows"):
            Pool.write(tmp_path / "bad", none)
    with pytest.raises(ValueError, match=r"rows are \[0\] float32"):
        Pool.write(tmp_path / "bad", np.zeros((3, 0), np.float32))
    with pytest.raises(ValueError, match="columns are those of a file"):
        Pool.write(tmp_path / "bad", X, columns=["a"])


def test_batches_must_agree(tmp_path):
    with pytest.raises(ValueError, match=r"rows \[64\], got \[63\] at row 5"):
        Pool.write(tmp_path / "a", [X[:5], X[:5, :63]])
    with pytest.raises(ValueError, match=r"rows of float32, got float16 at row 5"):
        Pool.write(tmp_path / "b", [X[:5], X[:5].astype(np.float16)])
    assert len(Pool.write(tmp_path / "c", [X[:5], X[:5].astype(np.float16)], dtype="float16")) == 10


def test_only_the_same_is_continued(tmp_path):
    path = tmp_path / "pool"
    with pytest.raises(ZeroDivisionError):
        Pool.write(path, failing(X, 600), shard_rows=SHARD_ROWS)
    for options, word in (
        ({"x": X[:900]}, "another source"),
        ({"dtype": "float16"}, "another dtype"),
        ({"shard_rows": 1024}, "another shard_rows"),
    ):
        with pytest.raises(ValueError, match=word):
            Pool.write(path, **({"x": failing(X, 2000), "shard_rows": SHARD_ROWS} | options))
    assert np.array_equal(Pool.write(path, failing(X, 2000)).x.numpy(), X)
    with pytest.raises(ValueError, match="holds a pool already"):
        Pool.write(path, X)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be empty or an unfinished pool, it holds"):
        Pool.write(tmp_path, X)
    with pytest.raises(ValueError, match="path must be a folder"):
        Pool.write(tmp_path / "file", X)


def test_a_function_that_knows_more_rows_the_second_time_is_continued(tmp_path, monkeypatch):
    write = Manifest.write

    def cut_off(manifest, path):
        if path.name == FINISHED:
            raise KeyboardInterrupt
        write(manifest, path)

    with monkeypatch.context() as patch:
        patch.setattr(Manifest, "write", cut_off)
        with pytest.raises(KeyboardInterrupt):
            Pool.write(tmp_path, lambda start: iter([X[start:600]]), shard_rows=SHARD_ROWS)
    assert np.array_equal(Pool.write(tmp_path, lambda start: iter([X[start:]])).x.numpy(), X)


def failing(x, row):
    def batches(start):
        yield x[start:row]
        if row < len(x):
            raise ZeroDivisionError

    return batches


def test_other_arrays_of_the_same_shape_are_not_taken_for_the_same():
    other = X.copy()
    other[17 * 17] += 1
    assert sources.of(X).origin == sources.of(X.copy()).origin
    assert sources.of(X).origin != sources.of(other).origin


def test_two_writers_do_not_meet(tmp_path):
    def batches(start):
        with pytest.raises(ValueError, match="is being written to by another process"):
            Pool.write(tmp_path, X)
        yield X

    assert len(Pool.write(tmp_path, batches)) == len(X)


def test_a_full_disk_leaves_what_is_stored(tmp_path, monkeypatch):
    digest, calls = writer.opening.digest, []

    def full(path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return digest(path)

    monkeypatch.setattr(writer.opening, "digest", full)
    with pytest.raises(OSError, match="No space left on device; 512 rows are stored, and the same call goes on"):
        Pool.write(tmp_path, X, shard_rows=SHARD_ROWS)
    assert np.array_equal(Pool.write(tmp_path, X, shard_rows=SHARD_ROWS).x.numpy(), X)


@pytest.mark.parametrize("row_bytes", [1, 2, 28, 256, 1204, 3267, 65536, 100_000])
def test_shards_end_on_pages(row_bytes):
    for wanted in (1, 1000, None):
        rows = writer.whole_pages(wanted, row_bytes)
        assert rows * row_bytes % writer.PAGE == 0 and rows >= (wanted or 1)
    assert writer.whole_pages(rows, row_bytes) == rows
    if row_bytes not in (3267, 100_000):  # of which only more than a gigabyte makes huge pages
        assert rows * row_bytes % HUGE_PAGE == 0 and rows * row_bytes < 2 * writer.SHARD_BYTES
