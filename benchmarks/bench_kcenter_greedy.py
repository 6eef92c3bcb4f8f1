"""kcenter_greedy beside our own plain passes and the two torch loops that active-learning packages use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import peers
import torch
from harness import Benchmark, PerPick, pools
from torch import Tensor

from autoal import ops
from autoal.ops import native

FEW = 10  # picks that are compared on the whole pool
PACKAGES = {"lightly_mundig": peers.mundig_kcenter, "skactiveml": peers.skactiveml_kcenter}


def torch_differences(x: Tensor, k: int) -> list[int]:
    """One pass of direct differences per pick (the form of anomalib and of many core-set scripts)."""
    nearest, picks = torch.full((len(x),), torch.inf, device=x.device), [0]
    for _ in range(k - 1):
        nearest = torch.minimum(nearest, (x - x[picks[-1]]).square().sum(1))
        picks.append(int(nearest.argmax()))
    return picks


def compiled_differences(x: Tensor, k: int, cover: Callable[..., Tensor]) -> list[int]:
    """The first loop with its pass compiled: differences are never stored."""
    nearest, picks = torch.full((len(x),), torch.inf, device=x.device), [0]
    for _ in range(k - 1):
        nearest = cover(nearest, x, x[picks[-1]])
        picks.append(int(nearest.argmax()))
    return picks


def torch_products(x: Tensor, k: int) -> list[int]:
    """One matrix-vector product per pick, |x|^2 + |c|^2 - 2 <x, c>: faster, but distances near 0 cancel."""
    squares = x.square().sum(1)
    nearest, picks = torch.full((len(x),), torch.inf, device=x.device), [0]
    for _ in range(k - 1):
        nearest = torch.minimum(nearest, squares + squares[picks[-1]] - 2 * (x @ x[picks[-1]]))
        picks.append(int(nearest.argmax()))
    return picks


def plain_passes(x: Tensor, k: int) -> list[int]:
    """Our own kernel, made to read all rows for every pick."""
    none = torch.empty(0, dtype=torch.int64, device=x.device)
    return native.kcenter_greedy(x, None, none, 0, k, native.PLAIN)[0].tolist()


def numpy_differences(x: np.ndarray, k: int) -> list[int]:
    """The same in plain numpy; float64, so that it also checks the picks."""
    nearest, picks = np.full(len(x), np.inf), [0]
    for _ in range(k - 1):
        nearest = np.minimum(nearest, np.square(x - x[picks[-1]]).sum(1))
        picks.append(int(nearest.argmax()))
    return picks


def main() -> None:
    """The data sets of the harness; ours makes all picks, the peers some."""
    bench = Benchmark("kcenter_greedy")
    n, d, k = (16_384, 128, 200) if bench.quick else (131_072, 512, 2000)
    for name, x in pools(n, d, quick=bench.quick):
        y = x.to(bench.device)

        def check(x: Tensor = x, y: Tensor = y) -> None:
            small = x[:4096]
            ours = ops.kcenter_greedy(small.to(bench.device), 100, first=0).tolist()
            assert ours == numpy_differences(small.double().numpy(), 100), "not farthest-first"
            assert ops.kcenter_greedy(y, FEW, first=0).tolist() == torch_differences(y, FEW)
            assert ops.kcenter_greedy(y, 100, first=0).tolist() == plain_passes(y, 100)

        cover = peers.compiled(lambda nearest, x, c: torch.minimum(nearest, (x - c).square().sum(1)))
        others: dict[str, Callable[[], Any] | PerPick] = {
            "torch differences": PerPick(lambda n, y=y: torch_differences(y, n), k),
            "torch products": PerPick(lambda n, y=y: torch_products(y, n), k),
            "torch.compile": PerPick(lambda n, y=y, cover=cover: compiled_differences(y, n, cover), k),
            "our plain passes": PerPick(lambda n, y=y: plain_passes(y, n), k),
        }
        if not y.is_cuda:
            for package, call in PACKAGES.items():
                if peers.module_or_none(package):
                    small = x[:4096].numpy()  # float32 products lose small distances beside large norms
                    same = call(small, 20) == numpy_differences(small.astype(np.float64), 20)
                    who = package if same else f"{package}, other picks"
                    others[who] = PerPick(lambda n, y=y, call=call: call(y.numpy(), n), k)
                else:
                    print(f"left out: {package} is not installed")
        bench.case(
            f"{name} {len(x):,} x {x.shape[1]}, k={k}",
            lambda y=y: ops.kcenter_greedy(y, k, first=0),
            others,
            check=check,
            n_bytes=4 * x.numel(),
            pairs=len(x) * k,
            flops_per_pair=2 * x.shape[1],
            repeats=0,
        )
    bench.finish()


if __name__ == "__main__":
    main()
