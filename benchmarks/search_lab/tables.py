"""What the tables of docs/search-research.md compare: by table and row, how to make a run's query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

import autoal
from autoal.strategies import Strategy

from .coverage import Coverage
from .task import Query, State


@dataclass(frozen=True)
class Product:
    """A strategy of the package as a query, on FitNet's logits and features. An object serves one run."""

    strategy: str | Strategy

    def __call__(self, state: State) -> np.ndarray:
        """Picks [B]."""
        x, seed = state.task.x, int(state.generator(2).integers(2**62))
        return autoal.select(
            autoal.Outputs(logits=state.fit_net.logits(x), embeddings=x),
            state.task.query_size,
            self.strategy,
            labeled=state.labeled,
            labels=state.task.y[state.labeled],
            n_classes=state.task.n_classes,
            seed=seed,
        ).indices


def at_random(state: State) -> np.ndarray:
    """Picks [B]."""
    return state.generator(1).choice(state.unlabeled, state.task.query_size, replace=False)


Rows = dict[str, Callable[[], Query]]
narrow = partial(Coverage, narrow=2.0)
TABLES: dict[str, Rows] = {
    "points": {
        "random": lambda: at_random,
        "margin": lambda: Product("margin"),
        "maxherding": lambda: Product("maxherding"),
        "uherding without temperature": lambda: Product("uherding_raw"),
        '`search="prior"`': partial(Coverage, "prior"),
        "weights = reducible loss, from the true labels": partial(Coverage, "oracle", "oracle"),
        "weights = FitNet's true errors": partial(Coverage, "errors", "errors"),
    },
    "teachers": {
        "teacher's doubt, mixed with u": partial(Coverage, "doubt"),
        "teacher's reducible loss, mixed with u": partial(Coverage, "gain"),
        "total variation between teacher and FitNet, mixed with u": partial(Coverage, "variation"),
        "the same, mixed with SearchNet's e": partial(Coverage, "variation", "e"),
    },
    "queries": {
        "multiplier u^2": partial(Coverage, power=2),
        "u^2, kernel twice as narrow": partial(narrow, power=2),
        "u^3, kernel twice as narrow": partial(narrow, power=3),
        "u^2, narrow, w = u (no SearchNet)": partial(narrow, "u", power=2),
        "u^2, narrow, w = 1": partial(narrow, "one", "one", power=2),
        "narrower by rho^-1/2; u^1.5": partial(Coverage, rho=0.5, power=1.5),
        "narrower by rho^-1/4; u^1.5": partial(Coverage, rho=0.25, power=1.5),
        "rational quadratic kernel, u^2, narrow": partial(narrow, power=2, kernel="rational"),
        "Laplacian kernel, u^2, narrow": partial(narrow, power=2, kernel="laplacian"),
        "squared distance of the class probabilities added, u^2, narrow": partial(narrow, power=2, classes=1.0),
    },
    "candidates": {
        "seven default candidates": lambda: Product(autoal.AutoAL()),
        "one candidate (margin)": lambda: Product(autoal.AutoAL(("margin",))),
        '`search="prior"`': partial(Coverage, "prior"),
        '`search="none"`': partial(Coverage, "u"),
    },
}
BASE = "autoal"  # what the others are compared with: no candidates
QUERIES: Rows = {BASE: Coverage} | {row: query for rows in TABLES.values() for row, query in rows.items()}
