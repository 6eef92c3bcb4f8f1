"""Manifests that lie: refused by a ValueError, whatever they hold; and shards lie in their folder."""

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import changed
from pools import SHARD_ROWS, numbers

from autoal import Pool
from autoal.disk.manifest import Manifest

MANY = settings(max_examples=300)


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    Pool.write(folder, numbers(), shard_rows=SHARD_ROWS)
    return folder, json.loads((folder / "manifest.json").read_text())


@MANY
@given(data=st.data())
def test_manifests(pool, data):
    folder, whole = pool
    value = data.draw(changed(whole))
    (folder / "manifest.json").write_text(json.dumps(value))
    try:
        found = Pool.open(folder)
    except ValueError as error:
        assert str(folder) in str(error)
    else:
        assert found.x.shape == (600, 64)
        found.x.numpy().tobytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 1"),
        ({"version": True}, "version 1"),
        ({"rows": 601}, "promises 601 rows, its shards hold 600"),
        ({"row_shape": [32]}, "the manifest promises"),
        ({"row_shape": [2**62, 2**62]}, "the manifest promises"),
        ({"row_shape": [0]}, "a pool holds"),
        ({"dtype": "float16"}, "the manifest promises"),
        ({"dtype": "object"}, "dtype must be one of"),
        ({"shards": [], "rows": 0}, "pool without rows"),
        ({"more": 1}, "'more' is unknown"),
    ],
)
def test_manifests_say_what_is_wrong(pool, change, words):
    folder, whole = pool
    (folder / "manifest.json").write_text(json.dumps(whole | change))
    with pytest.raises(ValueError, match=words):
        Pool.open(folder)


OUTSIDE = ["../a.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", ".a.safetensors", "a\0.safetensors", "a.npy"]


@pytest.mark.parametrize("name", [*OUTSIDE, "a" * 200 + ".safetensors"])
def test_shards_lie_in_their_folder(pool, name):
    folder, whole = pool
    value = copy.deepcopy(whole)
    value["shards"][1]["name"] = name
    (folder / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"must be a file NAME\.safetensors of the folder"):
        Pool.open(folder)
    value["shards"][1]["name"] = value["shards"][0]["name"]
    (folder / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(ValueError, match="a shard comes twice"):
        Pool.open(folder)


def test_manifests_are_no_larger_than_they_need_be(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"[" * (1 << 25))
    with pytest.raises(ValueError, match="more than"):
        Manifest.read(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_bytes(b"[" * (1 << 20))
    with pytest.raises(ValueError, match="nested too deeply"):
        Manifest.read(tmp_path / "manifest.json")
