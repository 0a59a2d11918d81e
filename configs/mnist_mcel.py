"""Mixed cross-entropy on MNIST, Negi et al. (2018), with a small CNN.

Argument: the objective, `mcel` unless another is given: `softmax`, `label_smoothing`,
`infogain`, `mcel`, `sg_mcel`, `gmcel`, `forward_corrected` or `backward_corrected`.
The paper has no MNIST: net and training are ours. Another set of images of 28 x 28
pixels does as well: `--config.data.name=fashion_mnist`.
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
    config.data = dict(name="mnist")
    config.encoder = dict(name="CNN", widths=(16, 32), features=64)
    config.head = dict(name="Softmax")
    config.objective = dict(name=objective)
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="cosine", peak=1e-3)
    config.training = dict(num_epochs=10, batch_size=100)
    config.evaluation = dict(
        epsilons="0.05, 0.1, 0.2",
        attacks=dict(fgsm=dict(name="fgsm"), pgd=dict(name="pgd", num_steps=40)),
    )
    return config
