"""The candidate strategies, asked once per round: a continuous score and a vote per unlabeled sample.

Outputs that a candidate needs and nobody gave are drawn from FitNet: logits from its linear head, Monte-Carlo samples
from dropout on the head's inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from autoal.search.fit_net import FitNet
from autoal.strategies.base import ScoreStrategy, Strategy
from autoal.types import OUTPUT_NAMES, Context, Outputs

SUBSAMPLE = 2_000  # most samples that a set-choosing candidate is shown when its vote frequency is taken
WHOLE_POOL = 20_000  # unlabeled samples up to which such a candidate is also asked for its own batch
PARTITIONS = 5  # random partitions of the unlabeled samples into subsamples: votes per sample
MC_NUMBERS = 1 << 26  # MC logits drawn from FitNet at a time: 256 MiB


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

    def ranks(self, context: Context, fit_net: FitNet, x: Tensor, size: int) -> np.ndarray:
        """Continuous scores [U, S] float64 in (0, 1) of the unlabeled samples: ranks, ties sharing their mean rank.

        A ``ScoreStrategy`` is ranked by its scores. Any other chooses sets: it is asked for the same share of random
        subsamples, and ranked by how often it picks a sample.

        Args:
            context: The pool as it is now.
            fit_net: What missing outputs are drawn from.
            x: [N, D + 1] prepared features of the pool.
            size: B of the pool's next batch.

        Raises:
            ValueError: If a candidate's scores are NaN or not [N].
        """
        unlabeled = context.unlabeled
        raw, scored = self._scores(context, fit_net, x)
        for k in {*range(len(self))}.difference(scored):
            raw[:, k] = _vote_frequency(self.strategies[k], context, fit_net, x, size / len(unlabeled))
        return (rankdata(raw, axis=0) - 0.5) / len(unlabeled)

    def batches(self, context: Context, fit_net: FitNet, x: Tensor, size: int) -> list[np.ndarray]:
        """Each candidate's own batch: pool indices [B], best first. Arguments and errors are those of ``ranks``."""
        raw, scored = self._scores(context, fit_net, x)
        batches = []
        for k, strategy in enumerate(self.strategies):
            if k in scored:
                batches.append(context.unlabeled[np.argsort(-raw[:, k], kind="stable")[:size]])
            else:
                asked = _context(context, {*strategy.needs, *strategy.wants}, fit_net, x)
                batches.append(strategy.query(asked, size).indices)
        return batches

    def batch_among(
        self, k: int, context: Context, fit_net: FitNet, x: Tensor, size: int, among: np.ndarray
    ) -> np.ndarray:
        """Candidate k's batch out of ``among`` alone, unlabeled samples: pool indices [B], best first."""
        return among[_batch_among(self.strategies[k], context, fit_net, x, size, among)]

    def votes(self, context: Context, fit_net: FitNet, x: Tensor, size: int, ranks: np.ndarray) -> np.ndarray:
        """[U, S] bool: would the candidate itself have the sample in its batch? ``ranks`` [U, S] are those above.

        With more than 20,000 unlabeled samples the batch of a set-choosing candidate is taken to be the samples that it
        picks most often in subsamples: k-means on a large pool costs more than the rest of the round.
        """
        votes = np.zeros(ranks.shape, dtype=bool)
        for k, strategy in enumerate(self.strategies):
            if isinstance(strategy, ScoreStrategy) or len(ranks) > WHOLE_POOL:
                votes[np.argsort(-ranks[:, k], kind="stable")[:size], k] = True
            else:
                batch = strategy.query(_context(context, {*strategy.needs, *strategy.wants}, fit_net, x), size)
                votes[np.searchsorted(context.unlabeled, batch.indices), k] = True
        return votes

    def _scores(self, context: Context, fit_net: FitNet, x: Tensor) -> tuple[np.ndarray, set[int]]:
        """Scores [U, S] float64 of the candidates that score samples one by one, and which these are."""
        unlabeled = context.unlabeled
        raw = np.empty((len(unlabeled), len(self)))
        scored = {k: strategy for k, strategy in enumerate(self.strategies) if isinstance(strategy, ScoreStrategy)}
        needs = {need for strategy in scored.values() for need in (*strategy.needs, *strategy.wants)}
        for rows in _parts(context, needs, fit_net):
            part = _context(context, needs, fit_net, x, None if len(rows) == len(unlabeled) else unlabeled[rows])
            for k, strategy in scored.items():
                raw[rows, k] = strategy.scores_of_unlabeled(part)
        return raw, set(scored)

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


