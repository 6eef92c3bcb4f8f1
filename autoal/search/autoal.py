"""AutoAL: searches, on the labels so far, which candidate strategies to trust where, and asks accordingly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from autoal import checks
from autoal.search.candidates import Candidates, half_context
from autoal.search.coverage.variant import Choice, Coverage, CoverageSearch
from autoal.search.features import Features
from autoal.search.fit_net import FitNet, halves
from autoal.search.paper import PaperSearch
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
        search: Of the coverage variant. "adaptive" fits SearchNet to this task, "prior" keeps what it knows from other
            tasks, "none" does without.
        query: Of the paper variant. "coverage" (the default) weighs a coverage query by SearchNet's scores, "top" takes
            the highest, as the paper does.
        backbone: Of the paper variant's nets. "linear" or "mlp" on the embeddings, "resnet18" or a module on
            ``Context.inputs``.
        damped: Of the coverage variant: weights sqrt(e u) instead of e.
        seed: Replaces the seed of the context, if given.

    Raises:
        TypeError: If a candidate is no strategy.
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
        damped: bool = True,
        seed: int | None = None,
    ) -> None:
        self.candidates = Candidates(candidates)
        if any(isinstance(strategy, AutoAL) for strategy in self.candidates.strategies):
            raise ValueError("candidates must not hold 'autoal' itself: name the strategies it shall choose among")
        self.variant = checks.check_choice(variant, "variant", VARIANTS)
        checks.check_choice(search, "search", SEARCHES)
        if variant == "coverage" and (query is not None or backbone != "linear"):
            raise ValueError("query and backbone belong to variant='paper': leave them out, or choose that variant")
        if variant == "paper" and (search != "adaptive" or not damped):
            raise ValueError("search and damped belong to variant='coverage': leave them out, or choose that variant")
        self.query_form = checks.check_choice(query or "coverage", "query", QUERIES)
        self.backbone = backbone
        self.seed = None if seed is None else checks.as_count(seed, "seed", high=2**63 - 1)
        self.wants = tuple(name for name in self.candidates.needs if name not in self.needs)
        self._coverage_search = CoverageSearch(search, damped, self.candidates)
        self._paper_search = PaperSearch(backbone=backbone) if variant == "paper" else None
        self._features: Features | None = None
        self._fit_net: FitNet | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What decides its picks, in plain values: the arguments, defaults filled in."""
        return {
            "candidates": list(self.candidates.names),
            "variant": self.variant,
            "search": self._coverage_search.search,
            "query": self.query_form,
            "backbone": self.backbone if isinstance(self.backbone, str) else type(self.backbone).__name__,
            "damped": self._coverage_search.damped,
            "seed": self.seed,
        }

    def pick(self, context: Context, size: int) -> Picks:
        """One round, stage by stage."""
        if self.seed is not None:
            context = replace(context, seed=(self.seed + len(context.labeled)) % 2**63)
        assert context.labels is not None
        clock = Stopwatch()

        features = self._look(context)
        x = features.x[torch.from_numpy(context.labeled)]
        fit_net = self._fit_net = FitNet.fitted(x, context.labels, context.n_classes, start=self._fit_net)
        clock.lap("fit_net")

        ranks = self.candidates.ranks(context, fit_net, features.x, size)  # [U, S]
        votes = self.candidates.votes(context, fit_net, features.x, size, ranks)  # [U, S]
        self.candidates.warn_of_degenerate(ranks)
        clock.lap("candidates")

        if self.variant == "coverage":
            choice = self._coverage_search.choose(context, features, fit_net, ranks, size, clock)
        else:
            choice = self._search_paper(context, features, fit_net, ranks, size, clock)

        cast = votes[choice.positions].astype(np.int64)  # [B, S]
        columns = {**choice.columns, "votes": cast.sum(axis=1)}
        columns |= {f"vote_{name}": vote for name, vote in zip(self.candidates.names, cast.T, strict=True)}
        weights = dict(zip(self.candidates.names, choice.strategy_weights.tolist(), strict=True))
        return Picks(context.unlabeled[choice.positions], choice.scores, columns, weights, clock.seconds)

    def _look(self, context: Context) -> Features:
        """The features of the pool: the last round's, if its embeddings have not changed."""
        embeddings = context.outputs.embeddings
        assert embeddings is not None
        if self._features is None or not self._features.matches(embeddings):
            self._features, self._fit_net = Features(embeddings), None
            self._coverage_search.forget()
        return self._features

    def _search_paper(
        self, context: Context, features: Features, fit_net: FitNet, ranks: np.ndarray, size: int, clock: Stopwatch
    ) -> Choice:
        """The paper's bi-level search, then the batch by its scores."""
        assert context.labels is not None and self._paper_search is not None
        share = size / len(context.unlabeled)
        x: Any = context.outputs.embeddings
        if self.backbone not in ("linear", "mlp"):
            x = context.inputs
            if x is None:
                raise ValueError(f"backbone {self.backbone!r} needs images: give inputs=, the raw pool [N, H, W(, 3)]")
        result = self._paper_search.search(
            x,
            context.labeled,
            context.labels,
            context.unlabeled,
            context.n_classes,
            self._ranks_of_labeled(context, features, share),
            ranks,
            share,
            context.seed,
        )
        clock.lap("search")

        scores = np.asarray(result.scores, dtype=np.float64)
        if self.query_form == "top":
            positions = np.argsort(-scores, kind="stable")[:size]
            gains, columns = scores[positions], {"weight": scores[positions].astype(np.float32)}
        else:
            weight = scores - scores.min() + 1e-6 * (1 + np.ptp(scores))
            positions, gains, columns = Coverage.of(context, features, fit_net).query(weight, size, context)
        clock.lap("query")
        per_sample = np.asarray(result.weights_per_sample)[positions]
        columns |= {f"weight_{name}": w for name, w in zip(self.candidates.names, per_sample.T, strict=True)}
        return Choice(positions, gains, np.asarray(result.strategy_weights, dtype=np.float64), columns)

    def _ranks_of_labeled(self, context: Context, features: Features, share: float) -> np.ndarray:
        """[L, S] what the candidates would have said of the labeled samples, by a FitNet that saw the other half."""
        assert context.labels is not None
        ranks = np.full((len(context.labeled), len(self.candidates)), 0.5)
        x = features.x[torch.from_numpy(context.labeled)]
        rng = context.generator("half queues")
        for half in halves(features, context.labeled, context.labels, context.n_classes, 1, rng):
            size = min(len(half.held), max(2, round(share * len(half.held))))
            ranks[half.held] = self.candidates.ranks(half_context(context, half.train), half.fit_net, x, size)
        return ranks
