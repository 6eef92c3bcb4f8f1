"""Softmax regression anew, in numpy and scipy: what strategies that fit a classifier are compared to."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax


def prepared(x):
    """x [N, D] centered, scaled to a mean squared norm of 128, with a column of ones."""
    centered = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    return np.column_stack([centered * np.sqrt(128 / np.square(centered).sum(axis=1).mean()), np.ones(len(x))])


def regression(x, y, n_classes):
    """W [D, C]: summed cross-entropy of x [L, D], y [L] plus 5 |W|^2."""

    def loss(flat):
        w = flat.reshape(-1, n_classes)
        z = x @ w
        residual = softmax(z, axis=1)
        value = (logsumexp(z, axis=1) - z[np.arange(len(y)), y]).sum() + 5 * np.square(w).sum()
        residual[np.arange(len(y)), y] -= 1
        return value, (x.T @ residual + 10 * w).ravel()

    start = np.zeros(x.shape[1] * n_classes)
    return minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-9}).x.reshape(-1, n_classes)
