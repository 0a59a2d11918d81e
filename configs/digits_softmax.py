"""The control on the 8x8 digits of scikit-learn: the same encoder under a softmax."""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(name="digits", test_fraction=0.25)
    config.encoder = dict(name="MLP", widths=(256, 256, 64))
    config.head = dict(name="Softmax")
    config.objective = dict(name="softmax")
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="constant", peak=1e-3)
    config.training = dict(num_epochs=100, batch_size=100)
    config.evaluation = dict(
        epsilons="0.05, 0.1, 0.25",
        attacks=dict(fgsm=dict(name="fgsm"), pgd=dict(name="pgd", num_steps=40)),
    )
    return config
