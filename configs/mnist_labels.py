"""Label arrays on MNIST, Chen et al. (2021).

Argument: `LABEL`, or `ENCODER,LABEL`; `cnn,speech` unless others are given. The encoder
is `cnn`, a small one, or `mlp`. The label is `category`, `label_smoothing`, `constant`,
`uniform`, `gaussian_composition`, `speech`, `shuffled_speech`, or `low_dimensional`, a
random vector with as many entries as there are classes.
The paper has no MNIST: net and training are ours. Another set of images of 28 x 28
pixels does as well: `--config.data.name=fashion_mnist`.
"""

import ml_collections

MATRICES = ("constant", "uniform", "gaussian_composition", "speech", "shuffled_speech")
LABELS = ("category", "label_smoothing", "low_dimensional", *MATRICES)
ENCODERS = dict(
    cnn=dict(name="CNN", widths=(16, 32), features=64),
    mlp=dict(name="MLP", widths=(256, 256, 64)),
)


def get_config(arguments="cnn,speech"):
    encoder, label = f"cnn,{arguments}".split(",")[-2:]
    if encoder not in ENCODERS:
        raise ValueError(f"{encoder!r} is none of {', '.join(ENCODERS)}.")
    if label not in LABELS:
        raise ValueError(f"{label!r} is none of {', '.join(LABELS)}.")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = dict(name="mnist")
    config.encoder = ENCODERS[encoder]
    if label in MATRICES:
        config.head = dict(name="LabelDecoder", shape=(64, 64))
        codebook = dict(name=label)
        config.objective = dict(name="label_regression", codebook=codebook)
    elif label == "low_dimensional":
        config.head = dict(name="LabelDecoder", shape=(10,))
        codebook = dict(name="uniform", shape=(10,))
        config.objective = dict(name="label_regression", codebook=codebook)
    else:
        config.head = dict(name="Softmax")
        names = dict(category="softmax", label_smoothing="label_smoothing")
        config.objective = dict(name=names[label])
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="cosine", peak=3e-3)
    config.training = dict(num_epochs=10, batch_size=100, snapshots=4)
    config.evaluation = dict(
        epsilons="0.05, 0.1, 0.2",
        losses=("own", "margin", "cross_entropy", "dlr"),
        shown_examples=8,
        attacks=dict(
            fgsm=dict(name="fgsm"),
            pgd=dict(name="pgd", num_steps=40),
        ),
    )
    return config
