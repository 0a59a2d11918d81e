"""Mixed cross-entropy on CIFAR-100, Negi et al. (2018), table 3.

Argument: the objective, `mcel` unless another is given: `softmax`, `label_smoothing`,
`infogain`, `mcel`, `sg_mcel`, `gmcel`, `forward_corrected` or `backward_corrected`.
Negi et al. (2018): ResNet-32, batches of 250, 500 epochs, a learning rate that decays
exponentially, 10,000 training images to validate on, ε = 0.2. Their learning rate,
momentum and weight decay read as if mixed up: 0.1, 0.9 and 1e-4 are ours, as is the
end of the decay. They augment by crops, rotations and mirrors, this does not.
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
    config.data = dict(name="cifar100", validation_fraction=0.2)
    config.encoder = dict(name="CIFARResNet", depth=32)
    config.head = dict(name="Softmax")
    config.objective = dict(name=objective)
    config.optimizer = dict(name="sgd", momentum=0.9, weight_decay=1e-4)
    config.learning_rate = dict(name="exponential", peak=0.1, final=0.01)
    config.training = dict(num_epochs=500, batch_size=250)
    config.evaluation = dict(
        epsilons="1/255, 2/255, 4/255, 8/255",
        attacks=dict(
            fgsm=dict(name="fgsm"),
            pgd=dict(name="pgd", num_steps=40),
        ),
    )
    return config
