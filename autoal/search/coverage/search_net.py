"""SearchNet of the coverage variant: where is FitNet wrong? A logistic model under a meta-prior from other tasks.

    e = sigmoid(beta . phi + beta_0),   phi = four signals of FitNet's errors, and a rank score per candidate strategy

The meta-prior (fitted once on other data sets) carries most of the knowledge: 20 to 200 labels move it little. A
candidate's score starts at weight 0: it must earn its influence on this task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

NEWTON_STEPS = 12
SIGNAL_MEAN = np.array([0.144, 0.775, 4.563, 2.202])
SIGNAL_SCALE = np.array([1.305, 0.989, 0.243, 0.185])  # the signals' standard deviations
CANDIDATE_DEVIATION = 0.25  # of a candidate's coefficient; its score spans 1
INTERCEPT_MEAN = -3.803
INTERCEPT_DEVIATION = 0.25


@dataclass(frozen=True)
class Evidence:
    """Predictions of FitNet whose truth is known by now, r of them.

    Attributes:
        phi: [r, 4 + S] signals when the prediction was made.
        wrong: [r] whether it was wrong.
        weight: [r] how much the row counts.
        crossfit: [r] whether it comes from a FitNet on half of the labels, which errs more often.
    """

    phi: np.ndarray
    wrong: np.ndarray
    weight: np.ndarray
    crossfit: np.ndarray

    @staticmethod
    def joined(parts: list[Evidence], width: int) -> Evidence:
        """All rows of ``parts``, of phi with ``width`` columns."""
        phi = np.concatenate([np.empty((0, width)), *(part.phi for part in parts)])
        columns = [
            np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])
            for name in ("wrong", "weight", "crossfit")
        ]
        return Evidence(phi, *columns)


class SearchNet:
    """Predicts the probability that FitNet errs on a point.

    Args:
        n_candidates: S, the number of candidate strategies whose scores follow the four signals in phi.
    """

    def __init__(self, n_candidates: int) -> None:
        none = np.zeros(n_candidates)
        # coefficients of the signals, the candidates, the intercept, the extra intercept of cross-fit rows
        self._mean = np.concatenate([SIGNAL_MEAN, none, [INTERCEPT_MEAN, 0.0]])
        deviation = np.concatenate([0.5 / SIGNAL_SCALE, none + CANDIDATE_DEVIATION, [INTERCEPT_DEVIATION] * 2])
        self._precision = deviation**-2.0
        self.coefficients = self._mean.copy()  # [4 + S + 2]

    def fit(self, evidence: Evidence) -> None:
        """The most probable coefficients given the evidence, by Newton's method."""
        design = np.column_stack([evidence.phi, np.ones(len(evidence.phi)), evidence.crossfit])
        beta = self._mean.copy()
        for _ in range(NEWTON_STEPS):
            e = expit(design @ beta)
            gradient = design.T @ (evidence.weight * (e - evidence.wrong)) + self._precision * (beta - self._mean)
            curvature = evidence.weight * e * (1 - e)
            hessian = (design * curvature[:, None]).T @ design + np.diag(self._precision)
            beta -= np.linalg.solve(hessian, gradient)
        self.coefficients = beta

    def logit(self, phi: np.ndarray) -> np.ndarray:
        """beta . phi + beta_0 [n] of signals phi [n, 4 + S]."""
        return phi @ self.coefficients[:-2] + self.coefficients[-2]

    def error_probability(self, phi: np.ndarray) -> np.ndarray:
        """e [n] of signals phi [n, 4 + S]."""
        return expit(self.logit(phi))
