"""ALBL: candidates as the arms of the bandit EXP4.P, rewarded with an importance-weighted accuracy.

Per pick, with K candidates, of which one is random sampling (so that every sample can be asked), and T picks in all:

    p_k = (1 - K p_min) w_k / sum w + p_min,   p_min = sqrt(ln K / (K T))
    q_i = sum_k p_k phi_ki                     phi_k: candidate k's advice, a distribution over the samples; i ~ q
    r   = 1 / (n T) sum over all answers so far of [f(x_i) = y_i] / q_i,     f fitted to all labels, n samples
    w_k *= exp(p_min / 2 (phi_ki r / q_i + 1 / p_k sqrt(ln(K / delta) / (K T))))
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from autoal import checks
from autoal.search.autoal import DEFAULT_CANDIDATES
from autoal.strategies.automated import Automated, Nominees, class_of
from autoal.strategies.base import Picks, Strategy
from autoal.strategies.frozen import features, fit_net
from autoal.strategies.random_sampling import RandomSampling
from autoal.strategies.rounds import Asked
from autoal.types import Context

DELTA = 0.1


@dataclass
class AlblRound(Asked):
    """A query, as its picks were drawn.

    Attributes:
        p: [K] the candidates' probabilities.
        q: [B] the picks' probabilities.
        advice: [B, K] phi_k of the pick.
        reward: r, once answers are there; NaN before.
    """

    PER_PICK = ("picks", "q", "advice")

    p: np.ndarray
    q: np.ndarray
    advice: np.ndarray
    reward: float = math.nan


class Albl(Automated[AlblRound]):
    """Candidates that asked for what the classifier now gets right are followed more often (the bandit EXP4.P).

    Args:
        candidates: Names, classes or objects of strategies; "random" is added where it is not among them.
        horizon: T, how many labels will be asked for in all: the bandit explores accordingly.
    """

    name = "albl"
    reference = "Hsu & Lin 2015"

    def __init__(
        self, candidates: Iterable[str | type[Strategy] | Strategy] = DEFAULT_CANDIDATES, horizon: int = 1000
    ) -> None:
        super().__init__(candidates)
        self.uniform = [isinstance(strategy, RandomSampling) for strategy in self.candidates.strategies]
        if not any(self.uniform):
            super().__init__((*self.candidates.strategies, RandomSampling))
            self.uniform.append(True)
        self.horizon = checks.as_count(horizon, "horizon", low=1)

    def pick(self, context: Context, size: int) -> Picks:
        """Pick by pick, weights fixed within the batch; the score is q, the probability with which it was drawn."""
        p = self.probabilities(self.weights(context))
        nominees = Nominees(self.batches(context, size))
        rng = context.generator(self.name)
        shuffled = Nominees([rng.permutation(context.unlabeled)])
        rest, k = len(context.unlabeled), len(p)
        picks, arms = np.empty(size, np.int64), np.empty(size, np.int64)
        advice = np.empty((size, k))
        for b in range(size):
            arms[b] = rng.choice(k, p=p)
            picks[b] = shuffled.of(0) if self.uniform[arms[b]] else nominees.of(arms[b])
            agree = [nominees.of(arm) == picks[b] for arm in range(k)]
            advice[b] = np.where(self.uniform, 1 / (rest - b), agree)
            nominees.take(picks[b])
            shuffled.take(picks[b])
        q = advice @ p
        self._rounds.add(AlblRound(len(context.labeled), picks, p, q, advice))
        return self.picks(picks, q, arms, p)

    def weights(self, context: Context) -> np.ndarray:
        """[K] log w after the answers so far; each round's reward is taken when its answers are first there."""
        k = len(self.candidates)
        rounds = self.answered(context)
        if rounds and math.isnan(rounds[-1].reward):
            rounds[-1].reward = self.importance_weighted_accuracy(context, rounds)
        log_w = np.zeros(k)
        classes = class_of(context)
        bonus = math.sqrt(math.log(k / DELTA) / (k * self.horizon))
        for asked in rounds:
            known = classes[asked.picks] >= 0
            gained = asked.advice * (asked.reward / asked.q)[:, None] + bonus / asked.p
            log_w += self.p_min / 2 * gained[known].sum(axis=0)
        return log_w

    def importance_weighted_accuracy(self, context: Context, rounds: list[AlblRound]) -> float:
        """r: an unbiased estimate of the accuracy on the pool, times the share of the horizon that is over."""
        picks, q = np.concatenate([asked.picks for asked in rounds]), np.concatenate([asked.q for asked in rounds])
        classes = class_of(context)[picks]
        x = features(context)[torch.from_numpy(picks)]
        right = fit_net(context).logits(x).argmax(dim=1).cpu().numpy() == classes
        return float((right[classes >= 0] / q[classes >= 0]).sum() / (len(context) * self.horizon))

    @property
    def p_min(self) -> float:
        """The least probability of a candidate; at most 1 / K."""
        k = len(self.candidates)
        return min(1 / k, math.sqrt(math.log(k) / (k * self.horizon)))

    def probabilities(self, log_w: np.ndarray) -> np.ndarray:
        """p [K] of log w [K]."""
        w = np.exp(log_w - log_w.max())
        return (1 - len(w) * self.p_min) * w / w.sum() + self.p_min
