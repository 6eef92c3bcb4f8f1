"""The native module by itself: instruction sets, threads, forks, the GIL, interrupts, exactness."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from autoal import _core
from autoal.ops import native

cpu = _core.cpu


def at(array):
    return array.ctypes.data


def matrix(x, dtype=0):
    return _core.Matrix(at(x), *x.shape, dtype)


def kcenter(x, k, first=0, centers=(), dtype=0, tick=None, passes=0):
    centers = np.asarray(centers, np.int64)
    picks, radius, filled = np.empty(k, np.int64), np.empty(k, np.float32), np.empty(1, np.int64)
    cpu.kcenter_greedy(
        matrix(x, dtype), 0, at(centers), len(centers), 0, 0, first, k, passes, at(picks), at(radius), at(filled), tick
    )
    return picks.tolist(), radius.tolist(), int(filled[0])


def kmeanspp(x, k, seed=0, passes=0):
    picks, filled = np.empty(k, np.int64), np.empty(1, np.int64)
    cpu.kmeanspp(matrix(x), 0, 0, -1, k, seed, passes, at(picks), at(filled), None)
    return picks.tolist(), int(filled[0])


def badge(logits, h, k, seed=0, passes=0):
    picks, filled, bad = np.empty(k, np.int64), np.empty(1, np.int64), np.empty(1, np.int64)
    cpu.gradient_kmeanspp(
        matrix(logits), 0, 1e-3, matrix(h), 0, 0, k, seed, passes, at(picks), at(filled), at(bad), None
    )
    return picks.tolist(), int(filled[0]), int(bad[0])


def scores(x, dtype=0):
    out, bad = np.empty((3, len(x)), np.float32), np.empty(1, np.int64)
    cpu.uncertainty_scores(matrix(x, dtype), 0, 1e-3, *map(at, out), at(bad))
    return out, int(bad[0])


def lattice(n, d, seed=0):
    return np.random.default_rng(seed).integers(-4, 5, (n, d)).astype(np.float32)


def gaussian(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d), dtype=np.float32)


def test_instruction_sets():
    assert cpu.isas()[0] == "base" and cpu.isa() in cpu.isas()
    with pytest.raises(ValueError, match="no instruction set 'mmx'; it has: base"):
        cpu.set_isa("mmx")


@pytest.mark.parametrize("isa", cpu.isas())
def test_environment_chooses_the_instruction_set(isa):
    code = "from autoal import _core; print(_core.cpu.isa())"
    environment = os.environ | {"AUTOAL_CPU": isa}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == isa


@pytest.mark.parametrize("d", [1, 2, 15, 16, 17, 63, 64, 65, 130])
def test_selections_agree_across_instruction_sets_and_threads_on_a_lattice(d):
    x = lattice(9000, d)
    results = []
    for isa in cpu.isas():
        for threads in (1, 2, 5):
            cpu.set_isa(isa)
            cpu.set_num_threads(threads)
            results.append((kcenter(x, 12), kmeanspp(x, 12), kcenter(x, 3, first=-1, centers=[5, 7])))
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("isa", cpu.isas())
def test_threads_change_nothing_on_any_data(isa):
    cpu.set_isa(isa)
    x, logits = gaussian(20_000, 40), gaussian(20_000, 7, 1)
    results = []
    for threads in (1, 2, 3):
        cpu.set_num_threads(threads)
        out, bad = scores(logits)
        results.append((kcenter(x, 10), kmeanspp(x, 10), badge(logits, x, 10), out.tobytes(), bad))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("isa", cpu.isas())
@pytest.mark.parametrize("d", [3, 16, 77])
def test_copies_are_at_distance_zero_exactly(isa, d):
    cpu.set_isa(isa)
    x = np.tile(gaussian(6, d), (4, 1))
    picks, radius, filled = kcenter(x, 10)
    assert len({p % 6 for p in picks[:6]}) == 6 and radius[5:] == [0.0] * 5 and filled == 4
    logits = np.tile(gaussian(6, 5, 3), (4, 1))
    picks, filled, _ = badge(logits, x, 9)
    assert len({p % 6 for p in picks[:6]}) == 6 and filled == 3


@pytest.mark.parametrize("isa", cpu.isas())
@pytest.mark.parametrize("d", [1, 15, 16, 17, 40])
def test_halves_are_read_as_the_numbers_they_are(isa, d):
    cpu.set_isa(isa)
    x = lattice(300, d)
    half, bfloat = x.astype(np.float16), (x.view(np.uint32) >> 16).astype(np.uint16)
    assert kcenter(x, 8) == kcenter(half, 8, dtype=1) == kcenter(bfloat, 8, dtype=2)
    np.testing.assert_array_equal(scores(x)[0], scores(half, 1)[0])
    np.testing.assert_array_equal(scores(x)[0], scores(bfloat, 2)[0])


@pytest.mark.parametrize("isa", cpu.isas())
def test_lowest_bad_row_is_told(isa):
    cpu.set_isa(isa)
    for value in (np.nan, np.inf):
        x = gaussian(70_000, 3)
        x[[65_000, 66_001], 1] = value
        assert scores(x)[1] == 65_000
    x[:] = 0
    x[[9, 8]] = -np.inf
    assert scores(x)[1] == 8
    assert scores(gaussian(10, 3))[1] == 10


def test_edges():
    assert kcenter(gaussian(1, 1), 1) == ([0], [0.0], 0)
    assert kcenter(gaussian(5, 2), 0) == ([], [], 0)
    assert sorted(kcenter(gaussian(5, 2), 5)[0]) == list(range(5))
    assert sorted(kmeanspp(gaussian(5, 2), 5)[0]) == list(range(5))
    assert kmeanspp(np.zeros((4, 2), np.float32), 4, seed=3)[1] == 3


def test_forced_first_pick_fills_nothing():
    x = np.zeros((4, 1), np.float32)
    x[3] = 5
    assert kcenter(x, 1, first=1, centers=[0])[2] == 0
    assert kcenter(x, 3, first=1, centers=[0]) == ([1, 3, 2], [5.0, 0.0, 0.0], 1)


def _child(queue):
    queue.put(kcenter(lattice(30_000, 16), 5))


def test_a_forked_child_has_threads_of_its_own():
    cpu.set_num_threads(3)
    want = kcenter(lattice(30_000, 16), 5)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == want
    child.join(30)
    assert child.exitcode == 0


def test_the_gil_is_released():
    x = gaussian(100_000, 64)
    ticks, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    start, before = time.perf_counter(), ticks[0]
    kcenter(x, 60)
    seconds, counted = time.perf_counter() - start, ticks[0] - before
    stop.set()
    thread.join()
    assert counted > seconds / 0.001 / 50


def test_many_python_threads_at_once():
    want = kcenter(lattice(30_000, 16), 5)
    results = []
    threads = [threading.Thread(target=lambda: results.append(kcenter(lattice(30_000, 16), 5))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [want] * 6


def test_ctrl_c_is_answered_within_half_a_second():
    x = gaussian(200_000, 64)
    threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        kcenter(x, 100_000)
    assert time.perf_counter() - start < 0.4 + 0.5 + 0.5  # the last half: a busy machine


def test_many_labeled_rows_do_not_make_it_deaf():
    """All rows meet all labeled ones before the first pick."""
    x, times = gaussian(6000, 2048), [time.perf_counter()]
    kcenter(x, 30, first=-1, centers=np.arange(0, 6000, 2), tick=lambda _: times.append(time.perf_counter()))
    times.append(time.perf_counter())
    assert max(np.diff(times)) < 0.5 + 0.5  # the last half: a busy machine


def test_flushed_subnormals_are_flushed_on_all_threads():
    code = """
