"""The kernels on a GPU at the sizes that their bars name, beside what the device copies and multiplies at best.

Each kernel runs in a process of its own, with a limit: one that fails or hangs leaves the figures of the others whole.
Its answers are checked first; what is wrong with them is told beside the figures, not in their stead.
``--device cpu --quick`` shows that all of it runs.
"""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from bench_coverage_greedy import assert_greedy, similarities
from bench_gradient_kmeanspp import torch_loop as gradient_loop
from bench_kcenter_greedy import FEW, torch_differences, torch_products
from bench_kmeanspp import torch_loop as d2_loop
from bench_knn import torch_cdist
from bench_mc_uncertainty_scores import torch_scores as torch_mc_scores
from bench_uncertainty_scores import torch_scores
from harness import Benchmark, PerPick, Row, pool, potential
from torch import Tensor

from autoal import ops
from autoal.ops import native, reference

SECONDS = 100  # for one kernel, its process's start included
POOLS = "gaussian", "embedding", "mixture"
FEW_ROWS = 4096  # on which answers are compared with slow definitions


@dataclass(frozen=True)
class Bar:
    """What is asked of one figure of a row: seconds at most, or a share or multiple at least."""

    case: str
    what: str
    asked: float
    measured: float

    @property
    def met(self) -> bool:
        """Whether it is."""
        return self.measured <= self.asked if self.what == "seconds" else self.measured >= self.asked


def selection_size(bench: Benchmark) -> tuple[int, int, int]:
    """N, D and k."""
    return (20_000, 64, 100) if bench.quick else (1_000_000, 512, 10_000)


def covering_radius(x: Tensor, picks: Tensor) -> float:
    """Of the picks over all rows, by matrix products."""
    return max(float(torch.cdist(part, x[picks]).min(1).values.max()) for part in x.split(16_384))


def kcenter_greedy(bench: Benchmark) -> list[Bar]:
    """Farthest-first picks of a large pool; the radius is measured anew over the whole of it."""
    n, d, k = selection_size(bench)
    bars = []
    for name in POOLS:
        x = pool(name, n, d, device=bench.device)

        def check(x: Tensor = x) -> None:
            small, none = x[:FEW_ROWS], torch.empty(0, dtype=torch.int64, device=x.device)
            few = ops.kcenter_greedy(small, FEW, first=0).tolist()
            assert few == torch_differences(small, FEW), "not farthest-first"
            lazy, plain = (native.kcenter_greedy(small, None, none, 0, 300, p) for p in (native.LAZY, native.PLAIN))
            assert all(map(torch.equal, lazy, plain)), "lazy is not plain to the bit"
            picks, radius = ops.kcenter_greedy(x, k, first=0, return_radius=True)
            assert len(set(picks.tolist())) == k and bool((radius[1:] <= radius[:-1]).all())
            assert abs(covering_radius(x, picks) / float(radius[-1]) - 1) < 1e-2, "not the covering radius"

        row = measure(
            bench, f"kcenter_greedy, {name} {n:,} x {d}, k={k:,}", lambda x=x: ops.kcenter_greedy(x, k, first=0), check,
            4 * n * d, {"torch products": PerPick(lambda n, x=x: torch_products(x, n), k)},
        )  # fmt: skip
        bars.append(Bar(row.case, "seconds", 0.15, row.seconds))
    return bars


def kmeanspp(bench: Benchmark) -> list[Bar]:
    """D^2 sampling of the same pools."""
    n, d, k = selection_size(bench)
    bars = []
    for name in POOLS:
        x = pool(name, n, d, device=bench.device)

        def check(x: Tensor = x) -> None:
            small = x[:FEW_ROWS]
            ours = sum(potential(small, ops.kmeanspp(small, 50, seed=seed)) for seed in range(10))
            theirs = sum(potential(small, d2_loop(small, 50, seed)) for seed in range(10))
            assert 0.9 < ours / theirs < 1.1, "not the potential of D^2 sampling"
            assert len(set(ops.kmeanspp(x, k).tolist())) == k

        row = measure(
            bench, f"kmeanspp, {name} {n:,} x {d}, k={k:,}", lambda x=x: ops.kmeanspp(x, k), check,
            4 * n * d, {"torch loop": PerPick(lambda n, x=x: d2_loop(x, n), k)},
        )  # fmt: skip
        bars.append(Bar(row.case, "seconds", 0.02, row.seconds))
    return bars


