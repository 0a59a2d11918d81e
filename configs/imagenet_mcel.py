"""Mixed cross-entropy on ImageNet, Negi et al. (2018), table 2.

Argument: the objective, `mcel` unless another is given: `softmax`, `label_smoothing`,
`infogain`, `mcel`, `sg_mcel`, `gmcel`, `forward_corrected` or `backward_corrected`.
ResNet-152. The paper names no recipe: 90 epochs of 256 images under a cosine are ours.
The class similarity is that of uniform classes unless a run says better:
`--config.objective.similarity.name=lda --config.objective.similarity.run=DIR`, for the
discriminants of all pixels would need a matrix of 150,528 x 150,528.
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
    config.data = dict(name="imagenet2012", image_size=224, validation_fraction=0.01)
    config.encoder = dict(name="ResNet", depth=152, dtype="bfloat16")
    config.head = dict(name="Softmax")
    config.objective = dict(name=objective)
    if objective in ("mcel", "sg_mcel", "gmcel"):
        config.objective.similarity = dict(name="uniform")
    config.optimizer = dict(name="sgd", momentum=0.9, weight_decay=1e-4)
    config.learning_rate = dict(name="cosine", peak=0.1, warmup=0.05)
    config.training = dict(
        num_epochs=90, batch_size=256, eval_batch_size=250, stretch=50
    )
    config.evaluation = dict(
        batch_size=250,
        epsilons="1/255, 2/255, 4/255",
        attacks=dict(fgsm=dict(name="fgsm"), pgd=dict(name="pgd", num_steps=40)),
    )
    return config