import numpy as np, torch
from autoal import _core, ops
assert torch.set_flush_denormal(True)
ops.set_num_threads(4)
x = np.full((400_000, 1), 1e-21, np.float32)  # squares are subnormal
norms = ops.native.squared_norms(torch.from_numpy(x))
assert len(norms.unique()) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_progress_is_told_and_may_end_the_op():
    told = []

    def tick(picked):
        told.append(picked)
        if len(told) == 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        kcenter(gaussian(100_000, 64), 50_000, tick=tick)
    assert told == sorted(told) and told[-1] > 0


def test_hot_objects_hold_no_shared_standard_library_code():
    """An inline function compiled for AVX-512 must not become the copy that everyone uses: no weak symbols there."""
    import pathlib

    cpu = pathlib.Path(__file__).parents[2] / "csrc" / "cpu"
    headers = ["vector.h", "columns.h", "softmax.h"]
    allowed = {"<stddef.h>", "<stdint.h>", *(f'"cpu/{name}"' for name in headers)}
    for path in [*(cpu / name for name in headers), *cpu.glob("hot_*.cpp")]:
        included = {line.split()[1] for line in path.read_text().splitlines() if line.startswith("#include")}
        assert included <= allowed


@pytest.mark.parametrize("order", ["import torch; from autoal import _core", "from autoal import _core; import torch"])
def test_lives_beside_torch_in_either_order(order):
    code = f"{order}\nimport numpy as np\nassert torch.ones(1000, 1000).mm(torch.ones(1000, 1000))[0, 0] == 1000\n"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_compared_pairs_are_counted():
    x = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0))
    none = torch.empty(0, dtype=torch.int64)
    native.take_counts()
    native.kcenter_greedy(x, None, none, 0, 30, native.PLAIN)
    native.kmeanspp(x, 0, 30, 1, native.PLAIN)
    assert native.take_counts() == (3000 * 30 + 3000 * 29, 0)
    lazy, before = [], native.cpu.num_threads()
    for threads in (1, 3):
        native.cpu.set_num_threads(threads)
        native.kcenter_greedy(x, None, none, 0, 300, native.LAZY)
        lazy.append(native.take_counts())
    native.cpu.set_num_threads(before)
    assert lazy[0] == lazy[1] and 0 < sum(lazy[0]) < 3000 * 300
    ones, targets = torch.ones(3000), torch.arange(3000)
    native.coverage_greedy(x, None, targets, ones, None, ones, 0 * ones, none, 1.0, 5, native.PLAIN)
    alone, in_panels = native.take_counts()
    assert in_panels == 3000 * (3000 + 2999 + 2998 + 2997 + 2996) + 5 * 3000
    assert 3000 <= alone < in_panels / 20  # near pairs again, each row with itself among them
