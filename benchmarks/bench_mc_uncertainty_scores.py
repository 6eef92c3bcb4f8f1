"""mc_uncertainty_scores beside torch, eager and compiled."""

from __future__ import annotations

import torch
from harness import Benchmark
from peers import compiled

from autoal import ops


def torch_scores(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """BALD, entropy of the mean, mean-STD, variation ratio [N] of logits x [T, N, C], as one writes them in torch."""
    p = x.softmax(2)
    mean = p.mean(0)
    entropy = torch.special.entr(mean).sum(1)
    bald = entropy - torch.special.entr(p).sum(2).mean(0)
    votes = torch.nn.functional.one_hot(p.argmax(2), p.shape[2]).sum(0).amax(1)
    return bald, entropy, p.std(0, correction=0).mean(1), 1 - votes / len(p)


def main() -> None:
    """10 to 50 samples, 2 to 1,000 classes."""
    bench = Benchmark("mc_uncertainty_scores")
    elements = 2_000_000 if bench.quick else (1 << 28 if bench.device == "cuda" else 20_000_000)
    for t, c in ((50, 2), (10, 10), (20, 32), (20, 100), (10, 1000)):
        x = torch.randn(t, elements // t // c, c, generator=torch.Generator().manual_seed(c)).to(bench.device)

        def check(x: torch.Tensor = x) -> None:
            for ours, theirs in zip(ops.mc_uncertainty_scores(x), torch_scores(x[:, :2000].double()), strict=True):
                torch.testing.assert_close(ours[:2000].double(), theirs.double(), rtol=0, atol=5e-6)

        scores = compiled(torch_scores)
        bench.case(
            f"{t} x {x.shape[1]:,} x {c} float32",
            lambda x=x: ops.mc_uncertainty_scores(x),
            {
                "torch eager": lambda x=x: torch_scores(x),
                "torch.compile": lambda x=x, scores=scores: scores(x),
            },
            check=check,
            n_bytes=4 * x.numel(),
        )
    bench.finish()


if __name__ == "__main__":
    main()
