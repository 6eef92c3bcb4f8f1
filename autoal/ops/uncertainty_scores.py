"""How unsure a classifier is of each sample: all measures of one probability vector, or of T samples, in one read."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from autoal import checks
from autoal.ops import contract

# Layout of MC samples -> the axes that make it [T, N, C]: a view, never a copy.
LAYOUTS = {"TNC": (0, 1, 2), "NTC": (1, 0, 2), "NCT": (2, 0, 1)}


class UncertaintyScores(NamedTuple):
    """Each [N] float32, numpy or torch as the input was; higher = ask first.

    Attributes:
        entropy: -sum p log p, in nats.
        margin: 1 - (p(1) - p(2)), of the two most likely classes.
        least_confidence: 1 - p(1).
    """

    entropy: Any
    margin: Any
    least_confidence: Any


class MCUncertaintyScores(NamedTuple):
    """Each [N] float32, numpy or torch as the input was; higher = ask first. pbar is the mean of p^t over t.

    Attributes:
        bald: H[pbar] - mean_t H[p^t], in nats: what the label would tell about the model.
        entropy: H[pbar], in nats.
        mean_std: The population standard deviation of p^t over t, averaged over the classes.
        variation_ratio: 1 - (votes of the mode) / T; a vote is argmax p^t, the lowest class on ties.
    """

    bald: Any
    entropy: Any
    mean_std: Any
    variation_ratio: Any


def uncertainty_scores(logits: Any, *, kind: str = "logits", on_nonfinite: str = "raise") -> UncertaintyScores:
    """Entropy, margin and least confidence of each row.

    Args:
        logits: [N, C] float, numpy or torch. Logits may be -inf (a class that is ruled out).
        kind: "logits", or "probs" if rows are probabilities already.
        on_nonfinite: Rows with NaN, +inf or nothing but -inf: "raise", or "drop" = score -inf, never asked first.

    Returns:
        Three scores [N] float32, on the device of ``logits``.

    Raises:
        TypeError: If ``logits`` are no floating point array.
        ValueError: If they are not [N, C], rows are not finite, or probs are negative or do not sum to 1.

    References:
        Lewis & Gale 1994 (least confidence); Scheffer et al. 2001 (margin); Settles 2009 (entropy).
    """
    x = contract.matrix(logits, "logits", "[N, C]")
    return UncertaintyScores(*_scores(torch.ops.autoal.uncertainty_scores, x, logits, "logits", kind, on_nonfinite))


def mc_uncertainty_scores(
    mc: Any, *, layout: str = "TNC", kind: str = "logits", on_nonfinite: str = "raise"
) -> MCUncertaintyScores:
    """BALD, entropy of the mean, mean-STD and variation ratio of each sample's T stochastic predictions.

    Args:
        mc: [T, N, C] float in the order that ``layout`` says, numpy or torch; read in place, never rearranged.
        layout: "TNC", "NTC" or "NCT".
        kind: "logits", or "probs" if predictions are probabilities already.
        on_nonfinite: As in ``uncertainty_scores``, for a sample with any faulty prediction.

    Returns:
        Four scores [N] float32, on the device of ``mc``.

    Raises:
        TypeError: If ``mc`` is no floating point array.
        ValueError: If it has not three axes, T or C is 0, rows are not finite, or probs do not sum to 1.

    References:
        Houlsby et al. 2011; Gal et al. 2017 (BALD); Kampffmeyer et al. 2016 (mean-STD); Freeman 1965 (variation ratio).
    """
    checks.check_choice(layout, "layout", tuple(LAYOUTS))
    x = checks.as_floats(mc, "mc", f"[{', '.join(layout)}]").permute(LAYOUTS[layout])
    if 0 in (x.shape[0], x.shape[2]):
        raise ValueError(f"mc must be [{', '.join(layout)}] with T and C at least 1, got {checks.describe(mc)}")
    return MCUncertaintyScores(*_scores(torch.ops.autoal.mc_uncertainty_scores, x, mc, "mc", kind, on_nonfinite))


def _scores(op: Any, x: Tensor, given: Any, name: str, kind: str, on_nonfinite: str) -> list[Any]:
    """The scores of ``op`` for x [N, C] or [T, N, C]; rows that are dropped score -inf."""
    checks.check_choice(kind, "kind", contract.KINDS)
    checks.check_choice(on_nonfinite, "on_nonfinite", contract.ON_NONFINITE)
    arguments = (kind == "probs", contract.tolerance(x))
    *scores, bad_row = op(x, *arguments)
    kept = contract.kept_distributions(x, name, kind, bad_row, on_nonfinite)
    if kept is not None:
        *parts, _ = op(x.index_select(-2, kept), *arguments)
        scores = [score.fill_(-torch.inf).index_copy_(0, kept, part) for score, part in zip(scores, parts, strict=True)]
    return [contract.answer(score, given) for score in scores]
