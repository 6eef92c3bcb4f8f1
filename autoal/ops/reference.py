"""The specification of the kernels: each op in plain torch, in float64, one line of mathematics per line of code.

It runs on the host whatever the device of its input: tests compare the kernels with it, and devices that have no
kernels (MPS, XLA) use it. On CPU and CUDA tensors ``autoal.ops`` never does.
"""

from __future__ import annotations

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def _mix64(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(seed: int, counter: int) -> float:
    """Draw number ``counter`` of ``seed``, uniform in [0, 1) with 53 bits: the same as in csrc/common/random.h."""
    bits = _mix64((_mix64((seed + GOLDEN) & MASK) + GOLDEN * (counter + 1)) & MASK)
    return (bits >> 11) * 2.0**-53


def distributions(x: Tensor, probs: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities [..., C] in float64 of logits or probs x [..., C], and which rows [...] are none.

    Returns:
        p: [..., C]; unspecified where a mask is True.
        nonfinite: bool [...]; logits: NaN, +inf or nothing but -inf; probs: NaN or Inf.
        wrong: bool [...]; probs: a value below 0, or a sum further from 1 than ``tolerance``.
    """
    x = x.double()
    if probs:
        nonfinite = ~torch.isfinite(x).all(-1)
        return x, nonfinite, ~nonfinite & ((x < 0).any(-1) | ((x.sum(-1) - 1).abs() > tolerance))
    nonfinite = torch.isnan(x).any(-1) | (x == torch.inf).any(-1) | (x == -torch.inf).all(-1)
    return x.softmax(-1), nonfinite, torch.zeros_like(nonfinite)


def entropy(p: Tensor) -> Tensor:
    """[...] entropies in nats of p [..., C]; a probability of 0 adds 0."""
    return torch.special.entr(p).sum(-1)


def uncertainty_scores(x: Tensor, probs: bool, tolerance: float) -> tuple[Tensor, ...]:
    """x [N, C] -> entropy, margin, least_confidence [N], bad_row [1]."""
    p, nonfinite, wrong = distributions(x.cpu(), probs, tolerance)
    top = torch.nn.functional.pad(p, (0, 1)).topk(2, dim=1).values  # [N, 2]; with one class p(2) = 0
    scores = entropy(p), 1 - (top[:, 0] - top[:, 1]), 1 - top[:, 0]
    return (*(score.float().to(x.device) for score in scores), first_row(nonfinite | wrong).to(x.device))


def mc_uncertainty_scores(x: Tensor, probs: bool, tolerance: float) -> tuple[Tensor, ...]:
    """x [T, N, C] -> bald, entropy, mean_std, variation_ratio [N], bad_row [1]."""
    p, nonfinite, wrong = distributions(x.cpu(), probs, tolerance)
    mean = p.mean(0)  # [N, C]
    votes = torch.nn.functional.one_hot(p.argmax(-1), p.shape[-1]).sum(0)  # [N, C]
    scores = (
        (entropy(mean) - entropy(p).mean(0)).clamp_min(0),
        entropy(mean),
        p.std(0, correction=0).mean(-1),
        1 - votes.amax(-1) / len(p),
    )
    return (*(score.float().to(x.device) for score in scores), first_row((nonfinite | wrong).any(0)).to(x.device))


def first_row(bad: Tensor) -> Tensor:
    """[1] the lowest row of the mask bad [N], or N if there is none."""
    return torch.cat([bad.nonzero()[:1, 0], torch.tensor([len(bad)])])[:1]


def squared_norms(x: Tensor) -> Tensor:
    """x [N, D] -> |x_i|^2 [N]."""
    return x.cpu().double().square().sum(1).float().to(x.device)


def kcenter_greedy(
    x: Tensor, scale: Tensor | None, centers: Tensor, first: int, k: int, *, excluded: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Farthest-first traversal of x [N, D]: picks [k], covering radius after each pick [k], filled [1]."""
    points = _scaled(x, scale)
    nearest = torch.full((len(x),), torch.inf, dtype=torch.float64)  # [N] squared distance to the nearest center
    for center in centers.tolist():
        nearest = torch.minimum(nearest, (points - points[center]).square().sum(1))
    free = torch.ones(len(x), dtype=torch.bool)
    free[centers.cpu()] = False
    counted = _without(excluded, len(x))
    free &= counted
    picks: list[int] = []
    radius: list[float] = []
    filled = 0
    for j in range(k):
        pick = first if j == 0 and first >= 0 else int(nearest.masked_fill(~free, -1).argmax())
        filled += int(nearest[pick] == 0 and not (j == 0 and first >= 0))
        picks.append(pick)
        free[pick] = False
        nearest = torch.minimum(nearest, (points - points[pick]).square().sum(1))
        radius.append(float(nearest[counted].max().sqrt()))
    return _integers(picks, x), torch.tensor(radius).to(x.device), _integers([filled], x)


def refresh_bounds(
    x: Tensor, scale: Tensor | None, centers: Tensor, rows: Tensor, floors: Tensor, bounds: Tensor, seen: Tensor
) -> None:
    """Squared distances of rows of x [N, D] to the centers [M, D] they have not met lower bounds; floors do nothing."""
    points = _scaled(x, scale)
    for row in rows.tolist():
        unseen = centers[int(seen[row]) :].double()
        distances = (points[row] - unseen).square().sum(1).tolist()
        bounds[row] = min([float(bounds[row]), *distances])
        seen[row] = len(centers)


def farthest_among(x: Tensor, bounds: Tensor, floor: float, before: int, k: int) -> tuple[Tensor, Tensor]:
    """Farthest-first among x [N, D] with bounds [N], while above 0 and the floor: picks, their squared distances."""
    picks: list[int] = []
    distances: list[float] = []
    while len(picks) < k:
        best = int(bounds.argmax())
        bound = float(bounds[best])
        if not (bound > 0 and (bound > floor or (bound == floor and best < before))):
            break
        picks.append(best)
        distances.append(bound)
        bounds.copy_(torch.minimum(bounds, (x - x[best]).double().square().sum(1).float()))
        bounds[best] = -1
    return _integers(picks, x), torch.tensor(distances)


def kmeanspp(x: Tensor, first: int, k: int, seed: int, *, excluded: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """D^2 sampling of x [N, D]: picks [k], filled [1]."""
    if first < 0:
        first = int(uniform(seed, 0) * len(x))
    return _d2_sampling(x.cpu().double(), _without(excluded, len(x)), first, k, seed, x)


def gradient_kmeanspp(
    outputs: Tensor,
    probs: bool,
    tolerance: float,
    embeddings: Tensor,
    k: int,
    seed: int,
    *,
    excluded: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """BADGE: D^2 sampling of g_i = (p_i - onehot(argmax p_i)) (x) h_i, first the longest: picks, filled, bad_row.

    Forms g [N, C * D], which the kernels never do.
    """
    p, nonfinite, wrong = distributions(outputs.cpu(), probs, tolerance)
    bad_row = first_row(nonfinite | wrong).to(outputs.device)
    if k == 0 or int(bad_row) < len(p):
        return _integers([0] * k, outputs), _integers([0], outputs), bad_row
    a = p - torch.nn.functional.one_hot(p.argmax(1), p.shape[1])  # [N, C]
    g = (a[:, :, None] * embeddings.cpu().double()[:, None, :]).flatten(1)  # [N, C * D]
    free = _without(excluded, len(p))
    norms = g.square().sum(1).masked_fill(~free, -1)
    picks, filled = _d2_sampling(g, free, int(norms.argmax()), k, seed, outputs)
    return picks, filled + int(norms.max() == 0), bad_row


def coverage_greedy(
    x: Tensor,
    scale: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    own: Tensor | None,
    gain: Tensor,
    covered: Tensor,
    excluded: Tensor,
    gamma: float,
    k: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted facility location over x [N, D]: picks [k], their gains [k], filled [1]. Holds k(i, j) [N, T]."""
    points = _scaled(x, scale)
    goals, w, u, m = targets.cpu(), weights.cpu().double(), gain.cpu().double(), covered.cpu().double().clone()
    kernel = torch.exp(
        -gamma * torch.cdist(points, points[goals], compute_mode="donot_use_mm_for_euclid_dist").square()
    )
    if own is not None:
        kernel[goals, torch.arange(len(goals))] = 0  # a row is no target of its own gain
    free = torch.ones(len(x), dtype=torch.bool)
    free[excluded.cpu()] = False
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        worth = (kernel - m[goals]).clamp_min(0) @ w  # [N]
        if own is not None:
            worth += own.cpu().double() * (1 - m)
        now = (u * worth).float().masked_fill(~free, -1)
        pick = int(now.argmax())
        picks.append(pick)
        gains.append(float(now[pick]))
        free[pick] = False
        m = torch.maximum(m, torch.exp(-gamma * (points - points[pick]).square().sum(1)))
    filled = sum(value == 0 for value in gains)
    return _integers(picks, x), torch.tensor(gains).to(x.device), _integers([filled], x)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x.cpu().double() if scale is None else (x.cpu().float() * scale.cpu()[:, None]).double()


def _without(excluded: Tensor | None, n: int) -> Tensor:
    """[n] bool: True but for the rows ``excluded``."""
    free = torch.ones(n, dtype=torch.bool)
    if excluded is not None:
        free[excluded.cpu()] = False
    return free


def _d2_sampling(points: Tensor, free: Tensor, first: int, k: int, seed: int, like: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.where(free, torch.inf, 0.0).double()  # [N] squared distance to the nearest pick
    taken = ~free
    picks: list[int] = []
    filled = 0
    for j in range(k):
        pick = first
        if j > 0:
            cumulative = weights.cumsum(0)
            pick = int(torch.searchsorted(cumulative, uniform(seed, j) * cumulative[-1], right=True))
            if cumulative[-1] == 0:  # only copies of the picks are left: the lowest index
                pick = int((~taken).nonzero()[0])
                filled += 1
        picks.append(pick)
        taken[pick] = True
        weights = torch.minimum(weights, (points - points[pick]).square().sum(1))
        weights[pick] = 0
    return _integers(picks, like), _integers([filled], like)


def _integers(values: list[int], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=like.device)
