"""The candidate strategies, asked once per round: a continuous score and a vote per unlabeled sample.

Outputs that candidates need and nobody gave are drawn from FitNet, once for all of them: logits from its linear head,
Monte-Carlo samples from dropout on the head's inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from autoal.ops.rows import Rows, as_rows
from autoal.search.fit_net import FitNet
from autoal.search.stopwatch import Stopwatch
from autoal.strategies.base import ScoreStrategy, Strategy
from autoal.types import OUTPUT_NAMES, Context, Outputs

SUBSAMPLE = 2_000  # most samples that a set-choosing candidate is shown when its vote frequency is taken
WHOLE_POOL = 20_000  # unlabeled samples up to which such a candidate is also asked for its own batch
PARTITIONS = 5  # random partitions of the unlabeled samples into subsamples: votes per sample
MC_NUMBERS = 1 << 26  # MC logits of FitNet held at a time: 256 MiB
DRAWN = ("logits", "mc_logits")  # the outputs that FitNet has


class DegenerateCandidateWarning(UserWarning):
    """A candidate adds nothing on this pool: its scores are constant, or rank the samples as another candidate's do."""


class Candidates:
    """S candidate strategies.

    Args:
        strategies: Names, classes or objects of strategies, users' own included.

    Attributes:
        names: Of the strategies, in order.
        needs: The outputs that they need or want.

    Raises:
        TypeError: If one is no strategy.
        ValueError: If there is none, a name is unknown or comes twice.
    """

    def __init__(self, strategies: Iterable[str | type[Strategy] | Strategy]) -> None:
        from autoal.strategies import resolve  # its table of names holds AutoAL, which imports this module

        if isinstance(strategies, (str, type, Strategy)):
            raise TypeError(f"candidates must be a sequence of strategies, got {strategies!r}: write ({strategies!r},)")
        self.strategies = tuple(resolve(strategy) for strategy in strategies)
        self.names = tuple(strategy.label for strategy in self.strategies)
        if not self.names:
            raise ValueError("candidates must hold at least one strategy, such as ('margin', 'kmeans')")
        for name in self.names:
            if self.names.count(name) > 1:
                raise ValueError(f"candidates must differ by name; {name!r} comes {self.names.count(name)} times")
        asked = {need for strategy in self.strategies for need in (*strategy.needs, *strategy.wants)}
        self.needs = tuple(name for name in OUTPUT_NAMES if name in asked)

    def __len__(self) -> int:
        return len(self.strategies)

    def complete(self, context: Context, fit_net: FitNet, x: Tensor | Rows, logits: Tensor | None = None) -> Context:
        """The context with all outputs that the candidates need: what nobody gave comes from FitNet.

        FitNet's logits [N, C] need not be computed again where they are known. MC samples stay out if those of the
        whole pool are too many to be held; ``ranks`` then draws them part by part.
        """
        held = fit_net.mc_numbers_per_row * len(context) <= MC_NUMBERS
        return _completed(context, self.needs if held else {*self.needs} - {"mc_logits"}, fit_net, x, logits)

    def ranks(
        self, context: Context, fit_net: FitNet, x: Tensor | Rows, size: int, clock: Stopwatch | None = None
    ) -> np.ndarray:
        """Continuous scores [U, S] float64 in (0, 1) of the unlabeled samples: ranks, ties sharing their mean rank.

        A ``ScoreStrategy`` is ranked by its scores. Any other chooses sets: it is asked for the same share of random
        subsamples, and ranked by how often it picks a sample.

        Args:
            context: The pool as it is now.
            fit_net: What missing outputs are drawn from.
            x: [N, D + 1] prepared features of the pool.
            size: B of the pool's next batch.
            clock: Told when outputs are drawn, and when the candidates have been asked.

        Raises:
            ValueError: If a candidate's scores are NaN or not [N].
        """
        clock = clock or Stopwatch()
        n, share = len(context.unlabeled), size / len(context.unlabeled)
        raw = np.empty((n, len(self)))
        for rows, part in self._parts(context, fit_net, x):
            clock.lap("outputs")
            for k, strategy in enumerate(self.strategies):
                if isinstance(strategy, ScoreStrategy):
                    raw[rows, k] = strategy.scores_of_unlabeled(part)
                else:
                    raw[rows, k] = _vote_frequency(strategy, part, share)
            del part  # before the next one is made
            clock.lap("candidates")
        return (rankdata(raw, axis=0) - 0.5) / n

    def votes(self, context: Context, fit_net: FitNet, x: Tensor | Rows, size: int, ranks: np.ndarray) -> np.ndarray:
        """[U, S] bool: would the candidate itself have the sample in its batch? ``ranks`` [U, S] are those above.

        With more than 20,000 unlabeled samples, or MC samples that are too many to be held, the batch of a set-choosing
        candidate is taken to be the samples that it picks most often in subsamples: k-means on a large pool costs more
        than the rest of the round.
        """
        context = self.complete(context, fit_net, x)
        votes = np.zeros(ranks.shape, dtype=bool)
        for k, strategy in enumerate(self.strategies):
            held = all(context.outputs.has(need) for need in strategy.needs if need in DRAWN)
            if isinstance(strategy, ScoreStrategy) or len(ranks) > WHOLE_POOL or not held:
                votes[np.argsort(-ranks[:, k], kind="stable")[:size], k] = True
            else:
                votes[np.searchsorted(context.unlabeled, strategy.query(context, size).indices), k] = True
        return votes

    def batches(self, context: Context, fit_net: FitNet, x: Tensor | Rows, size: int) -> list[np.ndarray]:
        """Each candidate's own batch: pool indices [B], best first. Arguments and errors are those of ``ranks``."""
        context = self.complete(context, fit_net, x)
        scored = {k: strategy for k, strategy in enumerate(self.strategies) if isinstance(strategy, ScoreStrategy)}
        raw = np.empty((len(context.unlabeled), len(self)))
        if scored:
            for rows, part in self._parts(context, fit_net, x):
                for k, scorer in scored.items():
                    raw[rows, k] = scorer.scores_of_unlabeled(part)
                del part
        batches = []
        for k, strategy in enumerate(self.strategies):
            if k in scored:
                batches.append(context.unlabeled[np.argsort(-raw[:, k], kind="stable")[:size]])
            else:
                needs = (*strategy.needs, *strategy.wants)
                batches.append(strategy.query(_completed(context, needs, fit_net, x), size).indices)
        return batches

    def batch_among(
        self, k: int, context: Context, fit_net: FitNet, x: Tensor | Rows, size: int, among: np.ndarray
    ) -> np.ndarray:
        """Candidate k's batch out of ``among`` alone, unlabeled samples: pool indices [B], best first."""
        strategy = self.strategies[k]
        part = _part(context, (*strategy.needs, *strategy.wants), fit_net, x, among)
        return among[strategy.query(part, size).indices - len(context.chosen)]

    def _parts(self, context: Context, fit_net: FitNet, x: Tensor | Rows) -> Iterator[tuple[np.ndarray, Context]]:
        """Positions [n] among the unlabeled samples, and a context of these with all outputs that candidates need.

        All samples at once, or as many, drawn at random, as have MC samples that can be held. FitNet is asked once for
        each unlabeled sample, and for the few labeled ones with each part.
        """
        context, unlabeled = self.complete(context, fit_net, x), context.unlabeled
        if "mc_logits" not in self.needs or context.outputs.has("mc_logits"):
            yield np.arange(len(unlabeled)), context
            return
        most = max(
            1, MC_NUMBERS // max(fit_net.mc_numbers_per_row, as_rows(x).width)
        )  # embeddings of a part are copied
        order = context.generator("parts").permutation(len(unlabeled))
        for rows in map(np.sort, np.array_split(order, -(-len(unlabeled) // most))):
            yield rows, _part(context, self.needs, fit_net, x, unlabeled[rows])

    def warn_of_degenerate(self, ranks: np.ndarray) -> None:
        """Warns of score strategies that are constant, or pairwise identical, in ``ranks`` [U, S]."""
        if len(ranks) < 2:
            return
        scored = [k for k, strategy in enumerate(self.strategies) if isinstance(strategy, ScoreStrategy)]
        constant = [k for k in scored if np.ptp(ranks[:, k]) == 0]
        for k in constant:
            _warn(f"candidate {self.names[k]!r} gives all unlabeled samples the same score: it chooses nothing")
        for one, other in combinations([k for k in scored if k not in constant], 2):
            if np.array_equal(ranks[:, one], ranks[:, other]):
                _warn(
                    f"candidates {self.names[one]!r} and {self.names[other]!r} rank the unlabeled samples identically "
                    "(with two classes all scores of one probability vector do): one of them is enough"
                )


def half_context(context: Context, train: np.ndarray) -> Context:
    """The labeled samples as a pool of their own, in which only ``train`` [h], positions among them, are labeled.

    Of the outputs only the embeddings stay: the others come from a model that has seen all these labels.
    """
    assert context.outputs.embeddings is not None and context.labels is not None
    rows = torch.from_numpy(context.labeled)
    return Context(
        Outputs(embeddings=context.outputs.embeddings[rows]),
        labeled=train,
        labels=context.labels[train],
        n_classes=context.n_classes,
        seed=context.seed,
        inputs=None if context.inputs is None else context.inputs[rows],
    )


def _completed(
    context: Context, needs: Collection[str], fit_net: FitNet, x: Tensor | Rows, logits: Tensor | None = None
) -> Context:
    """The context with those of the outputs ``needs`` that it lacks, drawn from FitNet; x [N, D + 1] are its rows."""
    drawn: dict[str, Tensor] = {}
    if "logits" in needs and not context.outputs.has("logits"):
        drawn["logits"] = fit_net.logits(x) if logits is None else logits
    if "mc_logits" in needs and not context.outputs.has("mc_logits"):
        seed = int(context.generator("mc_logits").integers(2**63 - 1))
        drawn["mc_logits"] = fit_net.mc_logits(x, seed)
    # Scores that are shared were not those of these outputs.
    return replace(context, outputs=replace(context.outputs, **drawn), shared={}) if drawn else context


def _part(
    context: Context, needs: Collection[str], fit_net: FitNet, x: Tensor | Rows, unlabeled: np.ndarray
) -> Context:
    """The labeled samples and those of ``unlabeled`` [n] as a pool that has all outputs ``needs``."""
    return _completed(_among(context, needs, unlabeled), needs, fit_net, as_rows(x).take(_rows(context, unlabeled)))


def _rows(context: Context, unlabeled: np.ndarray) -> Tensor:
    """The chosen samples' pool indices, then those of ``unlabeled`` [n]."""
    return torch.from_numpy(np.concatenate([context.chosen, unlabeled]))


def _among(context: Context, needs: Collection[str], unlabeled: np.ndarray) -> Context:
    """The chosen samples and those of ``unlabeled`` [n] as a pool, with the outputs ``needs`` as far as given."""
    rows = _rows(context, unlabeled)
    parts: dict[str, Tensor] = {}
    for name in OUTPUT_NAMES:
        given = getattr(context.outputs, name)
        if given is not None and (name in needs or name == "embeddings"):
            parts[name] = given[:, rows] if name == "mc_logits" else given[rows]
    inputs = None if context.inputs is None else context.inputs[rows]
    labeled, pending = np.split(np.arange(len(context.chosen)), [len(context.labeled)])
    closed = np.empty(0, np.int64)
    return replace(
        context, outputs=Outputs(**parts), labeled=labeled, inputs=inputs, pending=pending, closed=closed, shared={}
    )


def _vote_frequency(strategy: Strategy, context: Context, share: float) -> np.ndarray:
    """[U] how often the strategy picks a sample when asked for ``share`` of random subsamples that hold it."""
    unlabeled, needs = context.unlabeled, (*strategy.needs, *strategy.wants)
    votes = np.zeros(len(unlabeled))
    rng = context.generator(f"subsamples of {strategy.label}")
    n_parts = min(len(unlabeled), max(2, -(-len(unlabeled) // SUBSAMPLE)))
    for _ in range(PARTITIONS):
        for part in np.array_split(rng.permutation(len(unlabeled)), n_parts):
            size = min(len(part), max(2, round(share * len(part))))
            picked = strategy.query(_among(context, needs, unlabeled[part]), size).indices - len(context.chosen)
            votes[part[picked]] += 1
    return votes / PARTITIONS


def _warn(message: str) -> None:
    warnings.warn(message, DegenerateCandidateWarning, stacklevel=2)
