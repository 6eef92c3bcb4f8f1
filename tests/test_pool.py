"""Pools on disk: what is opened is what was written, strategies pick the same from it, and nothing damaged is taken."""

import hashlib
import json
import os

import numpy as np
import pytest
import torch
from pools import SHARD_ROWS, in_child, numbers

import autoal
from autoal import Pool, ops
from autoal.disk import tensors
from autoal.strategies import STRATEGIES


@pytest.fixture
def x():
    return numbers()


@pytest.fixture
def folder(tmp_path, x):
    Pool.write(tmp_path / "pool", x, shard_rows=SHARD_ROWS)
    return tmp_path / "pool"


def refused(path, *words, **options):
    with pytest.raises(ValueError, match="path: ") as caught:
        Pool.open(path, **options)
    for word in words:
        assert word in str(caught.value), caught.value


def test_three_shards_are_one_array(folder, x):
    pool = Pool.open(folder, verify=True)
    assert len(list(folder.glob("*.safetensors"))) == 3
    assert pool.x.is_contiguous() and pool.x.shape == x.shape and np.array_equal(pool.x.numpy(), x)
    assert len(pool) == 600 and len(pool.unlabeled) == 600
    pool.label([3, 1], [0, 1])
    assert pool.labeled.tolist() == [3, 1] and pool.labels.tolist() == [0, 1]
    rows = pool.x[500:]
    del pool
    assert np.array_equal(rows.numpy(), x[500:]), "a view keeps the map"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("width", [1, 7, 64])
def test_any_dtype_and_width_comes_back(tmp_path, dtype, width):
    x = torch.from_numpy(numbers(1500 if width == 64 else 70_000, width)).to(dtype)
    pool = Pool.write(tmp_path, x, shard_rows=1)
    assert pool.x.dtype == dtype and torch.equal(pool.x, x)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(Pool.open(tmp_path, copy=True).x, x)


