"""Query strategies. ``STRATEGIES`` maps names to classes; ``resolve`` takes a name, a class or an object."""

from __future__ import annotations

from autoal import checks
from autoal.search.autoal import AutoAL
from autoal.strategies.albl import Albl
from autoal.strategies.badge import Badge
from autoal.strategies.bait import Bait
from autoal.strategies.base import Picks, ScoreStrategy, Strategy
from autoal.strategies.batch_bald import BatchBald, PowerBald
from autoal.strategies.bayesian import Bald, MeanSTD, VariationRatio
from autoal.strategies.ceal import Ceal
from autoal.strategies.clustermargin import ClusterMargin
from autoal.strategies.ddu import Ddu
from autoal.strategies.diversity import KCenter, KMeans
from autoal.strategies.dropout import EntropyDropout, LeastConfidenceDropout, MarginDropout
from autoal.strategies.ensemble import EnsembleVariationRatio
from autoal.strategies.herding import MaxHerding, RawUHerding, UHerding
from autoal.strategies.learning_loss import LearningLoss
from autoal.strategies.neighbor_disagreement import NeighborDisagreement
from autoal.strategies.perturbation import AlfaMix, DropQuery
from autoal.strategies.probcover import ProbCover
from autoal.strategies.random_sampling import RandomSampling
from autoal.strategies.refine import Refine
from autoal.strategies.selectal import SelectAL
from autoal.strategies.tailor import Tailor
from autoal.strategies.typiclust import TypiClust
from autoal.strategies.uncertainty import Entropy, LeastConfidence, Margin
from autoal.strategies.vaal import Vaal

STRATEGIES: dict[str, type[Strategy]] = {
    "random": RandomSampling,
    "least_confidence": LeastConfidence,
    "margin": Margin,
    "entropy": Entropy,
    "variation_ratio": VariationRatio,
    "bald": Bald,
    "mean_std": MeanSTD,
    "kmeans": KMeans,
    "kcenter": KCenter,
    "badge": Badge,
    "typiclust": TypiClust,
    "probcover": ProbCover,
    "maxherding": MaxHerding,
    "uherding": UHerding,
    "uherding_raw": RawUHerding,
    "neighbor_disagreement": NeighborDisagreement,
    "clustermargin": ClusterMargin,
    "alfamix": AlfaMix,
    "dropquery": DropQuery,
    "bait": Bait,
    "refine": Refine,
    "least_confidence_dropout": LeastConfidenceDropout,
    "margin_dropout": MarginDropout,
    "entropy_dropout": EntropyDropout,
    "batchbald": BatchBald,
    "powerbald": PowerBald,
    "ensemble_variation_ratio": EnsembleVariationRatio,
    "ceal": Ceal,
    "ddu": Ddu,
    "learning_loss": LearningLoss,
    "vaal": Vaal,
    "albl": Albl,
    "tailor": Tailor,
    "selectal": SelectAL,
    "autoal": AutoAL,
}
ORACLES = ("boss",)  # strategies that know the true labels: only experiments make them (autoal.experiment.boss)


def resolve(strategy: str | type[Strategy] | Strategy) -> Strategy:
    """The strategy object meant by a name, a class (made with its defaults) or an object.

    Raises:
        ValueError: If no strategy has that name (the nearest one is suggested), or it is an oracle's.
        TypeError: If it is something else.
    """
    if isinstance(strategy, str):
        if strategy in ORACLES:
            raise ValueError(
                f"strategy {strategy!r} knows the true labels, which only an experiment does: "
                f"compare others with it by autoal run --strategy {strategy}"
            )
        if strategy not in STRATEGIES:
            raise checks.unknown_name("strategy", strategy, STRATEGIES)
        return STRATEGIES[strategy]()
    if isinstance(strategy, type) and issubclass(strategy, Strategy):
        return strategy()
    if isinstance(strategy, Strategy):
        return strategy
    raise TypeError(
        f"strategy must be a name, or a class or object of autoal.strategies.Strategy, got {checks.describe(strategy)}"
    )


__all__ = ["ORACLES", "STRATEGIES", "Picks", "ScoreStrategy", "Strategy", "resolve"]
