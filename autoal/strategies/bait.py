"""BAIT: the batch after which the last layer's parameters are known best, as Fisher information tells it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.uncertainty import checked_logits
from autoal.types import Context

FORMS = ("auto", "full", "binary")
FULL_UP_TO = 1024  # parameters D C of the last layer: the full form's matrices are (D C)^2
FULL_CANDIDATES = 2000  # the full form holds two C x C matrices a candidate, and looks at all of them for each pick
CHUNK = 16_384  # samples converted to float64 together
NUMBERS = 1 << 24  # held in a product of the first pass; in an array of C x C numbers for each candidate
SMALLEST_RIDGE = 1e-10  # of the largest information: float64 cannot tell a smaller one from none
FLOAT32_UP_TO = 10.0  # V^T M^-1 V, which ends near 0: of larger ones float32 leaves too few digits


class Bait(Strategy):
    """Greedy minimum of tr(M^-1 F): F is the pool's Fisher information, M that of chosen and picked samples.

    2 B samples are picked one after the other, then B of them are dropped, each time the one that is missed least.
    A sample x with probabilities p has the information (diag(p) - p p^T) (x) x x^T about the last layer.

    Args:
        fisher: "full"; "binary" = p(1) (1 - p(1)) x x^T, as if the question were whether the predicted class is right
            (Huseljic et al. 2024), for D x D matrices instead of (D C)^2; "auto" = full up to 1,024 parameters D C,
            unless C x C matrices of all candidates take over 128 MiB (2,000 candidates: C > 91).
        ridge: lambda in M = lambda I + sum of information. It is in the unit of the embeddings, squared.
    """

    name = "bait"
    needs = ("logits", "embeddings")
    reference = "Ash et al. 2021; Huseljic et al. 2024"

    def __init__(self, fisher: str = "auto", ridge: float = 1.0) -> None:
        self.fisher = checks.check_choice(fisher, "fisher", FORMS)
        if not ridge > 0:
            raise ValueError(f"ridge must be above 0, got {ridge}")
        self.ridge = ridge

    def pick(self, context: Context, size: int) -> Picks:
        """Pick order of the samples that stay; the score is what a pick took off tr(M^-1 F) when it was picked.

        The full form picks among at most 2,000 samples (or 4 B), drawn at random.
        """
        embeddings, logits = context.outputs.require("embeddings"), checked_logits(context)
        candidates, c = context.unlabeled, logits.shape[1]
        most = min(len(candidates), max(FULL_CANDIDATES, 4 * size))
        small = embeddings.shape[1] * c <= FULL_UP_TO and most * c**2 <= NUMBERS
        full = self.fisher == "full" or (self.fisher == "auto" and small)
        if full and len(candidates) > most:
            candidates = np.sort(context.generator(self.name).choice(candidates, most, replace=False))
        factors = full_factors if full else binary_factors
        pool = information(embeddings, logits, factors) / len(context)
        chosen, shown = torch.from_numpy(context.chosen), torch.from_numpy(candidates)
        known = information(embeddings[chosen], logits[chosen], factors)
        x, s = embeddings[shown].float(), factors(logits[shown])
        own = x.norm(dim=1).double().square() * s.square().sum(dim=(1, 2))  # [n] the trace of each one's information
        largest = max(float(known.diagonal().max()), float(own.max()))
        known.diagonal().add_(max(self.ridge, SMALLEST_RIDGE * largest))

        design = Design(torch.linalg.inv(known), pool)
        forward, gains = design.grow(x, s, min(2 * size, len(candidates)))
        kept = np.array(sorted(design.shrink(x[forward].double(), s[forward], len(forward) - size)))
        return Picks(candidates[np.array(forward)[kept]], np.array(gains)[kept])


def full_factors(logits: Tensor) -> Tensor:
    """s [n, C, C] float64 with s s^T = diag(p) - p p^T, of logits [n, C]."""
    p = logits.double().softmax(dim=1)
    return p.sqrt().diag_embed() - p[:, :, None] * p.sqrt()[:, None, :]


def binary_factors(logits: Tensor) -> Tensor:
    """s [n, 1, 1] float64 with s^2 = p(1) (1 - p(1)), of logits [n, C]."""
    best = logits.double().softmax(dim=1).amax(dim=1)
    return (best * (1 - best)).clamp_min(0).sqrt()[:, None, None]


def information(embeddings: Tensor, logits: Tensor, factors: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum over samples of (x (x) s) (x (x) s)^T: [D a, D a] float64, of embeddings [n, D] and logits [n, C]."""
    d, a = embeddings.shape[1], factors(logits[:1]).shape[1]
    total = embeddings.new_zeros(d, a, d, a, dtype=torch.float64)
    step = max(1, min(CHUNK, NUMBERS // (a * a)))
    for x, z in zip(embeddings.split(step), logits.split(step), strict=True):
        x, s = x.double(), factors(z)
        class_terms = s @ s.mT  # [n, a, a]
        for i in range(a):
            for j in range(i + 1):
                block = x.T @ (class_terms[:, i, j, None] * x)
                total[:, i, :, j] += block
                if j < i:
                    total[:, j, :, i] += block
    return total.reshape(d * a, d * a)


class Design:
    """M^-1 and M^-1 F M^-1, kept up to date as samples V = x (x) s are added to M or taken out (Woodbury's identity).

    Adding V takes tr(K V^T M^-1 F M^-1 V) off tr(M^-1 F), with K = (I + V^T M^-1 V)^-1; taking it out adds as much, but
    with a minus in K. So each candidate needs two r x r matrices, which low-rank updates keep up to date, too.
    """

    def __init__(self, inverse: Tensor, pool: Tensor) -> None:
        self.inverse = inverse
        self.sandwich = inverse @ pool @ inverse

    def grow(self, x: Tensor, s: Tensor, k: int) -> tuple[list[int], list[float]]:
        """Adds k of the candidates x [n, D] float32, s [n, a, r], each time the one that lowers the trace most."""
        picks, gains = [], []
        state = self._state(x, s)
        if float(state[0].diagonal(dim1=1, dim2=2).sum(dim=1).max()) > FLOAT32_UP_TO:
            x = x.double()
        free = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for _ in range(k):
            gain = _trace(state, 1.0).masked_fill(~free, -torch.inf)
            pick = int(gain.argmax())
            picks.append(pick)
            gains.append(float(gain[pick]))
            free[pick] = False
            state = self._update(x, s, state, pick, 1.0)
        return picks, gains

    def shrink(self, x: Tensor, s: Tensor, k: int) -> set[int]:
        """Takes out k of the samples x [n, D], s [n, a, r], each time the one that is missed least; who stays."""
        kept = set(range(len(x)))
        state = self._state(x, s)
        free = torch.ones(len(x), dtype=torch.bool, device=x.device)
        for _ in range(k):
            drop = int(_trace(state, -1.0).masked_fill(~free, torch.inf).argmin())
            kept.remove(drop)
            free[drop] = False
            state = self._update(x, s, state, drop, -1.0)
        return kept

    def _state(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """V^T M^-1 V and V^T M^-1 F M^-1 V of all candidates: [n, r, r] float64 each."""
        (n, d), a = x.shape, s.shape[1]
        step = max(1, NUMBERS // (a * d * a))
        found = []
        for matrix in (self.inverse, self.sandwich):
            columns = matrix.reshape(d, a * d * a)
            parts = []
            for i in range(0, n, step):
                rows_, factor = x[i : i + step].double(), s[i : i + step]
                half = (rows_ @ columns).reshape(-1, a, d, a)
                parts.append(factor.mT @ torch.einsum("nadb,nd->nab", half, rows_) @ factor)
            found.append(torch.cat(parts))
        return found[0], found[1]

    def _update(
        self, x: Tensor, s: Tensor, state: tuple[Tensor, Tensor], one: int, sign: float
    ) -> tuple[Tensor, Tensor]:
        """Adds candidate ``one`` to M (sign 1) or takes it out (-1), and gives the candidates' new state."""
        near, far = state
        r = s.shape[2]
        v = torch.einsum("d,ar->dar", x[one].double(), s[one]).reshape(-1, r)  # [D a, r]
        a, b = self.inverse @ v, self.sandwich @ v
        k = torch.linalg.inv(
            torch.eye(r, dtype=v.dtype, device=v.device) + sign * v.T @ a
        )  # the state's may be rounded
        inner = k @ (v.T @ b) @ k
        va, vb = _project(x, s, torch.cat([a, b], dim=1)).split(r, dim=2)  # [n, r, r]
        cross = _times(_times(va, k), vb.mT)
        self.inverse.addmm_(a, k @ a.T, alpha=-sign)  # in place, once over each matrix: they are the largest here
        self.sandwich.addmm_(
            torch.cat([a, b], dim=1), torch.cat([inner @ a.T - sign * k @ b.T, -sign * k @ a.T], dim=0)
        )
        far = far - sign * (cross + cross.mT) + _times(_times(va, inner), va.mT)
        return near - sign * _times(_times(va, k), va.mT), far


def _project(x: Tensor, s: Tensor, b: Tensor) -> Tensor:
    """V^T b [n, r, c] float64 of V = x (x) s, for x [n, D], s [n, a, r], b [D a, c]."""
    (n, d), a = x.shape, s.shape[1]
    # With two columns side by side, as b has them, the product takes four times as long.
    columns = b.to(x.dtype).reshape(d, -1).T.contiguous()
    return _times(s.mT, (x @ columns.T).reshape(n, a, -1).double())


def _times(a: Tensor, b: Tensor) -> Tensor:
    """a @ b [n, r, c] of a [n, r, k], b [n, k, c]; where k is 1 without the batched product, which is slow for that."""
    return a * b if a.shape[-1] == 1 else a @ b


def _trace(state: tuple[Tensor, Tensor], sign: float) -> Tensor:
    """[n] tr((I + sign V^T M^-1 V)^-1 V^T M^-1 F M^-1 V)."""
    near, far = state
    if near.shape[1] == 1:
        return far[:, 0, 0] / (1 + sign * near[:, 0, 0])
    inner = torch.eye(near.shape[1], dtype=near.dtype, device=near.device) + sign * near
    return torch.linalg.solve(inner, far).diagonal(dim1=1, dim2=2).sum(dim=1)
