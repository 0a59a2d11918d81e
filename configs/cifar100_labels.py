"""Label arrays on CIFAR-100, Chen et al. (2021).

Argument: `LABEL`, or `ENCODER,LABEL`; `resnet32,speech` unless others are given. The
encoder is `resnet32`, `resnet110` or `vgg19`. The label is `category`,
`label_smoothing`, `constant`, `uniform`, `gaussian_composition`, `speech`,
`shuffled_speech`, or `low_dimensional`, a random vector with as many entries as there
are classes.

Chen et al. (2021), as in their code: 45,000 / 5,000 / 10,000 images, crops and flips,
batches of 128, SGD at 0.1 with momentum 0.9 and weight decay 1e-4 for 600 epochs, a
tenth of the rate after 300 and 450. Categories are trained alike, which the paper does
not say it did. `fgsm` and `iterative` are their attacks; their epsilons, up to 0.3, are
of normalised images: --config.evaluation.attacks.fgsm.unit=std.
"""

import ml_collections

MATRICES = ("constant", "uniform", "gaussian_composition", "speech", "shuffled_speech")
LABELS = ("category", "label_smoothing", "low_dimensional", *MATRICES)
ENCODERS = dict(
    resnet32=dict(name="CIFARResNet", depth=32),
    resnet110=dict(name="CIFARResNet", depth=110),
    vgg19=dict(name="VGG", depth=19),
)


def get_config(arguments="resnet32,speech"):
    encoder, label = f"resnet32,{arguments}".split(",")[-2:]
    if encoder not in ENCODERS:
        raise ValueError(f"{encoder!r} is none of {', '.join(ENCODERS)}.")
    if label not in LABELS:
        raise ValueError(f"{label!r} is none of {', '.join(LABELS)}.")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(name="cifar100", validation_fraction=0.1)
    config.encoder = ENCODERS[encoder]
    if label in MATRICES:
        config.head = dict(name="LabelDecoder", shape=(64, 64))
        codebook = dict(name=label)
        config.objective = dict(name="label_regression", codebook=codebook)
    elif label == "low_dimensional":
        config.head = dict(name="LabelDecoder", shape=(100,))
        codebook = dict(name="uniform", shape=(100,))
        config.objective = dict(name="label_regression", codebook=codebook)
    else:
        config.head = dict(name="Softmax")
        names = dict(category="softmax", label_smoothing="label_smoothing")
        config.objective = dict(name=names[label])
    config.optimizer = dict(name="sgd", momentum=0.9, weight_decay=1e-4)
    config.learning_rate = dict(name="step", peak=0.1)
    config.training = dict(
        num_epochs=600, batch_size=128, crop_padding=4, flip=True, snapshots=4
    )
    config.evaluation = dict(
        epsilons="1/255, 2/255, 4/255, 8/255",
        losses=("own", "margin", "cross_entropy", "dlr"),
        shown_examples=8,
        attacks=dict(
            fgsm=dict(name="fgsm"),
            iterative=dict(
                name="pgd", num_steps=5, relative_step_size=0.2, random_start=False
            ),
            pgd=dict(name="pgd", num_steps=40),
        ),
    )
    return config
