"""Weighted coverage: each pick adds most to how well the picks represent the pool (facility location)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract, native
from autoal.ops.kcenter_greedy import inverse_norms
from autoal.ops.knn import knn
from autoal.ops.rows import Rows, origin

SLICE = 1 << 16  # rows whose distances to labeled ones are looked at together
SIMILARITIES = 1 << 22  # held together
SAMPLE = 1000  # rows that tell the bandwidth where no labeled ones do
NO_GAIN = (
    "have gain 0, taken by lowest index: what has weight is covered already, or gain and weights are 0 (beside the "
    "largest)"
)
LARGEST = 1e15  # weight, and gain: no sum of their products overflows float32
BANDWIDTHS = 1e-37, 1e37  # that float32 has
SMALLEST = 1e-3  # of squared distances over squared norms: bounds the bandwidth where rows coincide


class CoverageGains(NamedTuple):
    """Picks and what they were worth; numpy or torch as the embeddings were.

    Attributes:
        indices: [k] int64 in pick order.
        gains: [k] float32, what each pick added. With ``targets``: estimated anew on rows that were not looked at for
            the choice, so that it does not look better than it is.
        errors: [k] float32 standard errors of the gains; 0 without ``targets``.
    """

    indices: Any
    gains: Any
    errors: Any


def coverage_greedy(
    embeddings: Any,
    k: int,
    *,
    weights: Any = None,
    gain: Any = None,
    labeled: Any = None,
    excluded: Any = None,
    covered: Any = None,
    bandwidth: float | None = None,
    metric: str = "cosine",
    targets: int | None = None,
    seed: int = 0,
    return_gains: bool = False,
    on_nonfinite: str = "raise",
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Greedy weighted facility location, exact, without a matrix of all pairs; ties go to the lowest index.

        repeat k times: i* = argmax_i gain_i sum_j weights_j max(0, s(i, j) - m_j);  m_j = max(m_j, s(i*, j))

    with the similarity s(i, j) = exp(-bandwidth d(i, j)^2), and m_j the largest similarity of j to a labeled row. Each
    step looks at the gains anew that may be the largest (lazy greedy); plain greedy makes the same picks. A gain costs
    a distance to all rows, or what is remembered of these; the first step N^2: for large pools give ``targets``.

    Args:
        embeddings: [N, D] float, numpy (memory maps too) or torch. Memory that this takes: a copy of all targets,
            some 60 bytes a row, and on the CPU up to 256 MB of similarities.
        k: Number of picks.
        weights: [N] float in [0, 1e15], what it is worth to cover a row; all 1 if left out. What weighs less than
            2^-49 of another row, or 2^-60 of the sum of all, counts for nothing (CPU; CUDA: 2^-53 of another) until
            the heavy rows are covered.
        gain: [N] float in [0, 1e15], a factor of a row's gain, such as its uncertainty; all 1 if left out. Gains are
            rounded to float32 before they are compared: those below 1e-45 are 0.
        labeled: [L] int64 rows that cover already; they are never picked.
        excluded: [E] int64 rows that are never picked, but are to be covered.
        covered: [N] float in [0, 1], the similarity of each row to what lies outside of this pool.
        bandwidth: In [1e-37, 1e37]. Without it: 1 over the median, over the labeled rows, of the squared distance to
            the nearest other one; where fewer than two are labeled, over 1,000 rows of the pool in even steps.
        metric: "cosine" (distances of rows brought to length one; a row of zeros is the origin), or "l2". Squared
            distances are those of the float32 rows up to a share of (D + 16) 2^-17 of themselves (mostly less than
            a hundredth of that), however far off the origin or apart the rows lie; similarities up to (D + 16) 2^-18.
        targets: The sum over j is estimated from so many rows, drawn with probability proportional to ``weights``; a
            row's own term is always there. All rows can still be picked. None: the sum goes over all.
        seed: Draws the targets.
        return_gains: Whether to return the gains and their standard errors too.
        on_nonfinite: Rows with NaN or Inf: "raise", or "drop" = go on as if they were not in the pool.
        progress: Called with the number of picks so far, a few times a second (on CUDA: once, at the end).

    Returns:
        Indices [k] int64 in pick order, on the device of ``embeddings``; with ``return_gains`` a ``CoverageGains``.

    Raises:
        TypeError: If an array holds no floating point numbers, or indices no integers.
        ValueError: If shapes, indices or ``k`` do not fit the pool, rows are not finite, or values lie outside of what
            is said above.

    Warns:
        DuplicatesWarning: If the last picks added nothing.

    References:
        Nemhauser, Wolsey & Fisher 1978; Minoux 1978 (lazy greedy); Bae et al. 2024 (MaxHerding: the same gain, with all
        weights 1); Bae et al. 2025 (UHerding: weights are uncertainties).
    """
    checks.check_choice(metric, "metric", ("cosine", "l2"))
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    seed = checks.as_count(seed, "seed", high=contract.MAX_SEED)
    if targets is not None:
        targets = checks.as_count(targets, "targets", low=1)
    if bandwidth is not None:
        bandwidth = _positive(bandwidth)
    x = contract.matrix(embeddings, "embeddings", "[N, D]")
    contract.check_rows(x, "embeddings")
    w = _per_row(weights, "weights", x, LARGEST, 1.0)
    u = _per_row(gain, "gain", x, LARGEST, 1.0)
    m = _per_row(covered, "covered", x, 1.0, 0.0)
    known = checks.as_indices(() if labeled is None else labeled, "labeled", len(x))
    barred = np.union1d(known, contract.excluded_rows(excluded, len(x)))
    kept = contract.kept_rows(x, "embeddings", on_nonfinite)
    centers, out = contract.among(kept, known, x), contract.among(kept, barred, x)
    if kept is not None:
        x, w, u, m = (part[kept] for part in (x, w, u, m))
    k = contract.check_k(k, len(x) - len(out))

    scale = inverse_norms(x) if metric == "cosine" else None
    if bandwidth is None:
        few = len(centers) < 2
        rows = torch.linspace(0, len(x) - 1, min(len(x), SAMPLE), device=x.device).long() if few else centers
        bandwidth = nearest_bandwidth(_points(x, scale, rows), metric)
    if len(centers) and k:
        m = torch.maximum(m, _covered_by(x, scale, centers, bandwidth))
    drawn = 0 if targets is None or targets >= int((w > 0).sum()) else targets
    goals, goal_weights = draw_targets(w, drawn, [seed, 0]) if drawn else (torch.arange(len(x), device=x.device), w)
    with native.ticking(progress):
        picks, gains, filled = torch.ops.autoal.coverage_greedy(
            x, scale, goals, goal_weights, w if drawn else None, u, m, out, bandwidth, k
        )
    contract.warn_of_filling(filled, k, NO_GAIN)
    if progress is not None:
        progress(k)
    errors = torch.zeros_like(gains)
    if return_gains and drawn:
        gains, errors = _estimated_gains(x, scale, picks, w, u, m, bandwidth, drawn, [seed, 1])
    if kept is not None:
        picks = kept[picks]
    answers = [contract.answer(part, embeddings) for part in (picks, gains, errors)]
    return CoverageGains(*answers) if return_gains else answers[0]


