"""uncertainty_scores beside torch, eager and compiled, and numpy."""

from __future__ import annotations

import numpy as np
import torch
from harness import Benchmark
from peers import compiled

from autoal import ops


def torch_scores(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Entropy, margin and least confidence [N] of logits x [N, C], as one writes them in torch."""
    log_p = x.log_softmax(1)
    p = log_p.exp()
    top = p.topk(2, dim=1).values
    return -(p * log_p).sum(1), 1 - (top[:, 0] - top[:, 1]), 1 - top[:, 0]


def numpy_scores(x: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same in numpy."""
    e = np.exp(x - x.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    top = -np.partition(-p, 1, axis=1)[:, :2]
    return -(p * np.log(np.maximum(p, 1e-38))).sum(1), 1 - (top[:, 0] - top[:, 1]), 1 - top[:, 0]


def main() -> None:
    """10 to 1,000 classes, float32 and both halves."""
    bench = Benchmark("uncertainty_scores")
    elements = 2_000_000 if bench.quick else (1 << 28 if bench.device == "cuda" else 50_000_000)
    for c in (10, 100, 1000):
        x = 3 * torch.randn(elements // c, c, generator=torch.Generator().manual_seed(c))
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            y = x.to(bench.device, dtype)

            def check(y: torch.Tensor = y) -> None:
                for ours, theirs in zip(ops.uncertainty_scores(y), torch_scores(y[:5000].double()), strict=True):
                    torch.testing.assert_close(ours[:5000].double(), theirs, rtol=0, atol=3e-6)

            scores = compiled(torch_scores)
            peers = {
                "torch eager": lambda y=y: torch_scores(y),
                "torch.compile": lambda y=y, scores=scores: scores(y),
            }
            if bench.device == "cpu" and dtype == torch.float32:
                peers["numpy"] = lambda y=y: numpy_scores(y.numpy())
            name = f"{len(y):,} x {c} {str(dtype)[6:]}"
            bench.case(
                name,
                lambda y=y: ops.uncertainty_scores(y),
                peers,
                check=check,
                n_bytes=y.numel() * y.element_size(),
            )
    bench.finish()


if __name__ == "__main__":
    main()
