"""gradient_kmeanspp (BADGE) beside our plain passes and the factored torch loop; g itself would be N C D numbers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from harness import Benchmark, PerPick, pool
from real_pools import real_pools
from torch import Tensor

from autoal import ops
from autoal.ops import native, reference

HEADS = 200, 2000  # labels that the head of a real pool was fitted to


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


def cases(*, quick: bool) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name, logits [N, C], embeddings [N, D]: random logits of unsure and sure models, then a head's on real pools."""
    n, d = (8_192, 128) if quick else (131_072, 512)
    h = pool("embedding", n, d)
    for c, scale in ((10, 2.0), (10, 8.0), (100, 4.0), (1000, 6.0)):
        yield f"random x {scale:g}", scale * torch.randn(n, c, generator=torch.Generator().manual_seed(c)), h
    for real in real_pools(n, d) if quick else real_pools():
        for n_labeled in HEADS:
            yield f"{real.name} after {n_labeled} labels", *real.head(n_labeled)


def main() -> None:
    """All cases; ours makes all picks, the peers some."""
    bench = Benchmark("gradient_kmeanspp")
    k = 100 if bench.quick else 1000
    for name, logits, embeddings in cases(quick=bench.quick):
        x, y = logits.to(bench.device), embeddings.to(bench.device)

        def check(x: Tensor = x, y: Tensor = y) -> None:
            small = x[:512, :20].cpu(), y[:512, :16].cpu()
            ours = ops.gradient_kmeanspp(small[0].to(bench.device), small[1].to(bench.device), 30, seed=3)
            assert ours.tolist() == reference.gradient_kmeanspp(small[0], False, 1e-3, small[1], 30, 3)[0].tolist()

        peers = {"torch loop, factored": PerPick(lambda n, x=x, y=y: torch_loop(x, y, n), k)}
        if not x.is_cuda:
            peers["our plain passes"] = PerPick(lambda n, x=x, y=y: plain_passes(x, y, n), k)
        bench.case(
            f"{name}, {len(x):,} x (C={x.shape[1]} + D={y.shape[1]}), k={k}",
            lambda x=x, y=y: ops.gradient_kmeanspp(x, y, k),
            peers,
            check=check,
            n_bytes=4.0 * (x.numel() + y.numel()),
            pairs=len(x) * k,
            repeats=0,
        )
    bench.finish()


if __name__ == "__main__":
    main()
