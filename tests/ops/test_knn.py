"""knn: both backends against brute force in float64, and the recall that approximate answers tell against the true."""

from __future__ import annotations

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoal import checks, ops

NEAREST = sys.modules["autoal.ops.nearest"]
EXACT = sys.modules["autoal.ops.exact"]
KNN_MODULE = sys.modules["autoal.ops.knn"]
METRICS = ["l2", "cosine", "ip"]


@pytest.fixture(params=["faiss", "torch"])
def who(request, monkeypatch):
    """Who searches, FAISS being installed or not."""
    if request.param == "faiss":
        pytest.importorskip("faiss")
    else:
        monkeypatch.setitem(sys.modules, "faiss", None)
    return request.param


def brute_force(q, x, k, metric):
    q, x = np.asarray(q, np.float64), np.asarray(x, np.float64)
    if metric == "l2":
        far = np.sqrt(np.square(q[:, None] - x[None]).sum(2))
    elif metric == "ip":
        far = -(q @ x.T)
    else:
        norms = [np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12) for y in (q, x)]
        far = 1 - (q / norms[0]) @ (x / norms[1]).T
    order = far.argsort(axis=1, kind="stable")[:, :k]
    return np.abs(np.take_along_axis(far, order, 1)) if metric != "ip" else -np.take_along_axis(far, order, 1), order


def cloud(n, d, seed=0, offset=0.0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype("f4") + np.float32(offset)


@pytest.fixture(params=["faiss", "exact"])
def backend(request):
    if request.param == "faiss":
        pytest.importorskip("faiss")
    return request.param


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("q", "n", "d", "k"), [(1, 1, 1, 1), (3, 7, 2, 7), (20, 300, 17, 9), (5, 1000, 64, 33)])
def test_brute_force(q, n, d, k, metric, backend):
    queries, database = cloud(q, d, 1), cloud(n, d)
    distances, indices = ops.knn(queries, database, k, metric=metric, backend=backend)
    expected, order = brute_force(queries, database, k, metric)
    assert isinstance(indices, np.ndarray) and indices.dtype == np.int64 and distances.dtype == np.float32
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_our_tiles_do_not_show(metric, device, dtype, monkeypatch):
    queries, database = torch.from_numpy(cloud(40, 6, 1)).to(dtype), torch.from_numpy(cloud(333, 6)).to(dtype)
    monkeypatch.setattr(NEAREST, "TILE_QUERIES", 16)
    monkeypatch.setattr(NEAREST, "TILE_ROWS", 50)
    distances, indices = ops.knn(queries.to(device), database.to(device), 60, metric=metric, backend="exact")
    expected, order = brute_force(queries.double(), database.double(), 60, metric)
    assert indices.device.type == device
    np.testing.assert_allclose(distances.cpu(), expected, rtol=1e-4, atol=1e-6)
    agree = (indices.cpu().numpy() == order).mean()
    assert agree == 1 if dtype == torch.float32 else agree > 0.95, "halves round to ties"


@pytest.mark.parametrize("metric", METRICS)
def test_tiles_handed_to_faiss_do_not_show(metric, monkeypatch):
    pytest.importorskip("faiss")
    queries, database = cloud(40, 6, 1), cloud(333, 6)
    monkeypatch.setattr(NEAREST, "FAISS_QUERIES", 16)
    monkeypatch.setattr(NEAREST, "FAISS_NUMBERS", 50 * 6)
    distances, indices = ops.knn(queries, database, 60, metric=metric, backend="faiss")
    expected, order = brute_force(queries, database, 60, metric)
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=1e-6)


def test_the_origin_of_a_sorted_pool():
    rows = sys.modules["autoal.ops.rows"]
    x = torch.cat([torch.zeros(300, 4), torch.full((5000, 4), 1e4)])
    assert (rows.origin(rows.Rows(x), "l2") == 1e4).all()
    assert (rows.origin(rows.Rows(x[:3]), "l2") == 0).all()