def test_images_of_bytes_come_back(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    pool = Pool.write(tmp_path / "images", images)
    assert pool.x.dtype == torch.uint8 and np.array_equal(pool.x.numpy(), images)
    np.save(tmp_path / "images.npy", images)
    assert np.array_equal(Pool.open(tmp_path / "images.npy").x.numpy(), images)


def test_what_stores_features_is_chosen_by_dtype(tmp_path, x):
    assert torch.equal(Pool.write(tmp_path / "a", x, dtype="float16").x, torch.from_numpy(x).half())
    assert torch.equal(Pool.write(tmp_path / "b", x.astype(np.float64)).x, torch.from_numpy(x))
    assert Pool.write(tmp_path / "c", np.arange(12).reshape(4, 3)).x.tolist()[3] == [9.0, 10.0, 11.0]
    with pytest.raises(ValueError, match="x as float16 holds NaN or Inf in row 1"):
        Pool.write(tmp_path / "d", np.array([[1.0], [1e9]]), dtype="float16")
    with pytest.raises(ValueError, match="unknown dtype 'float61'"):
        Pool.write(tmp_path / "e", x, dtype="float61")
    with pytest.raises(ValueError, match="dtype must be one of"):
        Pool.write(tmp_path / "e", x, dtype=torch.int64)
    with pytest.raises(ValueError, match="uint8"):
        Pool.write(tmp_path / "e", np.zeros((2, 3, 3), np.uint8), dtype="float32")


def test_picks_are_the_same_from_memory_a_file_and_a_folder(tmp_path, folder, x):
    np.save(tmp_path / "x.npy", x)
    logits = x[:, :5].copy()
    labeled, labels = np.arange(10), np.arange(10) % 5
    pools = {"memory": x, "npy": Pool.open(tmp_path / "x.npy"), "folder": Pool.open(folder), "x": Pool.open(folder).x}
    picks = {
        name: [
            *[np.asarray(op(pool, 20)).tolist() for op in (ops.kcenter_greedy, ops.kmeanspp, ops.coverage_greedy)],
            np.asarray(ops.gradient_kmeanspp(logits, pool, 20)).tolist(),
            autoal.select(autoal.Outputs(logits=logits, embeddings=pool), 10, "badge").indices.tolist(),
            autoal.select(autoal.Outputs(embeddings=pool), 10, labeled=labeled, labels=labels).indices.tolist(),
        ]
        for name, pool in pools.items()
    }
    assert all(found == picks["memory"] for found in picks.values())
    assert isinstance(ops.kmeanspp(pools["folder"], 3), np.ndarray), "a pool is answered as an array is"


def test_no_strategy_writes_to_a_mapped_pool(tmp_path):
    x = numbers(120, 16)
    embeddings = Pool.write(tmp_path / "x", x)
    logits = Pool.write(tmp_path / "l", 3 * x[:, :3])
    mc = torch.from_numpy(np.stack([x[:, :3], x[:, 1:4]]))
    outputs = autoal.Outputs(logits=logits, embeddings=embeddings, mc_logits=mc)
    labeled = np.arange(12)
    labels = x[labeled, :3].argmax(1)

    def select_by_each():
        torch.set_num_threads(1)
        for name in STRATEGIES:
            autoal.select(outputs, 3, name, labeled=labeled, labels=labels, n_classes=3, inputs=embeddings)

    assert in_child(select_by_each) == 0


def test_a_learner_runs_on_a_mapped_pool(folder):
    pool = Pool.open(folder)
    learner = autoal.ActiveLearner(
        pool, "linear", "margin", oracle=autoal.DataSetOracle((pool.x[:, 0] > 0).long().numpy()),
        initial_size=10, query_size=10, budget=20,
    )  # fmt: skip
    assert [done.labeled for done in learner.run()] == [10, 20]


def test_npy_is_mapped_where_it_can_be_and_refused_where_not(tmp_path, x):
    odd = {
        "fortran": np.asfortranarray(x), "float64": x.astype(np.float64), "big": x.astype(">f4"),
        "integers": (10 * x).astype(np.int64),
    }  # fmt: skip
    for name, array in odd.items():
        path = tmp_path / f"{name}.npy"
        np.save(path, array)
        refused(path, str(path), f"autoal pool import {path} DEST", "copy=None")
        expected = torch.from_numpy(np.ascontiguousarray(array, np.float32))
        assert torch.equal(Pool.open(path, copy=None).x, expected)
        assert torch.equal(Pool.write(tmp_path / name, path).x, expected)
    refused(tmp_path / "fortran.npy", "Fortran order")
    refused(tmp_path / "big.npy", "big-endian float32")
    np.save(tmp_path / "x.npy", x)
    os.truncate(tmp_path / "x.npy", 1000)
    refused(tmp_path / "x.npy", "no readable .npy", "promises 153,728 bytes, it has 1,000")
    refused(tmp_path / "x.npy", "no readable .npy", copy=None)
    np.save(tmp_path / "flat.npy", x[0])
    refused(tmp_path / "flat.npy", "rows are [] float32")
    np.save(tmp_path / "none.npy", x[:0])
    refused(tmp_path / "none.npy", "no rows")
    refused(tmp_path / "nosuch.npy", "there is no file or folder")


def test_rows_that_are_not_finite_are_named(tmp_path, x):
    x[[300, 599], 5] = np.nan, np.inf
    np.save(tmp_path / "x.npy", x)
    refused(tmp_path / "x.npy", "x.npy holds NaN or Inf in rows 300, 599")
    with pytest.raises(ValueError, match=r"x holds NaN or Inf in row 9"):
        Pool.write(tmp_path / "a", (x[first : first + 1] for first in range(590, 600)), shard_rows=1)
    with pytest.raises(ValueError, match=r"x holds NaN or Inf in row 300"):
        Pool.write(tmp_path / "pool", (x[first : first + 100] for first in range(0, 600, 100)), shard_rows=SHARD_ROWS)
    refused(tmp_path / "pool", "unfinished pool of 256 rows")


def test_every_truncated_shard_is_refused_by_name(folder):
    rng = np.random.default_rng(0)
    for shard in sorted(folder.glob("*.safetensors")):
        whole = shard.read_bytes()
        for length in [0, 7, 8, 100, 65535, 65536, len(whole) - 1, *rng.integers(0, len(whole), 10).tolist()]:
            shard.write_bytes(whole[:length])
            refused(folder, shard.name)
        shard.write_bytes(whole + b"\0")
        refused(folder, shard.name)
        shard.write_bytes(whole)
    Pool.open(folder, verify=True)
    shard.unlink()
    refused(folder, shard.name, "No such file")


def test_flipped_bits_are_found_by_verify(folder):
    rng = np.random.default_rng(0)
    shards = sorted(folder.glob("*.safetensors"))
    for shard in shards:
        whole = shard.read_bytes()
        for place in [70, 65536, len(whole) - 1, *rng.integers(200, len(whole), 5).tolist()]:  # also in the padding
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(rng.integers(8))
            shard.write_bytes(flipped)
            refused(folder, shard.name, verify=True)
        shard.write_bytes(whole)
    first, last = shards[0].read_bytes(), shards[-1].read_bytes()
    shards[0].write_bytes(first[:-1] + b"\0")
    shards[-1].write_bytes(last[:-1] + b"\0")
    refused(folder, f"{shards[0].name}, {shards[2].name} hold other bytes", verify=True)


def test_a_value_that_a_true_checksum_covers_is_looked_at_by_verify(tmp_path, x):
    Pool.write(tmp_path, x)
    shard, manifest = tmp_path / "shard-00000.safetensors", json.loads((tmp_path / "manifest.json").read_text())
    shard.write_bytes(shard.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    manifest["shards"][0]["sha256"] = hashlib.sha256(shard.read_bytes()).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    refused(tmp_path, "NaN or Inf in row 599", verify=True)


def test_links_and_pipes_are_no_shards(tmp_path, folder):
    shard = folder / "shard-00001.safetensors"
    shard.rename(tmp_path / "elsewhere.safetensors")
    shard.symlink_to(tmp_path / "elsewhere.safetensors")
    refused(folder, shard.name, "symbolic link")
    with pytest.raises(ValueError, match="symbolic link"):
        Pool.write(tmp_path / "copy", folder)
    shard.unlink()
    os.mkfifo(shard)
    refused(folder, shard.name, "no regular file")
    os.mkfifo(tmp_path / "pipe.npy")
    refused(tmp_path / "pipe.npy", "no regular file")
    (folder / "manifest.json").rename(tmp_path / "m.json")
    (folder / "manifest.json").symlink_to(tmp_path / "m.json")
    refused(folder, "manifest.json is a symbolic link")


def test_files_of_others_that_are_no_whole_pages_are_refused_or_copied(tmp_path, x):
    save = pytest.importorskip("safetensors.torch").save_file
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for number, first in enumerate(range(0, 600, 250)):
        save({"features": torch.from_numpy(x[first : first + 250])}, foreign / f"part-{number}.safetensors")
    refused(foreign, "no manifest.json", "autoal pool import")
    assert np.array_equal(Pool.open(foreign, copy=None).x.numpy(), x)
    assert np.array_equal(Pool.write(tmp_path / "pool", foreign, columns="features", shard_rows=1).x.numpy(), x)
    with pytest.raises(ValueError, match="holds no tensor 'embeddings', but 1: 'features'"):
        Pool.write(tmp_path / "other", foreign, columns=["embeddings"])
    single = Pool.open(foreign / "part-0.safetensors").x
    assert np.array_equal(single.numpy(), x[:250]), "one file maps wherever its numbers begin"

    shards = [{"name": f"part-{i}.safetensors", "rows": n, "sha256": "0" * 64} for i, n in enumerate([250, 250, 100])]
    manifest = {
        "format": "autoal pool", "version": 1, "dtype": "float32", "row_shape": [64], "rows": 600, "shard_rows": 250,
        "source": "", "shards": shards,
    }  # fmt: skip
    (foreign / "manifest.json").write_text(json.dumps(manifest))
    refused(foreign, "do not meet at a memory page", "autoal pool import")
    assert np.array_equal(Pool.open(foreign, copy=None).x.numpy(), x)


def test_numbers_in_the_middle_of_others_are_refused_or_copied(tmp_path, x):
    for length in (65537, 65538):
        folder = tmp_path / str(length)
        Pool.write(folder, x)
        shard = folder / "shard-00000.safetensors"
        shard.write_bytes(tensors.header("x", torch.float32, x.shape, length) + x.tobytes())
        for path in (folder, shard):
            refused(path, f"numbers at byte {length}", "autoal pool import")
            assert np.array_equal(Pool.open(path, copy=None).x.numpy(), x)


def test_our_shards_are_read_by_the_safetensors_package(folder, x):
    load = pytest.importorskip("safetensors.numpy").load_file
    found = [load(shard)["x"] for shard in sorted(folder.glob("*.safetensors"))]
    assert np.array_equal(np.concatenate(found), x)


def test_a_pool_is_an_array_to_numpy(folder, x):
    assert np.array_equal(np.asarray(Pool.open(folder)), x)


def test_files_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    parts = tmp_path / "parts"
    parts.mkdir()
    for number in (10, 2, 1):
        safetensors.save_file({"x": torch.full((5, 4), float(number))}, parts / f"p{number}.safetensors")
    Pool.write(tmp_path / "pool", parts)
    assert Pool.open(tmp_path / "pool").x[::5, 0].tolist() == [1, 2, 10]
