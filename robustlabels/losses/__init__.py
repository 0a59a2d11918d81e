"""Losses: pure functions of outputs and class ids, one number an example.

The caller reduces. Hyperparameters are keyword-only; numeric ones may be traced.
"""

from robustlabels.losses.cross_entropy import cross_entropy
from robustlabels.losses.label_noise import (
    backward_corrected,
    backward_targets,
    check_noise_matrix,
    estimate_noise_matrix,
    forward_corrected,
)
from robustlabels.losses.margin import (
    dlr,
    margin,
    targeted_dlr,
    tempered_cross_entropy,
)
from robustlabels.losses.mixing import gmcel_penalty, sg_mcel_penalty
from robustlabels.losses.prototype import (
    glvq,
    relative_distance,
    sng,
    sng_correct,
    sng_pooled,
    sng_softmin,
    squared_distances,
)
from robustlabels.losses.regression import (
    accepted,
    cosine_to_labels,
    huber,
    huber_to_label,
    huber_to_labels,
    squared_to_labels,
)
from robustlabels.losses.soft_targets import (
    gmcel_targets,
    infogain_targets,
    kld_regularized_cross_entropy,
    mcel_targets,
    one_hot_targets,
    sg_mcel_targets,
    smoothed_targets,
    soft_target_cross_entropy,
)
from robustlabels.losses.transfer import (
    exponential,
    identity,
    sigmoid,
    softplus,
    swish,
)

__all__ = [
    "accepted",
    "backward_corrected",
    "backward_targets",
    "check_noise_matrix",
    "cosine_to_labels",
    "cross_entropy",
    "dlr",
    "estimate_noise_matrix",
    "exponential",
    "forward_corrected",
    "glvq",
    "gmcel_penalty",
    "gmcel_targets",
    "huber",
    "huber_to_label",
    "huber_to_labels",
    "identity",
    "infogain_targets",
    "kld_regularized_cross_entropy",
    "margin",
    "mcel_targets",
    "one_hot_targets",
    "relative_distance",
    "sg_mcel_penalty",
    "sg_mcel_targets",
    "sigmoid",
    "smoothed_targets",
    "sng",
    "sng_correct",
    "sng_pooled",
    "sng_softmin",
    "soft_target_cross_entropy",
    "softplus",
    "squared_distances",
    "squared_to_labels",
    "swish",
    "targeted_dlr",
    "tempered_cross_entropy",
]
