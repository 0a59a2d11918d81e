"""Mixed cross-entropy on the 8x8 digits of scikit-learn, Negi et al. (2018).

Argument: the objective, `mcel` unless another is given: `softmax`, `label_smoothing`,
`infogain`, `mcel`, `sg_mcel`, `gmcel`, `forward_corrected` or `backward_corrected`.
"""

import ml_collections

OBJECTIVES = (
    "softmax",
    "label_smoothing",
    "infogain",
    "mcel",
    "sg_mcel",
    "gmcel",
    "forward_corrected",
    "backward_corrected",
)


def get_config(objective="mcel"):
    if objective not in OBJECTIVES:
        raise ValueError(f"{objective!r} is none of {', '.join(OBJECTIVES)}.")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(name="digits", test_fraction=0.25)
    config.encoder = dict(name="MLP", widths=(256, 256, 64))
    config.head = dict(name="Softmax")
    config.objective = dict(name=objective)
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="constant", peak=1e-3)
    config.training = dict(num_epochs=100, batch_size=100)
    config.evaluation = dict(
        epsilons="0.05, 0.1, 0.25",
        attacks=dict(fgsm=dict(name="fgsm"), pgd=dict(name="pgd", num_steps=40)),
    )
    return config
