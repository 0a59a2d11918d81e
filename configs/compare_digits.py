"""Every label and loss on the 8x8 digits of scikit-learn, compared.

Run it by `robustlabels compare --config=configs/compare_digits.py`. The encoder, the
number of steps, the data and the attacks are the same for all objectives, and so is the
search of the learning rate on validation images. Parameters of their own are at their
defaults. So that all of it ends in ten minutes on two cores, label arrays are 16 x 16
instead of 64 x 64, 200 images are attacked, and the standard ensemble has less than the
published 100 steps, 9 targets and 5,000 queries.
"""

import ml_collections


def get_config():
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.num_seeds = 3
    config.data = dict(name="digits", test_fraction=0.25, balanced=True)
    config.encoder = dict(name="MLP", widths=(256, 256, 64))
    config.optimizer = dict(name="adam")
    config.learning_rate = dict(name="cosine", peak=1e-3)
    config.training = dict(num_epochs=20, batch_size=100)
    config.evaluation = dict(
        epsilons="0.02, 0.05, 0.1, 0.15, 0.2",
        attacks=dict(
            fgsm=dict(name="fgsm"),
            pgd=dict(name="pgd", num_steps=40),
            standard=dict(
                name="standard", num_steps=50, num_targets=3, num_queries=1000
            ),
            nearest=dict(name="ddn"),
        ),
        num_examples=200,
        batch_size=128,
        noise_images=1000,
        fooling_images=0,
        diagnosed_examples=60,
        corrupted_examples=100,
    )
    config.compare = dict(
        reference="softmax",
        learning_rates=(1e-3, 3e-3, 1e-2),
        train_fractions=(0.01, 0.1),
        swap_rates=(0.2, 0.4),
        left_out=(8, 9),
    )
    config.objectives = objectives()
    return config


def objectives():
    softmax, prototypes = dict(name="Softmax"), dict(name="Prototypes")
    uniform, lda = dict(name="uniform"), dict(name="lda")
    return dict(
        softmax=dict(head=softmax, objective=dict(name="softmax")),
        label_smoothing=dict(head=softmax, objective=dict(name="label_smoothing")),
        mcel_uniform=dict(
            head=softmax, objective=dict(name="mcel", similarity=uniform)
        ),
        mcel_lda=dict(head=softmax, objective=dict(name="mcel", similarity=lda)),
        sg_mcel=dict(head=softmax, objective=dict(name="sg_mcel", similarity=lda)),
        glvq=dict(head=prototypes, objective=dict(name="glvq")),
        sng=dict(head=prototypes, objective=dict(name="sng")),
        speech=label("speech"),
        gaussian=label("gaussian_composition"),
        uniform_labels=label("uniform"),
    )


def label(name, shape=(16, 16)):
    return dict(
        head=dict(name="LabelDecoder", shape=shape),
        objective=dict(name="label_regression", codebook=dict(name=name, shape=shape)),
    )
