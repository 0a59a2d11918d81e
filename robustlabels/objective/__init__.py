"""Objectives: what training descends and how outputs decide.

An `Objective` lives in output space, a `Classifier` in input space; `bind` makes one
of the other and a prediction function. A `Family` makes objectives while training
goes on: it holds what is scheduled or learned. The constructors of families are listed
in `__all__` by the name a config knows them by.
"""

from robustlabels.objective.core import Classifier as Classifier
from robustlabels.objective.core import Family as Family
from robustlabels.objective.core import Objective as Objective
from robustlabels.objective.core import bind as bind
from robustlabels.objective.logits import (
    backward_corrected,
    forward_corrected,
    gmcel,
    infogain,
    label_smoothing,
    mcel,
    sg_mcel,
    softmax,
)
from robustlabels.objective.logits import largest_probability as largest_probability
from robustlabels.objective.logits import logit_scores as logit_scores
from robustlabels.objective.prototypes import glvq, sng
from robustlabels.objective.prototypes import nearest_scores as nearest_scores
from robustlabels.objective.prototypes import relative_confidence as relative_confidence
from robustlabels.objective.regression import label_confidence as label_confidence
from robustlabels.objective.regression import label_regression
from robustlabels.objective.regression import label_scores as label_scores

__all__ = [
    "backward_corrected",
    "forward_corrected",
    "glvq",
    "gmcel",
    "infogain",
    "label_regression",
    "label_smoothing",
    "mcel",
    "sg_mcel",
    "sng",
    "softmax",
]
