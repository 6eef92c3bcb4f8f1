"""Monte-Carlo dropout of a linear head: T draws for the price of T small matrix products."""

from __future__ import annotations

import torch
from torch import Tensor

MC_SAMPLES = 20  # T
MC_DROPOUT = 0.2


def mc_dropout_logits(
    embeddings: Tensor,  # [N, D]
    weight: Tensor,  # [D, C]
    bias: Tensor,  # [C]
    generator: torch.Generator,
    *,
    rate: float = MC_DROPOUT,
    n_samples: int = MC_SAMPLES,
    out: Tensor | None = None,
) -> Tensor:
    """Logits [T, N, C] of a linear head under dropout on its inputs.

    One mask per draw, shared by all samples: a draw is then one model, as Bayesian strategies assume ("consistent" MC
    dropout, Kirsch et al. 2019), and no [T, N, D] mask is needed. A dropped input drops a row of the weight. ``out``
    [T, N, C] takes the answer, if given.
    """
    masks = torch.empty(n_samples, len(weight)).bernoulli_(1 - rate, generator=generator).to(weight) / (1 - rate)
    if out is None:
        shape = n_samples, len(embeddings), weight.shape[1]
        out = torch.empty(shape, dtype=embeddings.dtype, device=embeddings.device)
    for t, mask in enumerate(masks):
        torch.addmm(bias.to(out), embeddings, (mask[:, None] * weight).to(out), out=out[t])
    return out
