"""Losses: pure functions of outputs and class ids, one number an example.

The caller reduces. Hyperparameters are keyword-only; numeric ones may be traced.
"""

from robustlabels.losses.cross_entropy import cross_entropy
from robustlabels.losses.margin import margin
from robustlabels.losses.prototype import (
    glvq,
    relative_distance,
    sng,
    sng_correct,
    sng_pooled,
    sng_softmin,
    squared_distances,
)
from robustlabels.losses.transfer import (
    exponential,
    identity,
    sigmoid,
    softplus,
    swish,
)

__all__ = [
    "cross_entropy",
    "exponential",
    "glvq",
    "identity",
    "margin",
    "relative_distance",
    "sigmoid",
    "sng",
    "sng_correct",
    "sng_pooled",
    "sng_softmin",
    "softplus",
    "squared_distances",
    "swish",
]
