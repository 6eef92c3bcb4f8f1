"""gradient_kmeanspp (BADGE) beside our plain passes and the factored torch loop; g itself would be N C D numbers."""

from __future__ import annotations

import torch
from harness import Benchmark, PerPick, pool
from torch import Tensor

from autoal import ops
from autoal.ops import native, reference


def torch_loop(logits: Tensor, h: Tensor, k: int) -> Tensor:
    """One pass over both factors and one draw per pick."""
    generator = torch.Generator(h.device).manual_seed(0)
    a = logits.softmax(1)
    a[torch.arange(len(a)), a.argmax(1)] -= 1
    norms = a.square().sum(1) * h.square().sum(1)
    weights, picks = torch.full((len(h),), torch.inf, device=h.device), [int(norms.argmax())]
    for _ in range(k - 1):
        last = picks[-1]
        distance = norms + norms[last] - 2 * (a @ a[last]) * (h @ h[last])
        weights = torch.minimum(weights, distance.clamp_min_(0))
        weights[last] = 0
        cumulative = weights.double().cumsum(0)
        draw = torch.rand((), dtype=torch.float64, device=h.device, generator=generator)
        picks.append(int(torch.searchsorted(cumulative, draw * cumulative[-1])))
    return torch.tensor(picks, device=h.device)


def plain_passes(logits: Tensor, h: Tensor, k: int) -> Tensor:
    """Our own kernel, made to read all rows for every pick."""
    return native.gradient_kmeanspp(logits, False, 1e-3, h, k, 0, native.PLAIN)[0]


def main() -> None:
    """10, 100 and 1,000 classes, from an unsure and from a sure model."""
    bench = Benchmark("gradient_kmeanspp")
    n, d, k = (8_192, 128, 100) if bench.quick else (131_072, 512, 1000)
    h = pool("embedding", n, d)
    for c, scale in ((10, 2.0), (10, 8.0), (100, 4.0), (1000, 6.0)):
        logits = scale * torch.randn(n, c, generator=torch.Generator().manual_seed(c))
        x, y = logits.to(bench.device), h.to(bench.device)

        def check(x: Tensor = x, y: Tensor = y) -> None:
            small = x[:512, :20].cpu(), y[:512, :16].cpu()
            ours = ops.gradient_kmeanspp(small[0].to(bench.device), small[1].to(bench.device), 30, seed=3)
            assert ours.tolist() == reference.gradient_kmeanspp(small[0], False, 1e-3, small[1], 30, 3)[0].tolist()

        peers = {"torch loop, factored": PerPick(lambda n, x=x, y=y: torch_loop(x, y, n), k)}
        if not x.is_cuda:
            peers["our plain passes"] = PerPick(lambda n, x=x, y=y: plain_passes(x, y, n), k)
        bench.case(
            f"{n:,} x (C={c} + D={d}), k={k}, logits x {scale:g}",
            lambda x=x, y=y: ops.gradient_kmeanspp(x, y, k),
            peers,
            check=check,
            n_bytes=4.0 * (x.numel() + y.numel()),
            pairs=n * k,
            repeats=0,
        )
    bench.finish()


if __name__ == "__main__":
    main()
