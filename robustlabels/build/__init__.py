"""From a complete config to the objects it describes: the one place that knows all."""

from robustlabels.build.check import check
from robustlabels.build.core import (
    codebook,
    dataset,
    family,
    fit,
    networks,
    restore,
    trained,
)
from robustlabels.build.evaluation import attacks, evaluate

__all__ = [
    "attacks",
    "check",
    "codebook",
    "dataset",
    "evaluate",
    "family",
    "fit",
    "networks",
    "restore",
    "trained",
]
