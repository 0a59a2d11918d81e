"""Every label and loss on the user's own images, compared.

Run it by
`robustlabels compare --config=configs/compare.py --config.data.name=npz:FILE`.
Argument: the encoder, `cnn` unless another is given: `mlp`, a small `cnn`, `resnet20`
for images of about 32 x 32, `resnet18` for larger ones.

All objectives get the same encoder, number of steps, data, attacks and search of the
learning rate. Speech is left out, for it needs class names that can be spoken: copy
this file and add it, as configs/compare_digits.py has it.
"""

import ml_collections

ENCODERS = dict(
    mlp=dict(name="MLP", widths=(512, 256)),
    cnn=dict(name="CNN", widths=(16, 32), features=64),
    resnet20=dict(name="CIFARResNet", depth=20),
    resnet18=dict(name="ResNet", depth=18),
)


def get_config(encoder="cnn"):
    if encoder not in ENCODERS:
        raise ValueError(f"{encoder!r} is none of {', '.join(ENCODERS)}.")
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.num_seeds = 3
    config.data = dict(name="digits", balanced=True)
    config.encoder = ENCODERS[encoder]
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="cosine", peak=1e-3)
    config.training = dict(num_epochs=30, batch_size=128)
    config.evaluation = dict(
        epsilons="1/255, 2/255, 4/255, 8/255, 16/255",
        attacks=dict(
            fgsm=dict(name="fgsm"),
            pgd=dict(name="pgd", num_steps=40),
            standard=dict(name="standard"),
            nearest=dict(name="ddn"),
        ),
        num_examples=1000,
        noise_images=1000,
        fooling_images=0,
        corrupted_examples=1000,
    )
    config.compare = dict(
        reference="softmax",
        learning_rates=(1e-3, 3e-3, 1e-2),
        train_fractions=(0.01, 0.1),
        swap_rates=(0.2, 0.4),
        left_out=(),
    )
    softmax, prototypes = dict(name="Softmax"), dict(name="Prototypes")
    uniform, lda = dict(name="uniform"), dict(name="lda")
    config.objectives = dict(
        softmax=dict(head=softmax, objective=dict(name="softmax")),
        label_smoothing=dict(head=softmax, objective=dict(name="label_smoothing")),
        mcel_uniform=dict(
            head=softmax, objective=dict(name="mcel", similarity=uniform)
        ),
        mcel_lda=dict(head=softmax, objective=dict(name="mcel", similarity=lda)),
        sg_mcel=dict(head=softmax, objective=dict(name="sg_mcel", similarity=lda)),
        glvq=dict(head=prototypes, objective=dict(name="glvq")),
        sng=dict(head=prototypes, objective=dict(name="sng")),
        gaussian=label("gaussian_composition"),
        uniform_labels=label("uniform"),
    )
    return config


def label(name):
    return dict(
        head=dict(name="LabelDecoder", shape=(64, 64)),
        objective=dict(name="label_regression", codebook=dict(name=name)),
    )
