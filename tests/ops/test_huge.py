"""Pools whose offsets do not fit into 32 bits, through every op; the answers are known by construction.

Rows are zeros but a few, some of them where an element's or a byte's number passes a power of two. Memory that nobody
wrote costs none, so that on a CPU such a pool is nearly free; a device has to hold it.
"""

import math
import os

import numpy as np
import pytest
import torch

from autoal import ops

pytestmark = [
    pytest.mark.huge,
    pytest.mark.skipif(not os.environ.get("AUTOAL_TEST_HUGE"), reason="takes minutes: set AUTOAL_TEST_HUGE=1"),
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("error"),
]

GIB = 1 << 30
ELEMENTS = 2**32
D = 512
N = ELEMENTS // D + 3


def corners(n, width):
    """Rows [L] around the bytes and elements 2^31 and 2^32 of float16 rows of this width, others, and the last one.

    They are more than CUDA's k-center takes plain passes for.
    """
    first_behind = np.array([2**30, 2**31, 2**32]) // width
    near = np.add.outer(first_behind, [-1, 0, 1]).ravel()
    others = np.random.default_rng(0).integers(1, n, 90)
    return np.unique([*near[(near > 0) & (near < n)], *others, n - 1])


@pytest.fixture
def zeros(device):
    """Makes zeros of float16; skips where they, and ``beside`` bytes of what an op needs, find no room there."""

    def make(*shape, beside=0):
        n_bytes = 2 * math.prod(shape)
        if device == "cuda":
            if torch.cuda.mem_get_info()[0] < n_bytes + beside + 4 * GIB:
                pytest.skip(f"needs {(n_bytes + beside) / GIB + 4:.0f} GiB free on the device")
            return torch.zeros(shape, dtype=torch.float16, device=device)
        return torch.from_numpy(np.zeros(shape, np.float16))  # unlike torch.zeros, writes nothing

    return make


@pytest.fixture
def pool(zeros):
    """x [N, D]; the rows [L] that are not zero, all at right angles to each other; and their lengths [L]."""
    x, rows = zeros(N, D), corners(N, D)
    lengths = 64 + np.random.default_rng(1).permutation(len(rows)) / 4
    x[torch.from_numpy(rows), torch.arange(len(rows))] = torch.from_numpy(lengths).to(x)
    return x, rows, lengths


@pytest.mark.parametrize("k", [5, 1000])  # passes over all rows; lazily
def test_huge_kcenter(pool, k):
    x, rows, lengths = pool
    order = np.argsort(-lengths)[: k - 1]
    picks, radius = ops.kcenter_greedy(x, 1 + len(order), first=0, return_radius=True)
    assert picks.tolist() == [0, *rows[order]]
    assert radius.tolist() == [*lengths[order], *([0.0] if k > len(rows) else [np.sort(lengths)[-k]])]


def test_huge_kcenter_beside_labeled_rows(pool):
    x, rows, lengths = pool
    order = np.argsort(-lengths[:-1])
    assert ops.kcenter_greedy(x, len(rows), labeled=[N - 1]).tolist() == [*rows[order], 0]


def test_huge_kcenter_by_cosine(pool):
    x, rows, _ = pool
    picks = ops.kcenter_greedy(x, 1 + len(rows), first=0, metric="cosine").tolist()
    assert picks[0] == 0 and sorted(picks[1:]) == rows.tolist()  # all as far, but for rounding


