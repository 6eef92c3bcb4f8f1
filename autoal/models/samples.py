"""A pool's samples as a model takes them: feature rows, or images with channels first; converted batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor


def is_images(x: Tensor) -> bool:
    """Whether x holds images [N, H, W(, channels)] rather than features [N, D]."""
    return x.ndim > 2


def as_features(x: Tensor) -> Tensor:
    """Features [n, D] or images [n, H, W(, channels)] as float32 [n, D]; uint8 pixels scaled to [0, 1]."""
    scale = 1 / 255 if x.dtype == torch.uint8 else 1.0
    return x.reshape(len(x), -1).to(torch.float32) * scale


def as_images(x: Tensor) -> Tensor:
    """Images [n, H, W(, channels)] as float32 [n, channels, H, W]; uint8 pixels scaled to [0, 1].

    Raises:
        ValueError: If x holds features.
    """
    if not is_images(x):
        raise ValueError(
            f"this model needs images [N, H, W(, channels)], got features {tuple(x.shape)}: use 'linear' or 'mlp'"
        )
    scale = 1 / 255 if x.dtype == torch.uint8 else 1.0
    channels_first = x[:, None] if x.ndim == 3 else x.movedim(3, 1)
    return channels_first.to(torch.float32) * scale
