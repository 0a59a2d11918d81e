"""Attacks: pure functions that ascend a loss `(x, y) -> [batch]` over images.

They know no model, no objective and no jit, and run unchanged under `jax.jit`,
`jax.vmap`, `jax.shard_map` and `jax.pmap`. The `*_iteration` behind each is the same
attack as `init`, `step`, `result`, for whoever steps it by himself.
"""

from robustlabels.attacks.apgd import (
    apgd,
    apgd_iteration,
)
from robustlabels.attacks.carlini_wagner import (
    carlini_wagner,
    carlini_wagner_iteration,
)
from robustlabels.attacks.ddn import (
    ddn,
    ddn_iteration,
)
from robustlabels.attacks.deepfool import (
    deepfool,
    deepfool_iteration,
)
from robustlabels.attacks.fab import (
    fab,
    fab_iteration,
)
from robustlabels.attacks.fmn import (
    fmn,
    fmn_iteration,
)
from robustlabels.attacks.fooling import (
    Fooling,
    fooling,
    fooling_iteration,
)
from robustlabels.attacks.fourier import (
    fourier_errors,
    fourier_frequencies,
    fourier_pattern,
    single_fourier,
    single_fourier_iteration,
)
from robustlabels.attacks.gradient import (
    fgsm,
    mi_fgsm,
    pgd,
    pgd_iteration,
)
from robustlabels.attacks.hopskipjump import (
    hop_skip_jump,
    hop_skip_jump_iteration,
)
from robustlabels.attacks.iteration import (
    Iteration,
    run,
    targeted,
)
from robustlabels.attacks.minimum_distortion import (
    minimum_distortion,
    minimum_distortion_iteration,
)
from robustlabels.attacks.nearest import (
    MinimumDistortion,
    root_mean_square,
)
from robustlabels.attacks.noise import (
    gaussian_noise,
    gaussian_noise_iteration,
    uniform_noise,
    uniform_noise_iteration,
)
from robustlabels.attacks.restarts import (
    nth_wrong_class,
    restarted,
)
from robustlabels.attacks.square import (
    square,
    square_iteration,
)
from robustlabels.attacks.universal import (
    universal_perturbation,
    universal_step,
)

__all__ = [
    "Fooling",
    "Iteration",
    "MinimumDistortion",
    "apgd",
    "apgd_iteration",
    "carlini_wagner",
    "carlini_wagner_iteration",
    "ddn",
    "ddn_iteration",
    "deepfool",
    "deepfool_iteration",
    "fab",
    "fab_iteration",
    "fgsm",
    "fmn",
    "fmn_iteration",
    "fooling",
    "fooling_iteration",
    "fourier_errors",
    "fourier_frequencies",
    "fourier_pattern",
    "gaussian_noise",
    "gaussian_noise_iteration",
    "hop_skip_jump",
    "hop_skip_jump_iteration",
    "mi_fgsm",
    "minimum_distortion",
    "minimum_distortion_iteration",
    "nth_wrong_class",
    "pgd",
    "pgd_iteration",
    "restarted",
    "root_mean_square",
    "run",
    "single_fourier",
    "single_fourier_iteration",
    "square",
    "square_iteration",
    "targeted",
    "uniform_noise",
    "uniform_noise_iteration",
    "universal_perturbation",
    "universal_step",
]