def test_huge_kcenter_of_a_file(tmp_path):
    rows = corners(N, D)
    x = np.memmap(tmp_path / "pool", np.float16, "w+", shape=(N, D))  # with holes: takes no disk
    x[rows, 0] = np.arange(1, 1 + len(rows))
    x.flush()
    x = np.memmap(tmp_path / "pool", np.float16, "r", shape=(N, D))
    picks = ops.kcenter_greedy(x, 3, first=0)
    assert picks.tolist() == [0, N - 1, rows[len(rows) // 2 - 1]]


@pytest.mark.parametrize("k", [5, 1000])
def test_huge_kmeanspp(pool, k):
    x, rows, _ = pool
    picks = ops.kmeanspp(x, min(k, 1 + len(rows)), first=0).tolist()
    assert picks[0] == 0 and len(set(picks)) == len(picks) and set(picks[1:]) <= set(rows.tolist())


@pytest.mark.parametrize("k", [5, 1000])
def test_huge_gradient_kmeanspp(pool, zeros, k):
    x, rows, lengths = pool
    picks = ops.gradient_kmeanspp(zeros(N, 2), x, min(k, 1 + len(rows))).tolist()
    assert picks[0] == rows[lengths.argmax()]
    assert len(set(picks) & set(rows.tolist())) == len(picks) - 1  # and one of the zeros: then all others weigh nothing


def test_huge_gradient_kmeanspp_of_many_classes(zeros):
    n, c = 2**31 // 64 + 3, 64
    logits, h, rows = zeros(n, c, beside=5 * n * c), zeros(n, 8), corners(n, c)
    h[torch.from_numpy(rows), 0] = 64 + torch.arange(len(rows)).to(h)
    logits[torch.from_numpy(rows), torch.arange(len(rows)) % c] = 1.0
    picks = ops.gradient_kmeanspp(logits, h, 1 + len(rows)).tolist()
    assert picks[0] == rows[-1] and len(set(picks) & set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("c", [32, 1000])  # rows side by side; a row at a time
def test_huge_uncertainty_scores(zeros, c):
    n = ELEMENTS // c + 3
    x, rows = zeros(n, c, beside=5 * 4 * n), torch.from_numpy(corners(n, c))
    x[rows, rows % c] = 30.0
    for scores, sure, unsure in zip(ops.uncertainty_scores(x), (0, 0, 0), (math.log(c), 1, 1 - 1 / c), strict=True):
        assert torch.equal((scores < unsure / 2).nonzero()[:, 0].cpu(), rows)
        assert float((scores[rows] - sure).abs().max()) < 1e-6
        scores[rows] = unsure
        assert float(scores.min()) > unsure - 1e-5 and float(scores.max()) < unsure + 1e-5


@pytest.mark.parametrize(("layout", "axes"), [("TNC", (0, 1, 2)), ("NTC", (1, 0, 2)), ("NCT", (1, 2, 0))])
def test_huge_mc_uncertainty_scores(zeros, layout, axes):
    t, c = 4, 1000
    n = ELEMENTS // (t * c) + 3
    mc = zeros(*((t, n, c)[axis] for axis in axes))
    rows = torch.from_numpy(corners(n, c if layout == "TNC" else t * c))
    for sample in range(t):
        mc.permute(*(axes.index(axis) for axis in range(3)))[sample, rows, 10 * sample] = 30.0
    answers = math.log(t), math.log(t), math.sqrt(1 / t * (1 - 1 / t)) * t / c, 1 - 1 / t
    for scores, split, agreed in zip(
        ops.mc_uncertainty_scores(mc, layout=layout), answers, (0, math.log(c), 0, 0), strict=True
    ):
        assert float((scores[rows] - split).abs().max()) < 1e-5
        scores[rows] = agreed
        assert float((scores - agreed).abs().max()) < 1e-5


def test_huge_coverage_greedy(pool):
    x, rows, _ = pool
    weights = torch.zeros(N, device=x.device)
    worth = 100 - np.random.default_rng(2).permutation(len(rows)) / 4
    weights[torch.from_numpy(rows)] = torch.from_numpy(worth).to(weights)
    weights[:20] = 1e-3  # more rows of weight than targets, so that these are drawn
    picks = ops.coverage_greedy(
        x, len(rows), weights=weights, bandwidth=1.0, metric="l2", targets=len(rows) + 10, return_gains=True
    )
    order = np.argsort(-worth)
    assert picks.indices.tolist() == rows[order].tolist()  # far apart: each covers itself alone
    np.testing.assert_allclose(picks.gains.cpu(), worth[order], rtol=1e-5)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_huge_knn(pool, metric):
    x, rows, _ = pool
    found = ops.knn(x[torch.from_numpy(rows)], x, 1, metric=metric, backend="exact")
    assert found.indices[:, 0].tolist() == rows.tolist()
    assert float(found.distances.abs().max()) == pytest.approx(0, abs=1e-6)