@settings(max_examples=30)
@given(
    n=st.integers(1, 40),
    q=st.integers(0, 9),
    d=st.integers(1, 5),
    share=st.floats(0, 1),
    high=st.integers(0, 3),
    metric=st.sampled_from(["l2", "ip"]),
    seed=st.integers(0, 99),
)
def test_lattices_with_and_without_faiss(n, q, d, share, high, metric, seed):
    """Where sums are exact both give the distances of brute force, and ours its very rows."""
    rng = np.random.default_rng(seed)
    database, queries = (rng.integers(-high, high + 1, (m, d)).astype("f4") for m in (n, q))
    k = round(share * n)
    expected, order = brute_force(queries, database, k, metric)
    ours = ops.knn(queries, database, k, metric=metric, backend="exact")
    np.testing.assert_array_equal(ours.indices, order)
    if ops.backends()["faiss"]["live"]:
        theirs = ops.knn(queries, database, k, metric=metric, backend="faiss")
        np.testing.assert_array_equal(theirs.distances, ours.distances)
        np.testing.assert_allclose(theirs.distances, expected, rtol=1e-6)


def test_ties_go_to_the_lowest_index(lattice, device, monkeypatch):
    monkeypatch.setattr(NEAREST, "TILE_ROWS", 64)
    x = lattice(500, 2, high=2) + 7
    for metric in ("l2", "ip"):
        _, indices = ops.knn(x.to(device), x.to(device), 40, metric=metric, backend="exact")
        np.testing.assert_array_equal(indices.cpu(), brute_force(x, x, 40, metric)[1])


