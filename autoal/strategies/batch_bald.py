"""Batches for BALD: BatchBALD counts what the labels of a batch tell together; PowerBALD draws by the single scores.

BatchBALD's objective is the mutual information of the batch's labels y_S and the model w, of which T samples are given:

    I(y_S; w) = H(y_S) - E_w H(y_S | w),      p(y_S) = 1/T sum_t prod_{i in S} p_i^t(y_i)

Written per pick, with pi_t(y_S) = prod p_i^t(y_i) / sum over t (what a configuration y_S says of the model):

    gain(i | S) = E_{y_S}[ H(sum_t pi_t p_i^t) - sum_t pi_t H(p_i^t) ] = the BALD of i under pi, averaged over y_S
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import torch
from torch import Tensor

from autoal.strategies.base import Picks, ScoreStrategy, Strategy
from autoal.strategies.bayesian import mc_uncertainty_scores
from autoal.types import Context

CONFIGURATION_NUMBERS = 1 << 16  # configurations times classes: C^|S| are exact while they fit, then as many are drawn
BLOCK_NUMBERS = 1 << 20  # numbers held while gains are computed: they stay in the cache
SHORTLIST = 2_000  # samples of the largest BALD that are looked at, at least; or this many per pick:
SHORTLIST_PER_PICK = 10
FIRST_BLOCK = 16  # samples whose gains are brought up to date together; each block of a pick is twice the last
CERTAIN = 1 - 1e-6  # a configuration that gives one model this probability has nothing more to tell
SATURATED = 1e-5  # nats: a gain below is rounding
TINY = torch.finfo(torch.float32).tiny
SMALLEST_BALD = 1e-12  # before the logarithm


class SaturationWarning(UserWarning):
    """The labels of the first picks already tell which of the T models is right: further picks have nothing to add."""


class Configurations:
    """The configurations y_S of the picks' labels: all of them while they fit, then a sample of their joint law.

    Args:
        n_samples: T.
        n_classes: C.
        rng: Draws the sample.

    Attributes:
        posterior: [M, T] float32, pi of each configuration.
        weight: [M] float32, its probability p(y_S); those that are certain of a model are left out, as their gain is 0.
        exact: Whether none was drawn.
    """

    def __init__(self, n_samples: int, n_classes: int, rng: np.random.Generator) -> None:
        self.most = max(1, CONFIGURATION_NUMBERS // n_classes)
        self.rng = rng
        self.posterior = torch.full((1, n_samples), 1 / n_samples)
        self.weight = torch.ones(1)
        self.exact = True

    def gains(self, p: Tensor) -> Tensor:
        """[n] nats that the labels of n samples, p [T, n, C], tell beyond those of S."""
        n_samples, n, n_classes = p.shape
        share = self.weight @ self.posterior  # [T] E[pi]
        out = torch.empty(n)
        step = max(1, BLOCK_NUMBERS // max(1, len(self.weight) * n_classes))
        for i in range(0, n, step):
            part = p[:, i : i + step]
            mixed = (self.posterior @ part.reshape(n_samples, -1)).clamp_min_(TINY)  # [M, n C]
            mixed = mixed.log().mul_(mixed).view(len(self.weight), -1, n_classes).sum(dim=2)
            known = share @ torch.special.entr(part).sum(dim=2)  # sum_t E[pi_t] H(p^t)
            out[i : i + step] = -(self.weight @ mixed) - known
        return out.clamp_min(0)

    def extend(self, p: Tensor) -> None:
        """Adds a pick of probabilities p [T, C] to S."""
        joint = self.posterior[:, None, :] * p.T  # [M, C, T]
        evidence = joint.sum(dim=2)
        weight = (self.weight[:, None] * evidence).ravel()
        posterior = (joint / evidence.clamp_min(TINY)[:, :, None]).flatten(0, 1)
        open_ = (weight > 0) & (posterior.amax(dim=1) < CERTAIN)
        weight, posterior = weight[open_], posterior[open_]
        if len(weight) > self.most:
            self.exact = False
            total = weight.sum(dtype=torch.float64)
            steps = (torch.arange(self.most, dtype=torch.float64) + self.rng.random()) / self.most * total
            drawn = torch.searchsorted(weight.cumsum(0, dtype=torch.float64), steps, right=True)
            posterior = posterior[drawn.clamp_max(len(weight) - 1)]
            weight = torch.full((self.most,), float(total) / self.most)
        self.posterior, self.weight = posterior, weight


class BatchBald(Strategy):
    """What the labels of the whole batch tell about the model: H[y_1..y_B] - mean H[y_1..y_B | model]."""

    name = "batchbald"
    needs = ("mc_logits",)
    reference = "Kirsch et al. 2019"

    def pick(self, context: Context, size: int) -> Picks:
        """Greedy picks; the score is the information that the pick adds, in nats, 0 where it only fills up.

        What the labels of pending samples will tell is not counted again. The information of T models is at most log T:
        some picks in, nothing is left to gain. Further picks go by BALD, and a ``SaturationWarning`` says how many.
        """
        unlabeled = context.unlabeled
        bald = torch.as_tensor(mc_uncertainty_scores(context).bald)[torch.from_numpy(unlabeled)].cpu().numpy()
        by_bald = np.argsort(-bald, kind="stable")
        shortlist = np.sort(by_bald[: max(SHORTLIST, SHORTLIST_PER_PICK * size)])
        mc_logits = context.outputs.require("mc_logits")
        p = torch.empty(len(mc_logits), len(shortlist), mc_logits.shape[2])
        for t, logits in enumerate(mc_logits):  # one after the other: these are the largest arrays here
            p[t] = logits[torch.from_numpy(unlabeled[shortlist])].float().softmax(dim=1)
        configurations = Configurations(len(p), p.shape[2], context.generator(self.name))
        for row in context.pending:
            configurations.extend(mc_logits[:, row].float().softmax(dim=1))
        picked, gains = greedy(p, bald[shortlist], size, configurations)
        positions = shortlist[picked]
        if len(positions) < size:
            warnings.warn(
                f"{size - len(positions)} of {size} picks only fill up, by BALD: the labels of the first "
                f"{len(positions)} tell all that {p.shape[0]} MC samples can ({math.log(p.shape[0]):.2f} nats)",
                SaturationWarning,
                stacklevel=2,
            )
            rest = by_bald[~np.isin(by_bald, positions)][: size - len(positions)]
            positions, gains = np.concatenate([positions, rest]), np.pad(gains, (0, len(rest)))
        return Picks(unlabeled[positions], gains)


def greedy(p: Tensor, bald: np.ndarray, size: int, configurations: Configurations) -> tuple[np.ndarray, np.ndarray]:
    """Positions of up to ``size`` picks among p [T, n, C], and their gains; fewer where gains end.

    ``configurations`` are those of the labels that are on their way already, or of none.

    Mutual information is submodular: a gain only shrinks while S grows, so that gains of earlier picks, and ``bald``
    [n] at the start, are upper bounds, and only samples whose bound exceeds the best fresh gain are looked at again.
    Of drawn configurations this holds for the gains that they estimate.
    """
    bound = bald.astype(np.float64)
    picked: list[int] = []
    gains: list[float] = []
    while len(picked) < min(size, len(bound)) and len(configurations.weight):
        order = np.argsort(-bound, kind="stable")[: len(bound) - len(picked)]
        best, start, block = -np.inf, 0, FIRST_BLOCK
        while start < len(order) and bound[order[start]] >= best:
            rows = order[start : start + block]
            bound[rows] = configurations.gains(p[:, torch.from_numpy(rows)]).double().numpy()
            best, start, block = max(best, bound[rows].max()), start + block, 2 * block
        pick = int(bound.argmax())
        if bound[pick] < SATURATED:
            break
        picked.append(pick)
        gains.append(bound[pick])
        configurations.extend(p[:, pick])
        bound[pick] = -np.inf
    return np.array(picked, np.int64), np.array(gains, np.float32)


class PowerBald(ScoreStrategy):
    """Draws without replacement with probability BALD^beta: log BALD^beta + Gumbel noise, the highest.

    Args:
        beta: 0 is random, infinity is BALD.
    """

    name = "powerbald"
    needs = ("mc_logits",)
    reference = "Kirsch et al. 2021"

    def __init__(self, beta: float = 1.0) -> None:
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta must be finite and at least 0; got {beta}")
        self.beta = beta

    def score(self, context: Context) -> Tensor:
        """[N] beta log BALD + a standard Gumbel draw."""
        bald = torch.as_tensor(mc_uncertainty_scores(context).bald).double().cpu()
        noise = torch.from_numpy(context.generator(self.name).gumbel(size=len(context)))
        return self.beta * bald.clamp_min(SMALLEST_BALD).log() + noise
