"""VAAL: an autoencoder hides from a discriminator which samples are labeled; where it cannot, labels are missing.

On embeddings: encoder, decoder and discriminator are small fully connected nets.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoal.models.networks import initialized
from autoal.strategies.base import ScoreStrategy
from autoal.strategies.frozen import features
from autoal.types import Context, torch_generator

LATENT, HIDDEN = 32, 128
BATCH = 128  # of labeled, and as many of unlabeled samples
STEPS = 600
LEARNING_RATE = 5e-4
BETA = 1.0  # weight of the Kullback-Leibler term
ADVERSARIAL = 1.0  # weight of deceiving the discriminator
LOG_VARIANCE = 10.0  # most of it, either way: an outlier's must not overflow
CHUNK = 8192  # rows scored at a time


class Vaal(ScoreStrategy):
    """The least like a chosen sample, to a discriminator of an autoencoder's latent codes. It needs no labels."""

    name = "vaal"
    needs = ("embeddings",)
    reference = "Sinha et al. 2019"

    def score(self, context: Context) -> Tensor:
        """[N] log odds of being unlabeled.

        Raises:
            ValueError: If no sample is labeled.
        """
        if not len(context.chosen):
            raise ValueError(f"strategy {self.label!r} needs labeled samples: give labeled=their indices")
        x = features(context)[:, :-1]  # no bias column
        chosen, others = (torch.from_numpy(rows) for rows in (context.chosen, context.unchosen))
        encoder, discriminator = train(x, chosen, others, torch_generator(context.generator(self.name)))
        with torch.no_grad():
            return torch.cat([-discriminator(encoder(part)[:, :LATENT])[:, 0] for part in x.split(CHUNK)])


def train(
    x: Tensor,  # [N, D]
    labeled: Tensor,  # [L + P] rows that are chosen
    unlabeled: Tensor,  # the other rows
    generator: torch.Generator,
) -> tuple[nn.Module, nn.Module]:
    """Encoder x [n, D] -> mean and log variance [n, 2 LATENT], discriminator z [n, LATENT] -> log odds of labeled."""
    width = x.shape[1]
    encoder, decoder, discriminator = (
        initialized(build, generator).to(x.device)
        for build in (
            lambda: _layers(width, HIDDEN, 2 * LATENT),
            lambda: _layers(LATENT, HIDDEN, width),
            lambda: _layers(LATENT, HIDDEN, HIDDEN, 1),
        )
    )
    deceive = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=LEARNING_RATE)
    detect = torch.optim.Adam(discriminator.parameters(), lr=LEARNING_RATE)
    is_labeled = torch.cat([torch.ones(BATCH, 1), torch.zeros(BATCH, 1)]).to(x)
    for _ in range(STEPS):
        drawn = [rows[torch.randint(len(rows), (BATCH,), generator=generator)] for rows in (labeled, unlabeled)]
        batch = x[torch.cat(drawn)]
        noise = torch.randn(len(batch), LATENT, generator=generator).to(x)

        mean, log_variance = encoder(batch).split(LATENT, dim=1)
        log_variance = log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)
        code = mean + noise * (0.5 * log_variance).exp()
        deceived = functional.binary_cross_entropy_with_logits(discriminator(mean), torch.ones_like(is_labeled))
        deceive.zero_grad()
        (evidence_loss(batch, decoder(code), mean, log_variance) + ADVERSARIAL * deceived).backward()
        deceive.step()

        with torch.no_grad():
            mean = encoder(batch)[:, :LATENT]
        detected = functional.binary_cross_entropy_with_logits(discriminator(mean), is_labeled)
        detect.zero_grad()
        detected.backward()
        detect.step()
    return encoder, discriminator


def evidence_loss(batch: Tensor, rebuilt: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """[] the autoencoder's: squared error of batch [n, D], and the codes' divergence from a standard normal law."""
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1)
    return ((rebuilt - batch).square().sum(dim=1) + BETA * divergence).mean()


def _layers(*widths: int) -> nn.Sequential:
    """Fully connected layers with a rectifier between each two."""
    layers: list[nn.Module] = []
    for inner, outer in itertools.pairwise(widths):
        layers += [nn.Linear(inner, outer), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