def tight_clusters(spread, d, offset=0.0, seed=0):
    """3,000 rows around 60 centers of length one, every tenth a copy of another."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((60, d))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    x = centers[rng.integers(0, 60, 3000)] + spread / d**0.5 * rng.standard_normal((3000, d)) + offset
    x[::10] = x[5::10]
    return x.astype("f4")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("spread", "d"), [(1e-2, 32), (1e-3, 256), (1e-4, 32), (1e-6, 8)])
def test_neighbors_that_are_close_compared_with_their_length(metric, spread, d, device, backend):
    """The k nearest by direct differences in float32, told apart as those are."""
    x = torch.from_numpy(tight_clusters(spread, d)).to(device)
    distances, indices = ops.knn(x[:300], x, 10, metric=metric, backend=backend if device == "cpu" else "exact")
    expected = NEAREST.told(x[None], x[:300, None], metric)
    order = expected.argsort(dim=1, stable=True, descending=metric == "ip")[:, :10]
    np.testing.assert_array_equal(indices.cpu(), order.cpu())
    np.testing.assert_array_equal(distances.cpu(), expected.gather(1, order).cpu())


def test_doubtful_queries_are_few_where_rows_are_not_close(monkeypatch, backend):
    searched, proved = [], EXACT._proved
    monkeypatch.setattr(EXACT, "_proved", lambda q, *rest: searched.append(len(q)) or proved(q, *rest))
    ops.knn(cloud(500, 64, 1), cloud(5000, 64), 10, backend=backend)
    assert sum(searched) < 10


@pytest.mark.parametrize("metric", METRICS)
def test_tiles_of_proofs_do_not_show(metric, monkeypatch):
    x = tight_clusters(1e-4, 32)
    whole = ops.knn(x[:300], x, 10, metric=metric, backend="exact")
    monkeypatch.setattr(EXACT, "PROOF_ROWS", 70)
    monkeypatch.setattr(EXACT, "PROOF_QUERIES", 50)
    monkeypatch.setattr(EXACT, "TILE_ROWS", 8)
    tiled = ops.knn(x[:300], x, 10, metric=metric, backend="exact")
    np.testing.assert_array_equal(tiled.indices, whole.indices)
    np.testing.assert_array_equal(tiled.distances, whole.distances)


def test_copies_are_at_distance_zero(backend):
    x = cloud(200, 32, offset=100)
    distances, indices = ops.knn(x, x, 2, backend=backend)
    np.testing.assert_array_equal(indices[:, 0], np.arange(200))
    assert (distances[:, 0] == 0).all()
    np.testing.assert_allclose(distances[:, 1], brute_force(x, x, 2, "l2")[0][:, 1], rtol=1e-5)


@pytest.fixture
def work(monkeypatch):
    """How many queries are searched again, and pairs compared directly: lists that grow."""
    searched, proved = [], EXACT._proved
    compared, nearest_pairs = [], EXACT._nearest_pairs
    monkeypatch.setattr(EXACT, "_proved", lambda q, *rest: searched.append(len(q)) or proved(q, *rest))
    monkeypatch.setattr(
        EXACT,
        "_nearest_pairs",
        lambda q, x, pairs, *rest: compared.append(len(pairs)) or nearest_pairs(q, x, pairs, *rest),
    )
    return searched, compared


def check_against_all_pairs(found, queries, x, k, metric, some):
    """The answers of some of the queries, told as all distances are."""
    queries, x = torch.from_numpy(queries[some]), torch.from_numpy(x)
    expected = torch.stack([NEAREST.told(x, q, metric) for q in queries])
    order = expected.argsort(dim=1, stable=True, descending=metric == "ip")[:, :k]
    np.testing.assert_array_equal(torch.as_tensor(found.indices).cpu()[some], order)
    np.testing.assert_array_equal(torch.as_tensor(found.distances).cpu()[some], expected.gather(1, order))


@pytest.mark.parametrize("metric", METRICS)
def test_copies_are_looked_for_where_a_pool_is_full_of_them(metric, device, backend, work):
    """20,000 copies of a row, 6,000 of another: equal queries are searched again once, k copies of a row compared."""
    x = cloud(27_000, 6)
    x[:2] *= 3  # so that by inner product too they are near themselves
    heaps = np.random.default_rng(1).permutation(27_000)[:26_000]
    x[heaps[:20_000]], x[heaps[20_000:]] = x[0], x[1]
    if metric == "cosine":  # copies of any length
        x *= 2.0 ** np.random.default_rng(2).integers(-9, 9, (27_000, 1))
    queries = np.concatenate([x[:21_000], x[np.sort(heaps[:200])] * (1 + 1e-3 * cloud(200, 6, 2))]).astype("f4")
    who = backend if device == "cpu" else "exact"
    q, database = (torch.from_numpy(y).to(device) for y in (queries, x))
    found = ops.knn(q, database, 9, metric=metric, backend=who)
    some = np.concatenate([np.arange(0, 21_000, 300), np.arange(21_000, 21_200, 20)])
    check_against_all_pairs(found, queries, x, 9, metric, some)
    searched, compared = work
    assert 0 < sum(searched) < 2000 and sum(compared) < 100 * sum(searched)


@pytest.mark.parametrize("metric", METRICS)
def test_a_heap_of_copies_costs_k_rows_whatever_the_tiles(metric, backend, work):
    x, k = cloud(60_000, 3), 200
    x[0] *= 3 / np.linalg.norm(x[0])
    x[np.random.default_rng(1).permutation(60_000)[:55_000]] = x[0]
    queries = x[:1] + 1e-3 * cloud(100, 3, 1)
    found = ops.knn(queries, x, k, metric=metric, backend=backend)
    check_against_all_pairs(found, queries, x, k, metric, [0, 50, 99])
    searched, compared = work
    assert sum(searched) == 100 and sum(compared) < 2 * k * 100, "not k of each of 15 tiles"


def test_a_row_of_zeros_is_at_cosine_distance_one(backend):
    x = cloud(5, 3)
    x[2] = 0
    distances, _ = ops.knn(np.zeros((1, 3), "f4"), x, 5, metric="cosine", backend=backend)
    assert (distances == 1).all()
    distances, indices = ops.knn(x[:1], x, 5, metric="cosine", backend=backend)
    assert distances[0, indices[0] == 2] == 1


def test_only_rows_of_zeros_have_no_direction(backend):
    x = np.array([[1, 0], [1e-13, 0], [1e-30, 1e-30], [1e15, 0], [0, 0], [-1e-30, 0]], "f4")
    distances, indices = ops.knn(x[:1], x, 6, metric="cosine", backend=backend)
    assert indices[0].tolist() == [0, 1, 3, 2, 4, 5]
    np.testing.assert_allclose(distances[0], [0, 0, 0, 1 - 0.5**0.5, 1, 2], rtol=1e-6)


def test_empty_answers(backend):
    x = cloud(5, 3)
    assert ops.knn(x[:0], x, 2, backend=backend).indices.shape == (0, 2)
    assert ops.knn(x, x, 0, backend=backend).distances.shape == (5, 0)


def true_recall(found, queries, database, k, metric):
    """Share of the true neighbors that are among those found, in float64; the data have no ties."""
    _, order = brute_force(queries, database, k, metric)
    return np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found, order, strict=True)])


@pytest.mark.parametrize("metric", METRICS)
def test_recall_is_what_it_says(metric, who):
    x = cloud(3000, 8)
    queries = cloud(700, 8, 1)
    seen = []
    for nprobe in (1, 4, 12):
        found = ops.knn(queries, x, 10, metric=metric, nprobe=nprobe)
        true = true_recall(found.indices, queries, x, 10, metric)
        assert abs(found.recall - true) < 0.04, "a sample of 256 queries, four standard errors"
        few = ops.knn(queries[:100], x, 10, metric=metric, nprobe=nprobe)
        assert few.recall == pytest.approx(true_recall(few.indices, queries[:100], x, 10, metric)), "all are measured"
        assert (found.nprobe, found.backend) == (nprobe, who)
        np.testing.assert_array_equal(ops.knn(queries, x, 10, metric=metric, nprobe=nprobe).indices, found.indices)
        seen.append(found.recall)
    assert seen[0] < seen[1] < seen[2] <= 1 and seen[0] < 0.9


def test_distances_of_an_approximate_answer_are_those_of_its_rows(who):
    x = cloud(3000, 8, offset=50)
    distances, indices = ops.knn(x[:100], x, 10, nprobe=2)
    direct = np.linalg.norm(x[indices].astype("f8") - x[:100, None], axis=2)
    np.testing.assert_allclose(distances, direct, rtol=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()


def test_probing_all_lists_is_exact_and_k_rows_are_always_found(who):
    x = cloud(3000, 8)
    expected = ops.knn(x[:100], x, 10, backend="exact")
    assert (expected.recall, expected.nprobe, expected.backend) == (1, None, "torch")
    everything = ops.knn(x[:100], x, 10, nprobe=10_000)
    np.testing.assert_array_equal(everything.indices, expected.indices)
    assert everything.recall == 1 and everything.nprobe == 54, "as many lists as there are"
    wide = ops.knn(x[:5], x, 2000, nprobe=1)
    assert (wide.indices >= 0).all() and all(len(set(row)) == 2000 for row in wide.indices.tolist())
    copies = np.repeat(cloud(5, 3), 100, axis=0)
    assert ops.knn(copies, copies, 20, nprobe=1).recall == 1, "any of the copies will do"


def test_a_target_takes_as_few_lists_as_reach_it(monkeypatch, who):
    monkeypatch.setattr(KNN_MODULE, "WORTH_ROWS", 1000)
    monkeypatch.setattr(KNN_MODULE, "WORTH_QUERIES", 600)
    monkeypatch.setattr(KNN_MODULE, "WORTH_SHARE", 1)
    x, queries = cloud(3000, 8), cloud(700, 8, 1)
    last = 0
    for target in (0.3, 0.8, 0.99):
        found = ops.knn(queries, x, 10, recall=target)
        true = true_recall(found.indices, queries, x, 10, "l2")
        assert found.nprobe > last and true > target - 0.03 and abs(found.recall - true) < 0.04
        if found.nprobe > 1:
            assert ops.knn(queries, x, 10, nprobe=found.nprobe // 2).recall < target + 0.03, "half would not do"
        last = found.nprobe


def test_the_recall_told_is_measured_on_queries_that_did_not_choose(monkeypatch, who):
    monkeypatch.setattr(KNN_MODULE, "WORTH_ROWS", 1000)
    monkeypatch.setattr(KNN_MODULE, "WORTH_QUERIES", 400)
    asked, exact = [], KNN_MODULE.exact

    def watched(q, *arguments, **options):
        asked.append({tuple(row.tolist()) for row in q[:]})
        return exact(q, *arguments, **options)

    monkeypatch.setattr(KNN_MODULE, "exact", watched)
    assert ops.knn(cloud(500, 8, 1), cloud(3000, 8), 10, recall=0.5).nprobe
    assert [len(rows) for rows in asked] == [250, 250] and not asked[0] & asked[1]


def test_a_target_where_nothing_is_saved_is_met_exactly(monkeypatch, who):
    def search(n, d, target):
        x = cloud(n, d)
        found = ops.knn(x, x, 5, recall=target)
        np.testing.assert_array_equal(found.indices[:50], brute_force(x[:50], x, 5, "l2")[1])
        return found.recall, found.nprobe, found.backend

    assert search(100, 4, 0.5) == (1, None, who), "few rows"
    monkeypatch.setattr(KNN_MODULE, "WORTH_ROWS", 100)
    assert search(100, 4, 0.5) == (1, None, who), "few queries"
    monkeypatch.setattr(KNN_MODULE, "WORTH_QUERIES", 100)
    assert search(1000, 40, 0.95) == (1, None, who), "rows without clusters: many lists"


def test_a_pair_that_keeps_its_attributes():
    x = cloud(50, 3)
    found = ops.knn(x, x, 2)
    distances, indices = found
    assert found[0] is distances and found.indices is indices and len(found) == 2
    twin = copy.deepcopy(found)
    assert (twin.recall, twin.nprobe, twin.backend) == (found.recall, found.nprobe, found.backend)
    np.testing.assert_array_equal(twin.indices, indices)


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_dropped(metric, backend):
    x = cloud(60, 4)
    x[3], x[40, 1] = np.nan, np.inf
    kept = np.delete(np.arange(60), [3, 40])
    distances, indices = ops.knn(x, x, 7, metric=metric, backend=backend, on_nonfinite="drop")
    expected, order = brute_force(x[kept], x[kept], 7, metric)
    np.testing.assert_array_equal(indices[kept], kept[order])
    np.testing.assert_allclose(distances[kept], expected, rtol=1e-4, atol=1e-6)
    assert (indices[[3, 40]] == -1).all()
    assert (distances[[3, 40]] == (-np.inf if metric == "ip" else np.inf)).all()
    with pytest.raises(ValueError, match="k must be between 0 and 58"):
        ops.knn(x, x, 59, on_nonfinite="drop")


def test_dropped_rows_and_an_inverted_file(who):
    x = cloud(3000, 8)
    x[::7] = np.nan
    kept = np.flatnonzero(np.isfinite(x).all(1))
    found = ops.knn(x, x, 5, nprobe=1000, on_nonfinite="drop")
    np.testing.assert_array_equal(found.indices[kept], kept[ops.knn(x[kept], x[kept], 5, backend="exact").indices])
    assert found.recall == 1 and (found.indices[::7] == -1).all()


HELD = """
import sys, threading, time
import numpy as np
from autoal import ops

