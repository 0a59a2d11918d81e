"""Attacks for the harness: everything about an attack but how far it may go.

Each constructor returns an `Attack`, which takes epsilon and key when they are known,
or an `Ensemble` of them.
"""

from robustlabels.evaluation.budgets.attack import Attack as Attack
from robustlabels.evaluation.budgets.attack import Ensemble as Ensemble
from robustlabels.evaluation.budgets.attack import Stage as Stage
from robustlabels.evaluation.budgets.nearest import (
    carlini_wagner,
    ddn,
    deepfool,
    fab,
    fab_targeted,
    fmn,
    hop_skip_jump,
    minimum_distortion,
)
from robustlabels.evaluation.budgets.standard import standard
from robustlabels.evaluation.budgets.within import (
    apgd,
    apgd_targeted,
    fgsm,
    gaussian_noise,
    mi_fgsm,
    pgd,
    square,
    uniform_noise,
)

__all__ = [
    "apgd",
    "apgd_targeted",
    "carlini_wagner",
    "ddn",
    "deepfool",
    "fab",
    "fab_targeted",
    "fgsm",
    "fmn",
    "gaussian_noise",
    "hop_skip_jump",
    "mi_fgsm",
    "minimum_distortion",
    "pgd",
    "square",
    "standard",
    "uniform_noise",
]