def nearest_bandwidth(points: Tensor, metric: str) -> float:
    """1 over the median squared distance of rows [L, D] to the nearest other one; 1 of a single row, or of copies.

    Squared distances below a thousandth of the mean squared norm count as that; of "l2", of the distance from the
    rows' middle, so that it does not matter where they lie.
    """
    if len(points) < 2:
        return 1.0
    squared = knn(points, points, 2, backend="exact").distances[:, 1].square()  # a copy may come before the row itself
    floor = SMALLEST * float((points - origin(Rows(points), metric)).square().sum(1).mean())
    return min(max(1 / (max(float(squared.quantile(0.5)), floor) or 1.0), BANDWIDTHS[0]), BANDWIDTHS[1])


def draw_targets(weights: Tensor, n: int, seed: list[int]) -> tuple[Tensor, Tensor]:
    """About n rows drawn with probability proportional to ``weights`` [N], and their weights in an unbiased sum.

    Systematic sampling: one draw, n evenly spaced marks on the running sum; a row hit twice counts twice.
    """
    running = np.cumsum(weights.double().cpu().numpy())
    marks = (np.random.default_rng(seed).random() + np.arange(n)) * (running[-1] / n)
    hits, counts = np.unique(np.searchsorted(running, marks, side="right"), return_counts=True)
    last = np.flatnonzero(np.diff(running, prepend=0))[-1]  # of positive weight; marks may be rounded beyond it
    hits, where = np.unique(np.minimum(hits, last), return_inverse=True)
    counts = np.bincount(where, weights=counts)
    return torch.from_numpy(hits).to(weights.device), torch.from_numpy(counts * (running[-1] / n)).to(weights)