def gradient_kmeanspp(bench: Benchmark) -> list[Bar]:
    """BADGE of 1,000 classes."""
    n, d, k = selection_size(bench)
    c = 1000
    h = pool("embedding", n, d, device=bench.device)
    logits = 6 * torch.randn(n, c, generator=torch.Generator(bench.device).manual_seed(c), device=bench.device)

    def check() -> None:
        small = logits[:512, :20], h[:512, :16]
        expected = reference.gradient_kmeanspp(small[0].cpu(), False, 1e-3, small[1].cpu(), 30, 3)[0]
        assert ops.gradient_kmeanspp(*small, 30, seed=3).tolist() == expected.tolist()
        assert len(set(ops.gradient_kmeanspp(logits, h, k).tolist())) == k

    row = measure(
        bench, f"gradient_kmeanspp, {n:,} x (C={c} + D={d}), k={k:,}", lambda: ops.gradient_kmeanspp(logits, h, k),
        check, 4 * n * (c + d), {"torch loop, factored": PerPick(lambda n: gradient_loop(logits, h, n), k)},
    )  # fmt: skip
    return [Bar(row.case, "seconds", 0.06, row.seconds)]


def coverage_greedy(bench: Benchmark) -> list[Bar]:
    """Facility location with 1,000 drawn targets; no bar is set."""
    n, d, k = selection_size(bench)
    x = pool("embedding", n, d, device=bench.device)
    k //= 10

    def check() -> None:
        small = x[:1000]
        picks = ops.coverage_greedy(small, 50, bandwidth=2.0, metric="l2").tolist()
        assert_greedy(similarities(small.double().cpu(), 2.0), picks)
        assert len(set(ops.coverage_greedy(x, k, bandwidth=2.0, targets=1000).tolist())) == k

    measure(
        bench, f"coverage_greedy, {n:,} x {d}, k={k:,}, 1,000 targets",
        lambda: ops.coverage_greedy(x, k, bandwidth=2.0, targets=1000), check, 4 * n * d, {},
    )  # fmt: skip
    return []


def scores_size(bench: Benchmark) -> int:
    """Numbers read: enough that what a call costs beside its kernel does not count."""
    return 1 << (20 if bench.quick else 30)


