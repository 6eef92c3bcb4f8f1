"""The coverage variant in plain numpy and scipy, all pairs in memory: the product must agree with it.

It shares no code with the product and knows no candidate strategies. D counts the bias column after ``prepare``.
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

RIDGE = 10.0
MEAN_SQUARED_NORM = 128.0
NEIGHBORS, HALVINGS, HISTORY = 10, 3, 5
# SearchNet's meta-prior: four signals (deviation 1 / (2 std of the signal)), intercept, extra one of cross-fit rows
PRIOR_MEAN = np.array([0.144, 0.775, 4.563, 2.202, -3.803, 0.0])
PRIOR_PRECISION = 4.0 * np.array([1.305, 0.989, 0.243, 0.185, 2.0, 2.0]) ** 2


def prepare(x: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[N, D - 1] to [N, D]: centered and scaled as ``reference`` demands, bias column appended."""
    mean = reference.mean(axis=0)
    scale = np.sqrt(MEAN_SQUARED_NORM / max(np.square(reference - mean).sum(axis=1).mean(), 1e-12))
    return np.column_stack([(x - mean) * scale, np.ones(len(x))])


def top_two(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest and second largest of each row of p [N, C]; the second is 0 if C = 1."""
    ordered = np.sort(np.column_stack([p, np.zeros(len(p))]), axis=1)
    return ordered[:, -1], ordered[:, -2]


def fit_net(x: np.ndarray, y: np.ndarray, n_classes: int, start: np.ndarray | None = None) -> np.ndarray:
    """W [D, C], the minimiser of the summed cross-entropy of x [L, D], y [L] plus RIDGE / 2 |W|^2."""
    shape, onehot = (x.shape[1], n_classes), np.eye(n_classes)[y]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight = flat.reshape(shape)
        z = x @ weight
        log_norm = logsumexp(z, axis=1)
        loss = log_norm.sum() - (z * onehot).sum() + RIDGE / 2 * np.square(weight).sum()
        return loss, (x.T @ (np.exp(z - log_norm[:, None]) - onehot) + RIDGE * weight).ravel()

    start = np.zeros(shape) if start is None or start.shape != shape else start
    return minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1e-3}).x.reshape(shape)


def laplace_uncertainty(x: np.ndarray, weight: np.ndarray, x_labeled: np.ndarray) -> np.ndarray:
    """u [N]: one minus the margin of the probabilities under a block-diagonal Laplace posterior of W [D, C]."""
    z, p = x @ weight, softmax(x_labeled @ weight, axis=1)
    for c in range(weight.shape[1]):
        hessian = (x_labeled * (p[:, c] * (1 - p[:, c]))[:, None]).T @ x_labeled + RIDGE * np.eye(len(weight))
        half = solve_triangular(cholesky(hessian, lower=True), x.T, lower=True)
        z[:, c] /= np.sqrt(1 + np.pi / 8 * np.square(half).sum(axis=0))
    return np.maximum(1 - np.subtract(*top_two(softmax(z, axis=1))), 1e-6)


def kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    """exp(-gamma |a - b|^2) of unit rows [n, D] and [m, D]: [n, m] float32."""
    return np.exp((-gamma * (2 - 2 * np.clip(a @ b.T, -1, 1))).astype(np.float32))


def bandwidth(unit_labeled: np.ndarray) -> float:
    """gamma: one over the median squared distance of a labeled point to the nearest other; 1 if there is none."""
    if len(unit_labeled) < 2:
        return 1.0
    similarity = unit_labeled @ unit_labeled.T
    np.fill_diagonal(similarity, -1)
    return 1 / max(float(np.median(2 - 2 * similarity.max(axis=1))), 1e-3)


def neighbor_graph(unit: np.ndarray) -> np.ndarray:
    """[N, min(10, N - 1)] most similar other points, in no order."""
    similarity, k = unit @ unit.T, min(NEIGHBORS, len(unit) - 1)
    np.fill_diagonal(similarity, -np.inf)
    return np.argpartition(-similarity, k - 1, axis=1)[:, :k]


def signals(p: np.ndarray, rows: np.ndarray, graph: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """phi [r, 4] of the points ``rows`` [r]; p [N, C] and graph [N, k] of all points, covered [r]."""
    first, second = top_two(p[rows])
    agreement = p[graph[rows], p[rows].argmax(axis=1)[:, None]].mean(axis=1)
    log_margin = np.minimum(np.log((first + 1e-6) / (second + 1e-6)), 6)
    return np.column_stack([-log_margin, np.log(1 - first + 1e-3), 1 - agreement, 1 - covered])


def fit_search_net(evidence: np.ndarray) -> np.ndarray:
    """Coefficients [5], intercept last, from evidence [r, 7]: phi, wrong, weight, is cross-fit."""
    phi, (wrong, weight, crossfit) = evidence[:, :4], evidence[:, 4:].T
    design = np.column_stack([phi, np.ones(len(phi)), crossfit])
    beta = PRIOR_MEAN.copy()
    for _ in range(12):
        e = expit(design @ beta)
        gradient = design.T @ (weight * (e - wrong)) + PRIOR_PRECISION * (beta - PRIOR_MEAN)
        hessian = (design * (weight * e * (1 - e))[:, None]).T @ design + np.diag(PRIOR_PRECISION)
        beta -= np.linalg.solve(hessian, gradient)
    return beta[:5]


def greedy_coverage(k: np.ndarray, covered: np.ndarray, weight: np.ndarray, u: np.ndarray, size: int) -> list[int]:
    """Exact lazy greedy picks [B] by u_i * sum_j weight_j max(0, k_ij - covered_j); k [U, U]."""
    covered, picks = covered.copy(), []

    def gain(i: int) -> float:
        return u[i] * (np.maximum(k[i] - covered, 0) @ weight)

    heap = [(-gain(i), i, 0) for i in range(len(k))]  # minus the gain, the candidate, how many picks it knows of
    heapq.heapify(heap)
    while len(picks) < size:
        _, i, known = heapq.heappop(heap)
        if known < len(picks):
            heapq.heappush(heap, (-gain(i), i, len(picks)))
        else:
            picks.append(i)
            np.maximum(covered, k[i], out=covered)
    return picks


class CoverageQuery:
    """Batches of one run on one pool: x [N, D - 1] raw features."""

    def __init__(self, x: np.ndarray, n_classes: int, search: str = "adaptive", damped: bool = True) -> None:
        self.n_classes, self.search, self.damped = n_classes, search, damped
        self.x = prepare(x, x)
        self.unit = self.x / np.linalg.norm(self.x, axis=1, keepdims=True)
        self.graph = neighbor_graph(self.unit)
        self.weight: np.ndarray | None = None
        self.history: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # picks, their phi, predicted class

    def query(self, labeled: np.ndarray, labels: np.ndarray, size: int, halvings: np.random.Generator) -> np.ndarray:
        """Pool indices [B] in the order of picking, from labeled [L] and their labels [L]."""
        x, unit = self.x, self.unit
        unlabeled = np.setdiff1d(np.arange(len(x)), labeled)
        y = np.full(len(x), -1)
        y[labeled] = labels

        self.weight = fit_net(x[labeled], labels, self.n_classes, start=self.weight)
        p = softmax(x @ self.weight, axis=1)
        u = laplace_uncertainty(x[unlabeled], self.weight, x[labeled])
        gamma = bandwidth(unit[labeled])
        to_labels = kernel(unit[labeled], unit, gamma)  # [L, N]
        covered = to_labels.max(axis=0, initial=0)[unlabeled]
        phi = signals(p, unlabeled, self.graph, covered)

        beta = self._adapt(y, labeled, to_labels, halvings) if self.search == "adaptive" else PRIOR_MEAN[:5]
        e = u if self.search == "none" else expit(phi @ beta[:4] + beta[4])
        w = np.sqrt(e * u) if self.damped else e
        picks = greedy_coverage(kernel(unit[unlabeled], unit[unlabeled], gamma), covered, w, u, size)
        self.history.append((unlabeled[picks], phi[picks], p[unlabeled[picks]].argmax(axis=1)))
        return unlabeled[picks]

    def _adapt(self, y: np.ndarray, labeled: np.ndarray, to_labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """SearchNet's coefficients [5] from cross-fit rows and from the answers to the last queries."""
        evidence = [np.empty((0, 7))]  # columns: four signals, wrong, weight, crossfit
        for _ in range(HALVINGS if len(labeled) > 1 else 0):
            halves = np.array_split(rng.permutation(len(labeled)), 2)
            for train, held in (halves, halves[::-1]):
                rows = labeled[held]
                weight = fit_net(self.x[labeled[train]], y[labeled[train]], self.n_classes)
                p = softmax(self.x @ weight, axis=1)
                phi = signals(p, rows, self.graph, to_labels[np.ix_(train, rows)].max(axis=0))
                wrong, one = p[rows].argmax(axis=1) != y[rows], np.ones(len(rows))
                evidence.append(np.column_stack([phi, wrong, one / HALVINGS, one]))
        for picks, phi, predicted in self.history[-HISTORY:]:
            one = np.ones(len(picks))
            evidence.append(np.column_stack([phi, predicted != y[picks], one, 0 * one])[y[picks] >= 0])
        return fit_search_net(np.concatenate(evidence))