def _estimated_gains(
    x: Tensor,
    scale: Tensor | None,
    picks: Tensor,
    w: Tensor,
    u: Tensor,
    m: Tensor,
    bandwidth: float,
    drawn: int,
    seed: list[int],
) -> tuple[Tensor, Tensor]:
    """Gains [k] of the picks and their standard errors [k], by rows drawn for this."""
    fresh, weights = draw_targets(w, drawn, seed)
    points, goals = _points(x, scale, picks), _points(x, scale, fresh)
    total = float(weights.double().sum())
    share = weights / total  # of the draws that hit a row
    reached, own = m[fresh].clone(), m[picks].clone()  # how far targets and picks are covered
    gains, errors = torch.empty_like(u[picks]), torch.empty_like(u[picks])
    for part in torch.arange(len(picks), device=x.device).split(max(1, SIMILARITIES // (len(goals) + len(picks)))):
        to_goals, to_picks = (_similarity(points[part], others, bandwidth) for others in (goals, points))
        for b, similarity, to_pick in zip(part.tolist(), to_goals, to_picks, strict=True):
            extra = (similarity - reached).clamp_min(0)
            extra[fresh == picks[b]] = 0  # its own term is added by itself
            mean = extra @ share
            gains[b] = u[picks[b]] * (w[picks[b]] * (1 - own[b]) + total * mean)
            errors[b] = u[picks[b]] * total * ((extra - mean).square() @ share / drawn).sqrt()
            torch.maximum(reached, similarity, out=reached)
            torch.maximum(own, to_pick, out=own)
    return gains, errors


def _similarity(a: Tensor, b: Tensor, bandwidth: float) -> Tensor:
    """[n, m] of rows a [n, D] and b [m, D], by differences, as the kernels'."""
    return torch.exp(-bandwidth * torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square())


def _covered_by(x: Tensor, scale: Tensor | None, centers: Tensor, bandwidth: float) -> Tensor:
    """[N] the largest similarity of each row of x [N, D] to a center; copies have 1."""
    points = _points(x, scale, centers)
    parts = torch.arange(len(x), device=x.device).split(SLICE)
    nearest = [knn(_points(x, scale, part), points, 1, backend="exact").distances[:, 0] for part in parts]
    return torch.exp(-bandwidth * torch.cat(nearest).square())


def _points(x: Tensor, scale: Tensor | None, rows: Tensor) -> Tensor:
    """Rows [L, D] of x as float32, scaled."""
    return x[rows].float() if scale is None else x[rows].float() * scale[rows, None]


def _per_row(value: Any, name: str, x: Tensor, high: float, default: float) -> Tensor:
    """``value`` as float32 [N] beside x [N, D], or ``default`` for each row.

    Raises:
        TypeError: If it holds no floating point numbers.
        ValueError: If its length differs or a number lies outside of [0, high].
    """
    if value is None:
        return torch.full((len(x),), default, device=x.device)
    numbers = checks.as_floats(value, name, "[N]").to(x.device, torch.float32)
    if len(numbers) != len(x):
        raise ValueError(f"{name} must hold one number for each of the {len(x)} rows, got {len(numbers)}")
    wrong = ~((numbers >= 0) & (numbers <= high))  # NaN compares false
    if not contract.capturing(x) and bool(wrong.any()):
        listed = checks.name_rows(wrong.nonzero()[:, 0].tolist())
        raise ValueError(f"{name} must be between 0 and {high:g}, which fails in {listed}")
    return numbers


def _positive(bandwidth: Any) -> float:
    if isinstance(bandwidth, bool) or not isinstance(bandwidth, (int, float, np.integer, np.floating)):
        raise TypeError(f"bandwidth must be a number above 0, got {bandwidth!r}")
    if not BANDWIDTHS[0] <= bandwidth <= BANDWIDTHS[1]:
        raise ValueError(f"bandwidth must be between {BANDWIDTHS[0]:g} and {BANDWIDTHS[1]:g}, got {bandwidth}")
    return float(bandwidth)
