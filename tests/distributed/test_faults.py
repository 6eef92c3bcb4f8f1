"""A rank that dies, hangs or fails gives an error on the others; a selection goes on from its checkpoint."""

import time

import numpy as np
import pytest
from ranks import World, sizes_of

from autoal import ops
from autoal.distributed import RanksError

POOL = np.random.default_rng(0).integers(-9, 10, (6000, 6)).astype(np.float32)
K = 1500


@pytest.fixture
def mortal(tmp_path):
    """Makes worlds of processes that may die."""
    worlds = []

    def make(size):
        worlds.append(World(size, tmp_path))
        return worlds[-1]

    yield make
    for world in worlds:
        world.close()


@pytest.mark.parametrize("fate", ["killed", "stopped"])
def test_a_rank_dies_or_hangs(mortal, fate):
    world = mortal(3)
    options = {"k": K, "timeout": 5}
    arguments = {"pool": POOL, "sizes": sizes_of(len(POOL), 3), "options": options}
    world.begin(3, "kcenter_with_fate", **arguments, fates={1: fate}, after=300)
    begin = time.monotonic()
    for rank in (0, 2):
        error = world.answer(rank)
        assert isinstance(error, RanksError), error
        assert f"rank {rank} of 3 waited" in str(error) and "picks" in str(error)
        assert fate == "killed" or "waited 5 s (timeout: 5) for" in str(error)
    assert time.monotonic() - begin < 20
    for rank in (0, 2):
        world.connections[rank].close()
        world.processes[rank].join(10)
        assert world.processes[rank].exitcode == 0, "the process cannot leave"


def test_a_rank_fails_by_itself(mortal):
    world = mortal(2)
    arguments = {"pool": POOL, "sizes": sizes_of(len(POOL), 2), "options": {"k": K, "timeout": 1}}
    mine, other = world.call(2, "kcenter_with_fate", **arguments, fates={0: "failed"}, after=0)
    assert isinstance(mine, ArithmeticError)
    assert isinstance(other, RanksError) and "waited 1 s (timeout: 1) for" in str(other)


def test_ctrl_c_ends_the_wait_for_others(mortal):
    assert mortal(2).call(2, "interrupted")[0] < 2  # milliseconds on an idle machine


def test_all_are_killed_and_others_go_on(mortal, world, tmp_path):
    """Two die in the middle; three go on, then four from there to more picks, then one alone."""
    path = tmp_path / "picks.json"
    options = {"k": K, "checkpoint": str(path), "checkpoint_seconds": 0}
    dying = mortal(2)
    arguments = {"pool": POOL, "sizes": sizes_of(len(POOL), 2), "options": options}
    dying.begin(2, "kcenter_with_fate", **arguments, fates={0: "killed", 1: "killed"}, after=300)
    for process in dying.processes:
        process.join(60)
        assert process.exitcode == -9
    at_death = path.read_bytes()
    assert 0 < at_death.count(b", ") < 2 * K, "some picks, not all"
    for ranks, k in ((3, K), (4, K + 200), (1, K - 100)):
        picks, radius = ops.kcenter_greedy(POOL, k, return_radius=True)
        answers = world.call(
            ranks, "kcenter", **{**arguments, "sizes": sizes_of(6000, ranks)} | {"options": options | {"k": k}}
        )
        for answer in answers:
            assert not isinstance(answer, Exception), answer
            np.testing.assert_array_equal(answer[0], picks)
            np.testing.assert_array_equal(answer[1], radius)
        assert path.read_bytes() != at_death
    assert answers[0][2].rounds == 0, "all of it was there"
    path.write_bytes(at_death)
    fresh = world.call(3, "kcenter", **arguments | {"sizes": [1, 2, 5997], "options": {"k": K}})[0][2].rounds
    resumed = world.call(3, "kcenter", **arguments | {"sizes": [1, 2, 5997]})[0][2].rounds
    assert resumed < fresh


def test_a_checkpoint_that_cannot_be_written_is_told_on_all_ranks(world, tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    options = {"k": K, "checkpoint": str(folder / "picks.json"), "checkpoint_seconds": 0}
    arguments = {"pool": POOL, "sizes": sizes_of(len(POOL), 3), "options": options}
    for answer in world.call(3, "kcenter_with_fate", **arguments, fates={0: "folder lost"}, after=300):
        assert isinstance(answer, ValueError) and "No such file or directory" in str(answer), answer
