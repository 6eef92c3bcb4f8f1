"""AutoAL: searches, on the labels so far, which candidate strategies to trust where, and asks accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks
from autoal.ops.rows import Rows
from autoal.search.candidates import Candidates
from autoal.search.coverage.variant import CoverageSearch
from autoal.search.features import Features
from autoal.search.fit_net import FitNet
from autoal.search.paper.search import BilevelSearch
from autoal.search.paper.variant import PaperSearch
from autoal.search.stopwatch import Stopwatch
from autoal.strategies.base import Picks, Strategy
from autoal.types import Context

DEFAULT_CANDIDATES = ("entropy", "margin", "least_confidence", "kmeans", "bald", "variation_ratio", "mean_std")
VARIANTS = ("coverage", "paper")
SEARCHES = ("adaptive", "prior", "none")
QUERIES = ("coverage", "top")


class AutoAL(Strategy):
    """Learns from the labels so far where the classifier errs and which candidate strategies see it, then covers that.

    Both variants work on frozen embeddings with a FitNet that is fitted to the labels; ``docs/algorithm.md`` has the
    equations. An object serves one run: it remembers its queries, and starts afresh when the embeddings change.

    Args:
        candidates: Names, classes or objects of strategies, users' own included. Outputs that they need and the
            context lacks are drawn from FitNet.
        variant: "coverage": SearchNet predicts FitNet's errors and weighs a coverage query by them. "paper": the
            bi-level search of the AutoAL paper with repaired mechanics.
        search: "adaptive" learns from this task. "none" does without: the coverage variant then weighs by uncertainty
            alone, the paper's by all candidates alike. "prior" (coverage only) keeps what is known from other tasks.
        query: Of the paper variant. "coverage" (the default) weighs a coverage query by SearchNet's scores, "top" takes
            the highest, as the paper does.
        backbone: Of the paper variant's nets. "linear" or "mlp" on the embeddings, "resnet18" or a module on
            ``Context.inputs``.
        loss_prediction: Of the paper variant: whether SearchNet also learns to predict losses (the default).
        damped: Of the coverage variant: weights sqrt(e u) instead of e.
        seed: Replaces the seed of the context, if given.

    Raises:
        TypeError: If a candidate is no strategy, or loss_prediction no bool.
        ValueError: If a name is unknown, or an argument belongs to the other variant.
    """

    name = "autoal"
    needs = ("embeddings", "labels")
    reference = "Wang et al. 2025"

    def __init__(
        self,
        candidates: Sequence[str | type[Strategy] | Strategy] = DEFAULT_CANDIDATES,
        variant: str = "coverage",
        search: str = "adaptive",
        query: str | None = None,
        backbone: str | torch.nn.Module = "linear",
        loss_prediction: bool | None = None,
        damped: bool = True,
        seed: int | None = None,
    ) -> None:
        self.candidates = Candidates(candidates)
        if any(isinstance(strategy, AutoAL) for strategy in self.candidates.strategies):
            raise ValueError("candidates must not hold 'autoal' itself: name the strategies it shall choose among")
        self.variant = checks.check_choice(variant, "variant", VARIANTS)
        checks.check_choice(search, "search", SEARCHES)
        if variant == "coverage" and (query, backbone, loss_prediction) != (None, "linear", None):
            raise ValueError(
                "query, backbone and loss_prediction belong to variant='paper': leave them out, or choose that variant"
            )
        if variant == "paper" and (search == "prior" or not damped):
            raise ValueError(
                "search='prior' and damped belong to variant='coverage': leave them out, or choose that variant"
            )
        query = checks.check_choice("coverage" if query is None else query, "query", QUERIES)
        loss_prediction = checks.as_bool(True if loss_prediction is None else loss_prediction, "loss_prediction")
        self.seed = None if seed is None else checks.as_count(seed, "seed", high=2**63 - 1)
        self.wants = tuple(name for name in self.candidates.needs if name not in self.needs)
        self.settings: dict[str, Any] = {
            "candidates": list(self.candidates.names),
            "variant": variant,
            "search": search,
            "query": query,
            "backbone": backbone if isinstance(backbone, str) else type(backbone).__name__,
            "loss_prediction": loss_prediction,
            "damped": damped,
            "seed": self.seed,
        }
        self._search: CoverageSearch | PaperSearch = CoverageSearch(search, damped, self.candidates)
        if variant == "paper":
            bilevel = BilevelSearch(backbone, loss_prediction=loss_prediction)
            self._search = PaperSearch(query, None if search == "none" else bilevel, self.candidates)
        self._features: Features | None = None
        self._fit_net: FitNet | None = None

    def pick(self, context: Context, size: int) -> Picks:
        """One round, stage by stage."""
        if self.seed is not None:
            context = replace(context, seed=(self.seed + len(context.labeled) + (len(context.pending) << 32)) % 2**63)
        assert context.labels is not None
        clock = Stopwatch()

        features = self._look(context)
        x = features.x[torch.from_numpy(context.labeled)]
        fit_net = self._fit_net = FitNet.fitted(x, context.labels, context.n_classes, start=self._fit_net)
        clock.lap("fit_net")

        logits = fit_net.logits(features.x)  # [N, C], the only such array: for the candidates and all that follows
        clock.lap("outputs")

        ranks, votes = self._ask(context, fit_net, features.x, logits, size, clock)
        choice = self._search.choose(context, features, fit_net, logits, ranks, size, clock)

        cast = votes[choice.positions].astype(np.int64)  # [B, S]
        columns = {**choice.columns, "votes": cast.sum(axis=1)}
        columns |= {f"vote_{name}": vote for name, vote in zip(self.candidates.names, cast.T, strict=True)}
        weights = dict(zip(self.candidates.names, choice.strategy_weights.tolist(), strict=True))
        return Picks(context.unlabeled[choice.positions], choice.scores, columns, weights, clock.seconds)

    def settle(self, asked: np.ndarray) -> None:
        """Forgets the others of the last query."""
        self._search.settle(asked)

    def _ask(
        self, context: Context, fit_net: FitNet, x: Rows, logits: Tensor, size: int, clock: Stopwatch
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ranks and votes [U, S] of the candidates, from outputs that are let go of on return."""
        context = self.candidates.complete(context, fit_net, x, logits)
        ranks = self.candidates.ranks(context, fit_net, x, size, clock)
        votes = self.candidates.votes(context, fit_net, x, size, ranks)
        self.candidates.warn_of_degenerate(ranks)
        clock.lap("candidates")
        return ranks, votes

    def _look(self, context: Context) -> Features:
        """The features of the pool: the last round's, if its embeddings have not changed."""
        embeddings = context.outputs.embeddings
        assert embeddings is not None
        if self._features is None or not self._features.matches(embeddings):
            self._features, self._fit_net = Features(embeddings), None
            self._search.forget()
        return self._features
