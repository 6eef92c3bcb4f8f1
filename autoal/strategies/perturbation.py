"""ALFA-Mix and DropQuery: samples whose predicted class changes when their features do, spread by k-means."""

from __future__ import annotations

import numpy as np
import torch

from autoal.strategies.base import Picks, Strategy
from autoal.strategies.clustering import representatives
from autoal.strategies.linear_head import linear_head
from autoal.strategies.pool_geometry import unit
from autoal.types import Context, torch_generator

CHUNK = 8192  # samples perturbed together


class AlfaMix(Strategy):
    """Samples whose class flips when their features move a little towards the labeled ones, spread by k-means.

    Mixing alpha o z* + (1 - alpha) o z with the alpha that raises the loss most adds eps |z* - z| g / |g| to a sample's
    features z, where g is the loss's gradient: the labeled mean z* decides how far, g decides where. So the smallest
    eps at which a class flips has a closed form, and no mixture has to be tried.
    """

    name = "alfamix"
    needs = ("logits", "embeddings", "labels")
    reference = "Parvaneh et al. 2022"

    EPSILON = 0.2  # over sqrt(D)

    def pick(self, context: Context, size: int) -> Picks:
        """Largest cluster first; the score is 1 / (1 + eps), where eps is the smallest that flips the sample's class.

        Samples that flip up to eps = 0.2 / sqrt(D) are candidates; where they are too few, those that flip next.
        """
        epsilon = flipping_epsilon(context)[context.unlabeled]
        limit = self.EPSILON / np.sqrt(context.outputs.require("embeddings").shape[1])
        picks = _spread(context, size, self.name, epsilon, epsilon < limit, normalized=True)
        return Picks(context.unlabeled[picks], 1 / (1 + epsilon[picks]), {"epsilon": epsilon[picks]})


class DropQuery(Strategy):
    """Samples whose class changes in most passes with three quarters of the features dropped, spread by k-means."""

    name = "dropquery"
    needs = ("logits", "embeddings")
    reference = "Gupte et al. 2024"

    PASSES = 3
    RATE = 0.75  # of features dropped

    def pick(self, context: Context, size: int) -> Picks:
        """Largest cluster first; the score is the share of passes that change the sample's class.

        Where too few change in most passes, those of smaller share and margin are candidates too.
        """
        changes, margin = dropout_changes(context, self.PASSES, self.RATE)
        changes, margin = changes[context.unlabeled], margin[context.unlabeled]
        order = np.empty(len(changes))
        order[np.lexsort((margin, -changes))] = np.arange(len(changes))
        picks = _spread(context, size, self.name, order, changes > self.PASSES / 2, normalized=False)
        return Picks(context.unlabeled[picks], changes[picks] / self.PASSES)


def flipping_epsilon(context: Context) -> np.ndarray:
    """[N] the smallest eps at which some labeled class mean flips a sample's predicted class; inf if none ever does.

    With h = W^T g / |g| the logits are z + eps r h at a mean at distance r. Class k overtakes the predicted one c at
    eps r = (z_c - z_k) / (h_k - h_c), if h_k > h_c, and the farthest mean gets there first.
    """
    assert context.labels is not None
    head = linear_head(context)
    embeddings, labels = context.outputs.require("embeddings"), torch.from_numpy(context.labels)
    labeled = embeddings[torch.from_numpy(context.labeled)].double()
    means = torch.stack([labeled[(labels == c).to(labeled.device)].mean(dim=0) for c in labels.unique()])  # [K, D]
    found = []
    for x in embeddings.split(CHUNK):
        x = x.float()
        z = head(x)  # [n, C]
        predicted = z.argmax(dim=1, keepdim=True)
        # g is proportional to W (q - e_c), q the probabilities among the other classes; p - e_c would be rounding
        # where the model is certain.
        others = z.scatter(1, predicted, -torch.inf).softmax(dim=1)
        gradient = others.scatter(1, predicted, -1.0) @ head.weight.T  # [n, D]
        h = unit(gradient) @ head.weight
        behind, gaining = z.gather(1, predicted) - z, h - h.gather(1, predicted)
        distance = torch.where(gaining > 0, behind / gaining, torch.inf).amin(dim=1)
        found.append(distance / torch.cdist(x.double(), means).amax(dim=1))  # squares may leave float32
    return torch.cat(found).nan_to_num(nan=torch.inf, posinf=torch.inf).cpu().numpy()


def dropout_changes(context: Context, passes: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """[N] in how many passes with dropout on the features the predicted class changes; [N] the margin p(1) - p(2)."""
    head = linear_head(context)
    generator = torch_generator(context.generator("dropout on features"))
    changes, margins = [], []
    for x in context.outputs.require("embeddings").split(CHUNK):
        x = x.float()
        z = head(x)
        predicted = z.argmax(dim=1)
        kept = (torch.rand(passes, *x.shape, generator=generator) >= rate).to(x)
        classes = torch.stack([head(x * mask / (1 - rate)).argmax(dim=1) for mask in kept])  # [passes, n]
        changes.append((classes != predicted).sum(dim=0))
        best = z.softmax(dim=1).topk(min(2, z.shape[1]), dim=1).values
        margins.append(best[:, 0] - best[:, -1])
    return torch.cat(changes).cpu().numpy(), torch.cat(margins).cpu().numpy()


def _spread(
    context: Context, size: int, purpose: str, key: np.ndarray, candidates: np.ndarray, *, normalized: bool
) -> np.ndarray:
    """Positions [B] among the unlabeled samples: one per k-means cluster of the candidates.

    Args:
        context: The pool.
        size: B.
        purpose: What the random numbers are for.
        key: [U] of samples that are no candidates, those of smallest key make up for missing ones.
        candidates: [U] bool.
        normalized: Whether features are brought to length one before they are clustered.
    """
    positions = np.flatnonzero(candidates)
    if len(positions) < size:
        positions = np.argsort(key, kind="stable")[:size]
    points = context.outputs.require("embeddings")[torch.from_numpy(context.unlabeled[positions])].float()
    if normalized:
        points = unit(points)
    seed = int(context.generator(purpose).integers(2**31 - 1))
    return positions[representatives(points, size, seed)[0]]
