"""Attacks for the harness: everything about an attack but how far it may go.

Each constructor returns an `Attack`, which takes epsilon and key when they are known.
"""

from robustlabels.evaluation.budgets.attack import Attack as Attack
from robustlabels.evaluation.budgets.attack import Ensemble as Ensemble
from robustlabels.evaluation.budgets.attack import Stage as Stage
from robustlabels.evaluation.budgets.within import (
    fgsm,
    gaussian_noise,
    pgd,
    uniform_noise,
)

__all__ = ["fgsm", "gaussian_noise", "pgd", "uniform_noise"]