def _parts(context: Context, needs: set[str], fit_net: FitNet) -> Iterator[np.ndarray]:
    """Positions among the unlabeled samples: all, or so many at a time that MC logits drawn for them stay small."""
    positions = np.arange(len(context.unlabeled))
    drawn = "mc_logits" in needs and not context.outputs.has("mc_logits")
    most = MC_NUMBERS // fit_net.mc_numbers_per_row if drawn else len(context)
    yield from [positions] if most >= len(context) else np.array_split(positions, -(-len(positions) // max(1, most)))


def _context(
    context: Context, needs: Iterable[str], fit_net: FitNet, x: Tensor, unlabeled: np.ndarray | None = None
) -> Context:
    """The context with the outputs that are needed; with ``unlabeled`` [n] given, of these and the labeled samples."""
    missing = [name for name in OUTPUT_NAMES if name in needs and not context.outputs.has(name)]
    if not missing and unlabeled is None:
        return context
    rows = slice(None) if unlabeled is None else torch.from_numpy(np.concatenate([context.labeled, unlabeled]))
    parts: dict[str, Tensor] = {}
    for name in OUTPUT_NAMES:
        given = getattr(context.outputs, name)
        if given is not None and (name in needs or name == "embeddings"):
            parts[name] = given[:, rows] if name == "mc_logits" else given[rows]
    if "logits" in missing:
        parts["logits"] = fit_net.logits(x[rows])
    if "mc_logits" in missing:
        seed = int(context.generator("mc_logits").integers(2**63 - 1))
        parts["mc_logits"] = fit_net.mc_logits(x[rows], seed)
    outputs = Outputs(**parts)
    if unlabeled is None:
        return replace(context, outputs=outputs)
    inputs = None if context.inputs is None else context.inputs[rows]
    labeled = np.arange(len(context.labeled))
    return replace(context, outputs=outputs, labeled=labeled, inputs=inputs, shared={})


def _batch_among(
    strategy: Strategy, context: Context, fit_net: FitNet, x: Tensor, size: int, among: np.ndarray
) -> np.ndarray:
    """Positions [B] in ``among``, pool indices of unlabeled samples, of what the strategy picks if shown only these."""
    sub = _context(context, {*strategy.needs, *strategy.wants}, fit_net, x, among)
    return strategy.query(sub, size).indices - len(context.labeled)


def _vote_frequency(strategy: Strategy, context: Context, fit_net: FitNet, x: Tensor, share: float) -> np.ndarray:
    """[U] how often the strategy picks a sample when asked for ``share`` of random subsamples that hold it."""
    unlabeled = context.unlabeled
    votes = np.zeros(len(unlabeled))
    rng = context.generator(f"subsamples of {strategy.label}")
    n_parts = min(len(unlabeled), max(2, -(-len(unlabeled) // SUBSAMPLE)))
    for _ in range(PARTITIONS):
        for part in np.array_split(rng.permutation(len(unlabeled)), n_parts):
            size = min(len(part), max(2, round(share * len(part))))
            votes[part[_batch_among(strategy, context, fit_net, x, size, unlabeled[part])]] += 1
    return votes / PARTITIONS


def _warn(message: str) -> None:
    warnings.warn(message, DegenerateCandidateWarning, stacklevel=2)
