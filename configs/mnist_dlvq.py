"""Deep LVQ on MNIST, de Vries et al. (2016): prototypes and supervised neural gas.

Argument: `none`, `bn` (batch normalisation) or `bn_noise` (and Gaussian input noise of
standard deviation 0.5). The paper names neither optimiser nor batch size: Adam at 1e-3
and 100 are ours.
"""

import ml_collections


def get_config(regularization="none"):
    if regularization not in ("none", "bn", "bn_noise"):
        raise ValueError(f"{regularization!r} is none of none, bn, bn_noise.")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(name="mnist")
    config.encoder = dict(
        name="MLP",
        widths=(1200, 1200, 200),
        norm="none" if regularization == "none" else "batch",
    )
    config.head = dict(name="Prototypes", per_class=1, init="class_means")
    config.objective = dict(name="sng", tau_start=0.1, tau_end=30.0)
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="constant", peak=1e-3)
    config.training = dict(
        num_epochs=100,
        batch_size=100,
        input_noise=0.5 if regularization == "bn_noise" else 0.0,
    )
    config.evaluation = dict(
        epsilons="0.05, 0.1, 0.25",
        attacks=dict(fgsm=dict(name="fgsm"), pgd=dict(name="pgd", num_steps=40)),
    )
    return config
