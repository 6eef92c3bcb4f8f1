"""The kernels as torch ops, ``torch.ops.autoal.<op>``: a schema, a fake kernel for shapes, and who computes where.

CPU and CUDA tensors go to the compiled kernels, always: without them there is an error, never a slower path. Every
other device gets the reference. The ops check nothing; ``autoal.ops`` does, and is what people call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autoal.ops import native, reference

LIBRARY = torch.library.Library("autoal", "DEF")


def _floats(like: Tensor, length: int) -> Tensor:
    return like.new_empty(length, dtype=torch.float32)


def _integers(like: Tensor, length: int) -> Tensor:
    return like.new_empty(length, dtype=torch.int64)


def _register(schema: str, fake: Callable[..., Any]) -> None:
    name = schema.split("(")[0]
    LIBRARY.define(schema)
    LIBRARY.impl(name, getattr(native, name), "CPU")
    LIBRARY.impl(name, getattr(native, name), "CUDA")
    LIBRARY.impl(name, getattr(reference, name), "CompositeExplicitAutograd")
    torch.library.register_fake(f"autoal::{name}", fake, lib=LIBRARY)


_register(
    "uncertainty_scores(Tensor x, bool probs, float tolerance) -> "
    "(Tensor entropy, Tensor margin, Tensor least_confidence, Tensor bad_row)",
    lambda x, probs, tolerance: (*(_floats(x, x.shape[0]) for _ in range(3)), _integers(x, 1)),
)
_register(
    "mc_uncertainty_scores(Tensor x, bool probs, float tolerance) -> "
    "(Tensor bald, Tensor entropy, Tensor mean_std, Tensor variation_ratio, Tensor bad_row)",
    lambda x, probs, tolerance: (*(_floats(x, x.shape[1]) for _ in range(4)), _integers(x, 1)),
)
_register(
    "squared_norms(Tensor x) -> Tensor",
    lambda x: _floats(x, x.shape[0]),
)
_register(
    "kcenter_greedy(Tensor x, Tensor? scale, Tensor centers, int first, int k, *, Tensor? excluded=None) -> "
    "(Tensor picks, Tensor radius, Tensor filled)",
    lambda x, scale, centers, first, k, *, excluded=None: (_integers(x, k), _floats(x, k), _integers(x, 1)),
)
_register(
    "kmeanspp(Tensor x, int first, int k, int seed, *, Tensor? excluded=None) -> (Tensor picks, Tensor filled)",
    lambda x, first, k, seed, *, excluded=None: (_integers(x, k), _integers(x, 1)),
)
_register(
    "gradient_kmeanspp(Tensor outputs, bool probs, float tolerance, Tensor embeddings, int k, int seed, *, "
    "Tensor? excluded=None) -> (Tensor picks, Tensor filled, Tensor bad_row)",
    lambda outputs, probs, tolerance, embeddings, k, seed, *, excluded=None: (
        _integers(outputs, k),
        _integers(outputs, 1),
        _integers(outputs, 1),
    ),
)
_register(
    "coverage_greedy(Tensor x, Tensor? scale, Tensor targets, Tensor weights, Tensor? own, Tensor gain, "
    "Tensor covered, Tensor excluded, float gamma, int k) -> (Tensor picks, Tensor gains, Tensor filled)",
    lambda x, scale, targets, weights, own, gain, covered, excluded, gamma, k: (
        _integers(x, k),
        _floats(x, k),
        _integers(x, 1),
    ),
)
