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
    """[N, N] of rows of length one (or none), as all the peers need them; the time for this is theirs."""
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
    """The data sets of the harness at a size that a matrix of all pairs still allows, then a large one without."""
    bench = Benchmark("coverage_greedy")
    n, d, k = (2000, 64, 50) if bench.quick else (16_384, 256, 500)
    for name, whole in pools(n, d, quick=bench.quick):
        unit = torch.nn.functional.normalize(whole[:n], dim=1)
        bandwidth = nearest_bandwidth(unit[:: max(1, n // 1000)])
        x = unit.to(bench.device)

        def ours(x: Tensor = x, bandwidth: float = bandwidth, k: int = k) -> Tensor:
            return ops.coverage_greedy(x, k, bandwidth=bandwidth, metric="l2")

        def check(unit: Tensor = unit, bandwidth: float = bandwidth, ours: Callable[..., Tensor] = ours) -> None:
            small = unit[:1000]
            matrix = similarities(small.double(), bandwidth)
            assert_greedy(matrix, ours(small.to(bench.device), k=50).tolist())
            for package, call in PACKAGES.items():
                if peers.module_or_none(package):
                    assert_greedy(matrix, call(matrix.numpy(), 50))

        others: dict[str, Callable[[], Any] | PerPick] = {
            "torch, all pairs": PerPick(lambda n, x=x, b=bandwidth: peers.torch_coverage(similarities(x, b), n), k),
        }
        if not x.is_cuda:
            others["our plain passes"] = PerPick(lambda n, u=unit, b=bandwidth: plain_passes(u, b, n), k)
            for package, call in PACKAGES.items():
                if peers.module_or_none(package):
                    others[package] = lambda call=call, u=unit, b=bandwidth: call(similarities(u, b).numpy(), k)
                else:
                    print(f"left out: {package} is not installed")
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
    bench.finish()


if __name__ == "__main__":
    main()