def held():
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("RssAnon"))

def watch():
    while not done:
        peak.append(held())
        time.sleep(0.002)

x = np.load(sys.argv[1], mmap_mode="r")
call = lambda x: ops.knn(np.ones((64, 256), "f4"), x, 5, metric="cosine", backend=sys.argv[2])
call(np.array(x[:20000]))  # what is loaded on first use
peak, done = [held()], []
thread = threading.Thread(target=watch)
thread.start()
call(x)
done.append(1)
thread.join()
print(max(peak) - peak[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_copy_of_a_memory_map(tmp_path, backend):
    mapped = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "f4", (400_000, 256))  # 410 MB, sparse on disk
    mapped[::1000] = 1
    mapped.flush()
    command = [sys.executable, "-c", HELD, str(tmp_path / "x.npy"), backend]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(run.stdout) < 200, "MB"  # what every core's buffers take, half of the pool at most


def test_which_one_ran(monkeypatch):
    x = cloud(5, 3)
    assert ops.knn(x, x, 1, backend="exact").backend == "torch"
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    assert ops.knn(x, x, 1).backend == "torch"
    assert not ops.backends()["faiss"]["live"] and "pip install 'autoal[cpu]'" in ops.backends()["faiss"]["reason"]
    with pytest.raises(checks.MissingExtraError, match=r"faiss.*pip install 'autoal\[cpu\]'"):
        ops.knn(x, x, 1, backend="faiss")


def test_auto_takes_faiss_where_it_is(monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setattr(NEAREST, "_smallest", None)  # would fail if called
    found = ops.knn(cloud(5, 3), cloud(5, 3), 1)
    assert found.indices[:, 0].tolist() == list(range(5)) and found.backend == "faiss"


@pytest.mark.parametrize("metric", METRICS)
def test_inverted_files_on_each_device(metric, device):
    queries, database = (torch.from_numpy(y).to(device) for y in (cloud(300, 8, 1), cloud(3000, 8)))
    found = ops.knn(queries, database, 10, metric=metric, nprobe=4)
    assert found.indices.device.type == device
    true = true_recall(found.indices[:256].cpu().numpy(), queries[:256].cpu(), database.cpu(), 10, metric)
    assert abs(found.recall - true) < 0.04 and 0.3 < true < 1
    everything = ops.knn(queries, database, 10, metric=metric, nprobe=1000)
    expected = ops.knn(queries, database, 10, metric=metric, backend="exact")
    assert everything.recall == 1 and (everything.indices == expected.indices).float().mean() > 0.999


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_faiss_on_the_gpu(metric):
    if not ops.backends()["faiss"]["gpu"]:
        pytest.skip("no GPU build of FAISS with a live device")
    queries, database = torch.from_numpy(cloud(700, 8, 1)).cuda(), torch.from_numpy(cloud(3000, 8)).cuda()
    expected = ops.knn(queries, database, 10, metric=metric, backend="exact")
    exact = ops.knn(queries, database, 10, metric=metric, backend="faiss")
    assert exact.backend == "faiss" and exact.indices.is_cuda
    assert (exact.indices == expected.indices).float().mean() > 0.999
    everything = ops.knn(queries, database, 10, metric=metric, backend="faiss", nprobe=1000)
    assert everything.recall == 1 and (everything.indices == expected.indices).float().mean() > 0.999


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"k": 6}, ValueError, "k must be between 0 and 5, the rows of the database; got 6"),
        ({"metric": "l1"}, ValueError, "unknown metric 'l1'"),
        ({"backend": "hnsw"}, ValueError, "unknown backend 'hnsw'"),
        ({"backend": "exact", "nprobe": 3}, ValueError, "nprobe looks into some lists, backend='exact' at all rows"),
        ({"nprobe": 0}, ValueError, "nprobe must be at least 1"),
        ({"nprobe": 3, "recall": 0.9}, ValueError, "not both"),
        ({"recall": 1.0}, ValueError, "recall must lie between 0 and 1, got 1.0: leave it out"),
        ({"recall": "high"}, TypeError, "recall must be a number between 0 and 1, got 'high'"),
        ({"on_nonfinite": "keep"}, ValueError, "unknown on_nonfinite 'keep'"),
        ({"queries": cloud(2, 4)}, ValueError, "rows of one length, got 4 and 3"),
        ({"queries": np.full((2, 3), np.nan, "f4")}, ValueError, "queries holds NaN or Inf in rows 0, 1"),
        ({"database": np.zeros(3, "f4")}, ValueError, r"database must be \[N, D\] float"),
        ({"database": np.zeros((5, 3), int)}, TypeError, "database must be"),
    ],
)
def test_errors(options, error, message):
    arguments = {"queries": cloud(2, 3), "database": cloud(5, 3), "k": 1, **options}
    with pytest.raises(error, match=message):
        ops.knn(arguments.pop("queries"), arguments.pop("database"), arguments.pop("k"), **arguments)
