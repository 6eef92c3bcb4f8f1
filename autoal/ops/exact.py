"""The k nearest rows by the distances that are told: products only rule rows out, as far as they can be wrong."""

from __future__ import annotations

import torch
from torch import Tensor

from autoal.ops.copies import among_first, firsts
from autoal.ops.nearest import TILE_QUERIES, TILE_ROWS, in_order, merged, scan, told
from autoal.ops.rows import Rows, origin, prepared

# Tiles in float64, smaller than those in float32: what is done with them also holds numbers of pairs.
PROOF_QUERIES = 128
PROOF_ROWS = 4096
TINY = 1e-36  # squares of float32 vanish below
# What torch may round the factors of a float32 product to, as a share of |q|^2 + |x|^2: nothing, TF32, bfloat16.
COARSE = {"highest": 0.0, "high": 2.0**-9, "medium": 2.0**-6}


def exact(q: Rows, x: Rows, k: int, metric: str, *, by_faiss: bool) -> tuple[Tensor, Tensor]:
    """Distances and positions [Q, k] of the nearest rows in (distance, position) order, k at most the number of rows.

    A few rows more than k are put in order, and one more is fetched. A query is certain if by products that one is
    beyond its k-th direct distance by more than they can be wrong; the others are searched again, copies once.
    """
    likely = min(len(x), k + k // 4)
    fetched = min(len(x), likely + 1) if k else 0
    space = _Space(x, metric)
    values, indices = scan(q, x, fetched, metric, space.shift, by_faiss=by_faiss)
    distances, indices = (part[:, :k] for part in in_order(q, x, indices[:, :likely], metric))
    if likely < fetched and len(q):
        norms = torch.cat([prepared(part, space.shift, metric).square().sum(1) for part in q.parts(TILE_ROWS)])
        far = 2 + 2 * values[:, -1] if metric == "cosine" else values[:, -1]
        last = distances[:, -1]
        wrong = (_share(x.width, 24) + COARSE[torch.get_float32_matmul_precision()]) * space.sizes(norms, last)
        which = (~(far - wrong > space.far(last) + TINY)).nonzero()[:, 0]
        if len(which):
            distances, indices = distances.contiguous(), indices.contiguous()
            once, which_of = firsts(q.take(which), metric).unique(return_inverse=True)
            proved = _proved(q.take(which[once]), space, distances[which[once]])
            distances[which], indices[which] = (part[which_of] for part in proved)
    return distances, indices


class _Space:
    """Rows, and how far prepared ones are: |q - x|^2, by inner product -<q, x>.

    By cosine a row of zeros is where an orthogonal one would be.
    """

    def __init__(self, x: Rows, metric: str) -> None:
        self.x, self.metric, self.shift = x, metric, origin(x, metric)
        asked = x.parts(TILE_ROWS) if metric == "ip" else ()
        self._longest = max((float(part.norm(dim=1).max()) for part in asked), default=0.0)

    def far(self, distances: Tensor) -> Tensor:
        """What was told, as what is compared."""
        return {"l2": torch.square, "cosine": lambda half: 2 * half, "ip": torch.neg}[self.metric](distances)

    def sizes(self, norms: Tensor, last: Tensor) -> Tensor:
        """|q|^2 + |x|^2 (|q| |x| by inner product) at most, of rows that may be within ``last`` of q."""
        if self.metric == "l2":  # these are no longer than |q| + last
            return norms + (norms.sqrt() + last).square()
        return torch.full_like(last, 2) if self.metric == "cosine" else norms.sqrt() * self._longest

    def wide(self, rows: Tensor) -> Tensor:
        """Rows in float64 between which the direct differences are taken: unit rows are those of float32."""
        return (
            prepared(rows, self.shift, self.metric).double() if self.metric == "cosine" else rows.double() - self.shift
        )

    def between(self, q: Tensor, x: Tensor) -> Tensor:
        """How far wide q and x are [P, R]."""
        if self.metric == "ip":
            return (q @ x.T).neg_()
        far = torch.addmm(x.square().sum(1), q, x.T, alpha=-2).add_(q.square().sum(1, keepdim=True))
        if self.metric == "cosine":
            far.masked_fill_(~x.any(1), 2)[~q.any(1)] = 2
        return far


def _share(width: int, digits: int) -> float:
    """What a product and a direct difference differ by at most, as a share of |q|^2 + |x|^2; docs/kcenter_greedy.md."""
    return 4 * (width + 16) * 2.0**-digits


def _proved(q: Rows, space: _Space, found: Tensor) -> tuple[Tensor, Tensor]:
    """As ``exact``, where the k-th is no farther than the last of ``found`` [Q, k].

    Products in float64 rule out rows that are farther; of all others, mostly little more than k, the direct distances
    are computed. When these have become more pairs than there are rows, copies are looked for: k of a row are enough.
    """
    k, x, similar = found.shape[1], space.x, space.metric == "ip"
    best = torch.full_like(found, torch.inf)
    indices = torch.zeros_like(found, dtype=torch.int64)
    rest, numbers = x, torch.arange(len(x), device=x.device)  # what is to be compared
    start, compared, with_copies = 0, 0, True
    while start < len(rest):
        rows, theirs = rest[start : start + PROOF_ROWS], numbers[start : start + PROOF_ROWS]
        start += PROOF_ROWS
        wide = space.wide(rows)
        for tile in range(0, len(q), PROOF_QUERIES):
            here = slice(tile, tile + PROOF_QUERIES)
            asking, last = q[here], found[here, -1].double()
            wide_asking = space.wide(asking)
            # A direct distance has the rounding of float32: a share of itself, or of the factors of an inner product.
            far, sizes = space.far(last), space.sizes(wide_asking.square().sum(1), last)
            limit = far + _share(x.width, 24) * (sizes if similar else far) + _share(x.width, 53) * sizes + TINY
            if not similar:
                limit[best[here, -1] == 0] = -torch.inf  # nothing is nearer, and later rows do not win ties
            near = space.between(wide_asking, wide) <= limit[:, None]
            pairs = near.nonzero()
            compared += len(pairs)
            if with_copies and compared > len(x):
                kept, with_copies = among_first(x, k, space.metric), False
                if not kept.all():
                    some = kept[theirs].nonzero()[:, 0]
                    rows, theirs, wide = rows[some], theirs[some], wide[some]
                    pairs = near[:, some].nonzero()
                    numbers, start = numbers[start:][kept[start:]], 0
                    rest = x.take(numbers)
            if len(pairs):
                values, positions = _nearest_pairs(asking, rows, pairs, k, space.metric)
                best[here], indices[here] = merged(best[here], indices[here], values, theirs[positions])
    return -best if similar else best, indices


def _nearest_pairs(q: Tensor, x: Tensor, pairs: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """Of ``pairs`` [M, 2] of q and x, in order, the k nearest of each q: what orders them (inf: too few), positions."""
    step = max(1, TILE_QUERIES * TILE_ROWS // (4 * x.shape[1]))
    distances = torch.cat([told(x[part[:, 1]], q[part[:, 0]], metric) for part in pairs.split(step)])
    distances, order = (-distances if metric == "ip" else distances).sort(stable=True)
    asking, by_query = pairs[order, 0].sort(stable=True)
    counts = asking.bincount(minlength=len(q))
    rank = torch.arange(len(pairs), device=x.device) - (counts.cumsum(0) - counts)[asking]
    kept = rank < k
    where = asking[kept], rank[kept]
    best = torch.full((len(q), k), torch.inf, device=x.device)
    indices = torch.zeros((len(q), k), dtype=torch.int64, device=x.device)
    best[where], indices[where] = distances[by_query][kept], pairs[order, 1][by_query][kept]
    return best, indices
