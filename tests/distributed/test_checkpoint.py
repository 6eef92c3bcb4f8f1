"""Checkpoints: what goes on, what is refused and why."""

import json

import numpy as np
import pytest

from autoal import distributed, ops
from autoal.distributed import fingerprint

POOL = np.random.default_rng(0).standard_normal((3000, 8), dtype=np.float32)


class Enough(Exception):
    """Ends a selection in the middle."""


def stop(picked):
    if picked > 100:
        raise Enough


@pytest.fixture
def path(tmp_path):
    """A checkpoint of a selection that was ended in the middle."""
    path = tmp_path / "picks.json"
    with pytest.raises(Enough):
        distributed.kcenter_greedy(POOL, 2000, checkpoint=path, checkpoint_seconds=0, progress=stop)
    assert 100 < len(json.loads(path.read_text())["picks"]) < 2000
    return path


def test_it_goes_on(path):
    picks, radius = ops.kcenter_greedy(POOL, 2000, return_radius=True)
    answer = distributed.kcenter_greedy(POOL, 2000, checkpoint=path)
    np.testing.assert_array_equal(answer.indices, picks)
    np.testing.assert_array_equal(answer.radius, radius)
    stored = json.loads(path.read_text())
    assert stored["picks"] == picks.tolist() and len(stored["distances"]) == 2001
    again = distributed.kcenter_greedy(POOL, 500, checkpoint=path)
    np.testing.assert_array_equal(again.indices, picks[:500])
    np.testing.assert_array_equal(again.radius, radius[:500])
    assert again.traffic.rounds == 0
    assert json.loads(path.read_text()) == stored, "fewer picks replace no more"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"metric": "cosine"}, "arguments, metric is 'l2' there, 'cosine' here"),
        ({"seed": 1}, "arguments, seed is 0 there, 1 here"),
        ({"first": 7}, "arguments, first is None there, 7 here"),
        ({"labeled": [7, 9]}, "arguments, labeled is 'none' there, '2 rows, "),
        ({"shard": POOL[:-1]}, "pool, rows is 3000 there, 2999 here"),
        ({"shard": POOL[:, :-1]}, "pool, columns is 8 there, 7 here"),
        ({"shard": POOL.astype(np.float16)}, "pool, dtype is 'float32' there, 'float16' here"),
        ({"shard": POOL[::-1]}, "it is another pool's: pool, blocks differ in block 0 (rows 0 to 65535)"),
    ],
)
def test_another_selection_is_refused(path, other, message):
    before = path.read_bytes()
    with pytest.raises(ValueError) as error:
        distributed.kcenter_greedy(other.pop("shard", POOL), 2000, checkpoint=path, **other)
    assert message in str(error.value) and "remove the file to begin anew" in str(error.value)
    assert path.read_bytes() == before


def test_damage_is_noticed(path):
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for at in rng.choice(len(content), 40, replace=False):
        path.write_bytes(content[:at])
        with pytest.raises(ValueError, match="is no checkpoint, or damaged"):
            distributed.kcenter_greedy(POOL, 2000, checkpoint=path)
        flipped = content.copy()
        flipped[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match="damaged"):
            distributed.kcenter_greedy(POOL, 2000, checkpoint=path)
    for text in ("", "[]", "{}", "null", '{"sha256": 1, "picks": 1, "distances": 1}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match="damaged"):
            distributed.kcenter_greedy(POOL, 2000, checkpoint=path)


@pytest.mark.parametrize("picks", [[3000], [-1], [1.0], [True], [5, 5], "12", [[1]], None, list(range(2000))])
def test_what_others_wrote_is_looked_at(path, picks):
    from autoal.distributed import checkpoint

    content = json.loads(path.read_text())
    del content["sha256"]
    content["picks"] = picks
    path.write_text(json.dumps({**content, "sha256": checkpoint._digest(content)}))
    with pytest.raises(ValueError, match="its picks"):
        distributed.kcenter_greedy(POOL, 2000, checkpoint=path)


def test_folders(tmp_path):
    with pytest.raises(ValueError, match="there is no such folder"):
        distributed.kcenter_greedy(POOL, 5, checkpoint=tmp_path / "missing" / "picks.json")
    with pytest.raises(ValueError, match=f"checkpoint {tmp_path}: "):
        distributed.kcenter_greedy(POOL, 5, checkpoint=tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_fingerprints_do_not_depend_on_the_ranks(world, monkeypatch, dtype):
    pool = POOL.astype(dtype)
    wanted = None
    for sizes in ([3000], [1, 2999], [0, 1000, 2000], [1023, 1, 1, 1975]):
        told = world.call(len(sizes), "fingerprints", pool=pool, sizes=sizes, block=512)
        wanted = wanted or told[0]
        assert len(wanted) == 6 and all(each == wanted for each in told)
    for row, value in ((0, 5), (511, 0), (512, 5), (2999, 5)):
        changed = pool.copy()
        changed[row, 3] = value
        (told,) = world.call(1, "fingerprints", pool=changed, sizes=[3000], block=512)
        assert [i for i, (a, b) in enumerate(zip(told, wanted, strict=True)) if a != b] == [row // 512]
    swapped = pool.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert world.call(1, "fingerprints", pool=swapped, sizes=[3000], block=512)[0][0] != wanted[0]
    assert fingerprint.BLOCK == 1 << 16
