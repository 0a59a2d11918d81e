"""Attacks: pure functions that ascend a loss `(x, y) -> [batch]` over images.

They know no model, no objective and no jit, and run unchanged under `jax.jit`,
`jax.vmap`, `jax.shard_map` and `jax.pmap`. The `*_iteration` behind each is the same
attack as `init`, `step`, `result`, for whoever steps it by himself.
"""

from robustlabels.attacks.fooling import Fooling, fooling, fooling_iteration
from robustlabels.attacks.gradient import fgsm, pgd, pgd_iteration
from robustlabels.attacks.iteration import Iteration, run, targeted
from robustlabels.attacks.noise import (
    gaussian_noise,
    gaussian_noise_iteration,
    uniform_noise,
    uniform_noise_iteration,
)

__all__ = [
    "Fooling",
    "Iteration",
    "fgsm",
    "fooling",
    "fooling_iteration",
    "gaussian_noise",
    "gaussian_noise_iteration",
    "pgd",
    "pgd_iteration",
    "run",
    "targeted",
    "uniform_noise",
    "uniform_noise_iteration",
]