def uncertainty_scores(bench: Benchmark) -> list[Bar]:
    """Scores of few and many classes, beside the copy and beside eager torch; of 1,001, rows start anywhere."""
    bars = []
    for c in (10, 100, 1000, 1001):
        x = torch.randn(scores_size(bench) // c, c, device=bench.device).mul_(3)
        for dtype in (torch.float32, torch.bfloat16):
            y = x.to(dtype)

            def check(y: Tensor = y) -> None:
                for ours, theirs in zip(ops.uncertainty_scores(y), torch_scores(y[:5000].double()), strict=True):
                    torch.testing.assert_close(ours[:5000].double(), theirs, rtol=0, atol=3e-6)

            row = measure(
                bench, f"uncertainty_scores, {len(y):,} x {c} {str(dtype)[6:]}", lambda y=y: ops.uncertainty_scores(y),
                check, y.numel() * y.element_size(), {"torch eager": lambda y=y: torch_scores(y)}, repeats=10,
            )  # fmt: skip
            bars += bars_of_scores(bench, row, c)
    return bars


def mc_uncertainty_scores(bench: Benchmark) -> list[Bar]:
    """The same of ten samples."""
    bars = []
    for c in (10, 100, 1000):
        x = torch.randn(10, scores_size(bench) // 10 // c, c, device=bench.device)
        for dtype in (torch.float32, torch.bfloat16):
            y = x.to(dtype)

            def check(y: Tensor = y) -> None:
                theirs = torch_mc_scores(y[:, :2000].double())
                for ours, their in zip(ops.mc_uncertainty_scores(y), theirs, strict=True):
                    torch.testing.assert_close(ours[:2000].double(), their.double(), rtol=0, atol=5e-6)

            row = measure(
                bench, f"mc_uncertainty_scores, 10 x {y.shape[1]:,} x {c} {str(dtype)[6:]}",
                lambda y=y: ops.mc_uncertainty_scores(y), check, y.numel() * y.element_size(),
                {"torch eager": lambda y=y: torch_mc_scores(y)}, repeats=10,
            )  # fmt: skip
            bars += bars_of_scores(bench, row, c)
    return bars


def knn(bench: Benchmark) -> list[Bar]:
    """The exact search; no bar is set."""
    n, d, _ = selection_size(bench)
    x = pool("embedding", n, d, device=bench.device)
    q = x[:2000]

    def check() -> None:
        found, expected = ops.knn(q, x, 20, backend="exact").indices, torch_cdist(q, x, 20)
        assert (found == expected).float().mean() > 0.99

    peers = {"torch cdist": lambda: torch_cdist(q, x, 20)}
    name = f"knn, {len(q):,} of {n:,} x {d}, k=20"
    measure(bench, name, lambda: ops.knn(q, x, 20, backend="exact"), check, 4 * n * d, peers, repeats=3)
    return []


WRONG: list[str] = []  # what the checks of this process have found

KERNELS: dict[str, Callable[[Benchmark], list[Bar]]] = {
    function.__name__: function
    for function in (
        kcenter_greedy, kmeanspp, gradient_kmeanspp, uncertainty_scores, mc_uncertainty_scores, coverage_greedy, knn,
    )
}  # fmt: skip


def measure(
    bench: Benchmark,
    name: str,
    ours: Callable[[], Any],
    check: Callable[[], None],
    n_bytes: float,
    peers: dict[str, Callable[[], Any] | PerPick],
    repeats: int = 0,
) -> Row:
    """One case; the row of ours. Checks run it at full size, which warms up."""

    def recorded() -> None:
        try:
            check()
        except AssertionError as error:
            traceback.print_exc()
            WRONG.append(f"{name}: {error or 'its answer is wrong'}")

    at = len(bench.rows)
    bench.case(name, ours, peers, check=recorded, n_bytes=n_bytes, repeats=repeats)
    return bench.rows[at]


def bars_of_scores(bench: Benchmark, row: Row, c: int) -> list[Bar]:
    """Eight times eager torch, and from 100 classes on 90 % of what the device moves in a copy."""
    bars = [Bar(row.case, "times faster than eager torch", 8.0, bench.rows[-1].ratio)]
    if c >= 100 and "copied_gb_per_s" in bench.roofs and row.gb_per_s is not None:
        bars.append(Bar(row.case, "share of the copy's bandwidth", 0.9, row.gb_per_s / bench.roofs["copied_gb_per_s"]))
    return bars


def child(name: str, connection: Any) -> None:
    """One kernel's process: sends its rows, bars and what is wrong; the rows so far if it fails."""
    bench, bars = Benchmark(name), []
    try:
        bars = KERNELS[name](bench)
    except Exception as error:  # of any kind: the figures that there are must not be lost to it
        traceback.print_exc()
        WRONG.append(f"{name}: {type(error).__name__}: {error}")
    connection.send(([asdict(row) for row in bench.rows], bars, WRONG))


def in_own_process(name: str) -> tuple[list[dict[str, Any]], list[Bar], list[str]] | str:
    """Rows, bars and errors of a kernel, or what became of its process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(name, sender))
    process.start()
    sender.close()  # so that the end of the child ends the waiting
    try:
        answer = receiver.recv() if receiver.poll(SECONDS) else f"took more than {SECONDS} s"
    except EOFError:
        answer = "failed; its error is printed above"
    process.join(5)
    process.kill()
    return answer


def main() -> None:
    """All kernels, one after the other; the results are written after each."""
    bench = Benchmark("gpu_bars")
    report: dict[str, Any] = {"rows": [], "bars": [], "wrong": [], "failed": {}}
    for name in KERNELS:
        answer = in_own_process(name)
        if isinstance(answer, str):
            print(f"{name}: {answer}", flush=True)
            report["failed"][name] = answer
        else:
            report["rows"] += answer[0]
            report["bars"] += [{**asdict(bar), "met": bar.met} for bar in answer[1]]
            report["wrong"] += answer[2]
        bench.write(report)
    for bar in report["bars"]:
        told = f"{bar['measured']:.3g} {bar['what']}, {bar['asked']} asked"
        print(f"{'met' if bar['met'] else 'NOT MET':8s} {bar['case']}: {told}")
    for wrong in report["wrong"]:
        print(f"WRONG    {wrong}")
    sys.exit(bool(report["failed"] or report["wrong"]))


if __name__ == "__main__":
    main()
