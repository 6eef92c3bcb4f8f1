"""Arrays in, arrays out: the kernels of active learning on CPU and CUDA, usable by themselves.

Inputs are numpy arrays (memory maps too) or torch tensors, float32, float16 or bfloat16 (float64 becomes float32,
integers are refused); answers are of the same kind on the same device. Indices int64, scores float32, higher = ask
first, ties to the lowest index. CPU and CUDA tensors are computed by the compiled kernels or not at all.
"""

from __future__ import annotations

from autoal.ops import registry as _registry  # noqa: F401  (torch.ops.autoal.* exist from here on)
from autoal.ops.backends import backends, set_num_threads
from autoal.ops.contract import DuplicatesWarning
from autoal.ops.coverage_greedy import CoverageGains, coverage_greedy
from autoal.ops.gradient_kmeanspp import gradient_kmeanspp
from autoal.ops.kcenter_greedy import kcenter_greedy
from autoal.ops.kmeans import KMeans, kmeans
from autoal.ops.kmeanspp import kmeanspp
from autoal.ops.knn import KNN, knn
from autoal.ops.typicality import Typicality, typicality
from autoal.ops.uncertainty_scores import (
    MCUncertaintyScores,
    UncertaintyScores,
    mc_uncertainty_scores,
    uncertainty_scores,
)

__all__ = [
    "KNN",
    "CoverageGains",
    "DuplicatesWarning",
    "KMeans",
    "MCUncertaintyScores",
    "Typicality",
    "UncertaintyScores",
    "backends",
    "coverage_greedy",
    "gradient_kmeanspp",
    "kcenter_greedy",
    "kmeans",
    "kmeanspp",
    "knn",
    "mc_uncertainty_scores",
    "set_num_threads",
    "typicality",
    "uncertainty_scores",
]
