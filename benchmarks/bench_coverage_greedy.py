"""coverage_greedy beside plain passes and the packages for facility location, which hold a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peers
import torch
from harness import Benchmark, PerPick, pools
from torch import Tensor

from autoal import ops
from autoal.ops import native
from autoal.ops.coverage_greedy import nearest_bandwidth

PACKAGES = {"submodlib": peers.submodlib_coverage, "apricot": peers.apricot_coverage}


def similarities(unit: Tensor, bandwidth: float) -> Tensor:
    """[N, N] of rows of length one (or none), as all the peers need them."""
    squares = unit.square().sum(1)
    return torch.exp(-bandwidth * (squares[:, None] + squares - 2 * unit @ unit.T).clamp_min_(0))


def plain_passes(unit: Tensor, bandwidth: float, k: int) -> list[int]:
    """Our own kernel, made to compute all gains for every pick."""
    n, none = len(unit), torch.empty(0, dtype=torch.int64)
    one, zero = torch.ones(n), torch.zeros(n)
    arguments = (unit, None, torch.arange(n), one, None, one, zero, none, bandwidth, k)
    return native.coverage_greedy(*arguments, native.PLAIN)[0].tolist()


def assert_greedy(matrix: Tensor, picks: list[int]) -> None:
    """Each pick has the largest gain [N, N] float64 at its time, up to what float32 can tell apart."""
    covered = torch.zeros(len(matrix), dtype=matrix.dtype)
    for pick in picks:
        gains = (matrix - covered).clamp_min(0).sum(1)
        assert gains[pick] >= gains.max() - 1e-5 * len(matrix), "not greedy"
        covered = torch.maximum(covered, matrix[pick])


def main() -> None:
    """The data sets of the harness at sizes that a matrix of all pairs still allows.

    submodlib takes minutes for all rows, and lazy picks are too unlike for a line through a few: it gets half of them.
    """
    bench = Benchmark("coverage_greedy")
    n, d, k = (2000, 64, 50) if bench.quick else (8192, 256, 500)
    for name, whole in pools(n, d, quick=bench.quick):
        unit = torch.nn.functional.normalize(whole[:n], dim=1)
        bandwidth = nearest_bandwidth(unit[:: max(1, n // 1000)], "cosine")
        compare(bench, name, unit, bandwidth, k, "apricot")
        if bench.device == "cpu":
            compare(bench, name, unit[: n // 2], bandwidth, k, "submodlib")
    bench.finish()


def compare(bench: Benchmark, name: str, unit: Tensor, bandwidth: float, k: int, package: str) -> None:
    """Ours beside ``package``; beside apricot, which sees all rows, also what makes the same pass for each pick.

    The matrix of all pairs is made for the peers, outside of their time.
    """
    x = unit.to(bench.device)
    matrix = similarities(x, bandwidth)
    small = similarities(unit[:1000].double(), bandwidth)
    others: dict[str, Callable[[], Any] | PerPick] = {}
    if package == "apricot":
        others["torch, all pairs"] = PerPick(lambda n: peers.torch_coverage(matrix, n), k, 2 if x.is_cuda else 0)
        if not x.is_cuda:
            others["our plain passes"] = PerPick(lambda n: plain_passes(unit, bandwidth, n), k, 0)
    call = PACKAGES[package]
    if x.is_cuda or not peers.module_or_none(package):
        print(f"left out: {package}, which is not installed or does not run on {bench.device}")
    else:
        others[package] = lambda: call(matrix.numpy(), k)

    def ours(x: Tensor = x, k: int = k) -> Tensor:
        return ops.coverage_greedy(x, k, bandwidth=bandwidth, metric="l2")

    def check() -> None:
        assert_greedy(small, ours(x[:1000], 50).tolist())
        if package in others:
            assert_greedy(small, call(small.numpy(), 50))

    bench.case(
        f"{name} {len(x):,} x {x.shape[1]}, k={k}",
        ours,
        others,
        check=check,
        n_bytes=4 * x.numel(),
        pairs=len(x) ** 2 * k,
        flops_per_pair=2 * x.shape[1],
        repeats=0,
    )


if __name__ == "__main__":
    main()
