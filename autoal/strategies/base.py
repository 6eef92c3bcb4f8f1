"""The contract of a query strategy: one class with ``score`` or ``pick``, and one line in ``STRATEGIES``."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from autoal import checks
from autoal.types import Context, Query


class Picks(NamedTuple):
    """A strategy's answer before it is checked: indices into the full pool and what else there is to say."""

    indices: np.ndarray  # [B] int64
    scores: np.ndarray  # [B] float32
    provenance: dict[str, np.ndarray] = {}  # noqa: RUF012  (a NamedTuple's default; never written to)
    strategy_weights: dict[str, float] = {}  # noqa: RUF012
    timings: dict[str, float] = {}  # noqa: RUF012


class Strategy(ABC):
    """Chooses which samples to label next. An object serves one run: it may remember its rounds.

    Attributes:
        name: What it is called on the command line and in results.
        needs: The outputs it cannot do without, of ``"logits"``, ``"embeddings"``, ``"mc_logits"``, and ``"labels"``.
        wants: The outputs it reads where they are there; a learner gives them.
        reference: The paper it comes from.
    """

    name: ClassVar[str]
    needs: tuple[str, ...] = ()
    wants: tuple[str, ...] = ()
    reference: ClassVar[str] = ""

    def query(self, context: Context, size: int) -> Query:
        """The next ``size`` samples to label, best first.

        Raises:
            ValueError: If an output or the labels that the strategy needs are missing, or ``size`` is not in
                [1, number of unlabeled samples that may be asked].
        """
        start = time.perf_counter()
        self.check_needs(context)
        size = self.checked_size(context, size)
        picks = self.pick(context, size)
        indices = np.asarray(picks.indices, dtype=np.int64)
        scores = np.asarray(picks.scores, dtype=np.float32)
        if indices.shape != (size,) or scores.shape != (size,):
            raise RuntimeError(
                f"{self.label}.pick must give {size} indices and scores, gave {indices.shape}, {scores.shape}"
            )
        if len(np.unique(indices)) < size or not np.isin(indices, context.unlabeled, assume_unique=True).all():
            raise RuntimeError(f"{self.label}.pick must give different unlabeled pool indices")
        timings = {**picks.timings, "total": time.perf_counter() - start}
        return Query(indices, scores, dict(picks.provenance), timings, dict(picks.strategy_weights))

    def settle(self, asked: np.ndarray) -> None:  # noqa: B027  (a strategy without a memory has nothing to do)
        """Told which of its last query's samples are really asked [B], where constraints passed some over.

        For strategies that remember their queries: the others are to be forgotten.
        """

    def checked_size(self, context: Context, size: int) -> int:
        """``size`` as an int in [1, number of unlabeled samples that may be asked].

        Raises:
            TypeError: If it is no integer.
            ValueError: If it lies outside, or there is nothing to ask.
        """
        unlabeled, free = len(context.unlabeled), not len(context.pending) + len(context.closed)
        of = "the unlabeled samples of the pool" if free else "the samples that may be asked"
        size = checks.as_count(size, "size", low=1, high=max(unlabeled, 1), of=of)
        if not unlabeled:
            left = "no unlabeled sample left" if free else "no sample left that may be asked"
            raise ValueError(f"the pool has {left}: there is nothing to query")
        return size

    @property
    def label(self) -> str:
        """The strategy's name, or its class's where a user's class has none."""
        return getattr(self, "name", type(self).__name__)

    def check_needs(self, context: Context) -> None:
        """Raises ValueError naming the first output (or the labels) that is needed and missing."""
        for need in self.needs:
            if need == "labels":
                if context.labels is None or not len(context.labels):
                    raise ValueError(
                        f"strategy {self.label!r} needs labels: give labeled=indices and labels=their classes"
                    )
            elif not context.outputs.has(need):
                raise ValueError(f"strategy {self.label!r} needs {need}: give autoal.Outputs({need}=...)")

    @abstractmethod
    def pick(self, context: Context, size: int) -> Picks:
        """``size`` different unlabeled pool indices, best first, with their scores."""


class ScoreStrategy(Strategy):
    """A strategy that scores each sample by itself and takes the best; ties go to the lowest index."""

    @abstractmethod
    def score(self, context: Context) -> Tensor:
        """[N] float, one score per sample of the full pool; higher = ask first."""

    def scores_of_unlabeled(self, context: Context) -> np.ndarray:
        """[U] float64, ``score`` of the unlabeled samples, checked: a user's class may have written it.

        Raises:
            TypeError: If ``score`` gives no numbers.
            ValueError: If they are not [N], or NaN.
        """
        scores = self.score(context)
        try:
            given = scores.detach().cpu() if isinstance(scores, Tensor) else np.asarray(scores)
            number = given.double().numpy() if given.dtype in checks.FLOATS else np.asarray(given)
        except ValueError:  # lists of different lengths
            number = np.empty(0, object)
        if number.dtype.kind not in "fiu":
            raise TypeError(f"strategy {self.label!r} must give [N] float scores, gave {checks.describe(scores)}")
        if number.shape != (len(context),):
            raise ValueError(
                f"strategy {self.label!r} must score [{len(context)}] samples, gave {checks.describe(scores)}"
            )
        raw = number.astype(np.float64)[context.unlabeled]
        if np.isnan(raw).any():
            raise ValueError(f"strategy {self.label!r} gives NaN scores: repair its score method or its outputs")
        return raw

    def pick(self, context: Context, size: int) -> Picks:
        """The ``size`` unlabeled samples with the highest scores."""
        scores = self.scores_of_unlabeled(context)
        best = np.argsort(-scores, kind="stable")[:size]
        return Picks(context.unlabeled[best], scores[best])
