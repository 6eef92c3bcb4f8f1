"""The joints between the stages of a round: what a model puts out, what a strategy sees, what a query is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoal import checks

OUTPUT_NAMES = ("logits", "embeddings", "mc_logits")


@dataclass(frozen=True)
class Outputs:
    """The outputs of a model for every sample of the pool; give what the strategy needs.

    Attributes:
        logits: [N, C] float, unnormalised class scores.
        embeddings: [N, D] float, features (of the penultimate layer, or frozen).
        mc_logits: [T, N, C] float, logits of T stochastic passes (MC dropout, an ensemble).

    Raises:
        TypeError: If one is no floating point array.
        ValueError: If shapes disagree, or embeddings hold NaN, Inf or squares that overflow. Logits are checked by who
            reads them; they may be -inf.
    """

    logits: Tensor | None = None
    embeddings: Tensor | None = None
    mc_logits: Tensor | None = None

    def __post_init__(self) -> None:
        shapes = {"logits": "[N, C]", "embeddings": "[N, D]", "mc_logits": "[T, N, C]"}
        rows: dict[str, int] = {}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is None:
                continue
            tensor = checks.as_floats(value, name, shape)
            if 0 in tensor.shape:
                raise ValueError(f"{name} must be {shape} with no empty axis, got {checks.describe(tensor)}")
            if name == "embeddings":
                checks.require_finite(tensor, name, squares=True)
            rows[name] = tensor.shape[1] if name == "mc_logits" else tensor.shape[0]
            object.__setattr__(self, name, tensor)
        if not rows:
            raise ValueError("outputs need at least one of logits, embeddings, mc_logits")
        if len(set(rows.values())) > 1:
            listed = ", ".join(f"{name}: {n}" for name, n in rows.items())
            raise ValueError(f"outputs must describe the same pool, but their numbers of samples differ ({listed})")
        if self.logits is not None and self.mc_logits is not None and self.logits.shape[1] != self.mc_logits.shape[2]:
            raise ValueError(
                f"logits have {self.logits.shape[1]} classes but mc_logits {self.mc_logits.shape[2]}: they must agree"
            )

    def __len__(self) -> int:
        for name in OUTPUT_NAMES:
            value = getattr(self, name)
            if value is not None:
                return int(value.shape[1] if name == "mc_logits" else value.shape[0])
        raise AssertionError("unreachable: __post_init__ requires one")

    def require(self, name: str) -> Tensor:
        """The output called ``name``; ValueError if it is not there."""
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"outputs lack {name}: give autoal.Outputs({name}=...)")
        return value

    def has(self, name: str) -> bool:
        """Whether the output called ``name`` is there."""
        return getattr(self, name) is not None

    @property
    def n_classes(self) -> int | None:
        """C, where logits of either kind are there."""
        if self.logits is not None:
            return int(self.logits.shape[1])
        return None if self.mc_logits is None else int(self.mc_logits.shape[2])


@dataclass(frozen=True)
class Query:
    """Which samples to label next.

    Attributes:
        indices: [B] int64, indices into the full pool, best first, all different, none labeled.
        scores: [B] float32, why, in the strategy's own unit; higher = ask first.
        provenance: Further columns [B] per pick (AutoAL: who voted for it, with what weight).
        timings: Seconds by stage; ``"total"`` is always there. AutoAL: ``"inference"`` (FitNet and its outputs; a
            learner adds the task model's), ``"candidates"``, ``"search"``, ``"selection"``, and by parts of these.
        strategy_weights: Automated strategies only: the weight of each candidate in this round, summing to 1.
    """

    indices: np.ndarray
    scores: np.ndarray
    provenance: dict[str, np.ndarray] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    strategy_weights: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Context:
    """What a strategy sees of one round.

    Attributes:
        outputs: The model's outputs for all N samples of the pool.
        labeled: [L] int64 pool indices that have a label.
        labels: [L] int64 class numbers of ``labeled``, or None where only the indices are known.
        n_classes: C.
        seed: Source of all randomness of this query.
        inputs: The raw pool [N, ...], for strategies that train a net of their own on it.
        pending: [P] int64 pool indices that are with annotators: not asked again, and chosen already wherever no class
            is needed. None is labeled.
        closed: [E] int64 further pool indices that may not be asked. They are part of the pool all the same.
        shared: Results that several strategies need, computed once per round; see ``once``.
    """

    outputs: Outputs
    labeled: np.ndarray
    labels: np.ndarray | None = None
    n_classes: int = 0
    seed: int = 0
    inputs: Tensor | None = None
    pending: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    closed: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    shared: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @staticmethod
    def of(
        outputs: Outputs,
        labeled: Any = (),
        labels: Any = None,
        *,
        n_classes: int | None = None,
        seed: int = 0,
        inputs: Tensor | checks.HoldsRows | None = None,
        pending: Any = (),
        closed: Any = (),
    ) -> Context:
        """Checks the parts and puts them together; n_classes defaults to what outputs and labels show.

        An index may be labeled, pending and closed at once: what comes first counts.

        Raises:
            TypeError: If a part has the wrong type.
            ValueError: If indices leave the pool or repeat, labels do not fit them or the classes, or n_classes is not
                that of the logits.
        """
        if not isinstance(outputs, Outputs):
            raise TypeError(
                f"outputs must be autoal.Outputs(logits=..., embeddings=..., ...), got {checks.describe(outputs)}"
            )
        indices = checks.as_indices(labeled, "labeled", len(outputs))
        classes = None if labels is None else checks.as_labels(labels, "labels", len(indices))
        seen = 0 if classes is None or not len(classes) else int(classes.max()) + 1
        known = outputs.n_classes
        if n_classes is not None:
            n_classes = checks.as_count(n_classes, "n_classes", low=1)
            if known is not None and known != n_classes:
                raise ValueError(f"n_classes is {n_classes} but the logits have {known} columns: they must agree")
            known = n_classes
        if known is not None and seen > known:
            raise ValueError(f"labels must lie in [0, {known}), the classes; got {seen - 1}")
        if isinstance(inputs, checks.HoldsRows):
            inputs = inputs.x
        if inputs is not None and len(inputs) != len(outputs):
            raise ValueError(f"inputs must have one row for each of the {len(outputs)} samples, got {len(inputs)}")
        seed = checks.as_count(seed, "seed", low=0, high=2**63 - 1)
        asked = checks.as_indices(pending, "pending", len(outputs))
        asked = asked[~np.isin(asked, indices)]
        barred = checks.as_indices(closed, "closed", len(outputs))
        barred = barred[~np.isin(barred, np.concatenate([indices, asked]))]
        n_classes = known if known is not None else seen
        return Context(outputs, indices, classes, n_classes, seed, inputs, pending=asked, closed=barred)

    def __len__(self) -> int:
        return len(self.outputs)

    @cached_property
    def unlabeled(self) -> np.ndarray:
        """[U] int64 pool indices without a label that may be asked, ascending: neither pending nor closed."""
        return self._others(self.barred)

    @property
    def barred(self) -> np.ndarray:
        """[N - U] int64 pool indices that are not to be asked: labeled, pending, closed."""
        return np.concatenate([self.chosen, self.closed])

    @property
    def chosen(self) -> np.ndarray:
        """[L + P] int64 pool indices that have a label, or will have one: labeled, then pending."""
        return np.concatenate([self.labeled, self.pending])

    @cached_property
    def unchosen(self) -> np.ndarray:
        """[N - L - P] int64 pool indices that are not chosen, ascending: what picks are to represent."""
        return self._others(self.chosen)

    def _others(self, rows: np.ndarray) -> np.ndarray:
        mask = np.ones(len(self), dtype=bool)
        mask[rows] = False
        return np.flatnonzero(mask)

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """The value of ``compute()``, computed by whoever asks first in this round.

        It must not depend on what is pending or closed: that changes while a query with constraints is made.
        """
        if key not in self.shared:
            self.shared[key] = compute()
        return self.shared[key]

    def generator(self, purpose: str) -> np.random.Generator:
        """A random generator keyed by (seed, purpose): independent of who drew before."""
        return np.random.default_rng([self.seed, *purpose.encode()])


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A torch generator on the CPU, seeded from ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))
