"""From a config to objects: names, initial prototypes, what goes with what."""

import jax.numpy as jnp
import numpy as np
import pytest
from test_sections import short

from robustlabels import build, evaluation, models, training
from robustlabels.data import as_float, load
from robustlabels.sections import complete


@pytest.fixture(scope="module")
def dataset():
    return load("fake", num_classes=3, num_examples=200, image_shape=(8, 8, 1))


def tiny(**changed):
    changed = {"encoder": {"name": "MLP", "widths": (12, 6)}, **changed}
    return complete(short(**changed))


def test_the_network_is_what_the_config_says(dataset):
    config = tiny(encoder={"name": "CNN", "widths": (4,), "features": 6})
    (model,) = build.networks(config, dataset)
    assert isinstance(model.encoder, models.CNN)
    assert isinstance(model.head, models.Prototypes)
    outputs, activations = model(jnp.zeros((2, 8, 8, 1)))
    assert outputs.shape == (2, 3)
    assert activations["embedding"].shape == (2, 6)
    np.testing.assert_allclose(model.normalize.mean[...], dataset.mean)


def test_the_seed_decides_the_weights(dataset):
    def kernels(**changed):
        made = build.networks(tiny(**changed), dataset)
        return [np.asarray(model.encoder.dense[0].linear.kernel) for model in made]

    (first,), (second,) = kernels(seed=4), kernels(seed=5)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(kernels(seed=4, num_seeds=2), [first, second])


@pytest.mark.parametrize("init", ["class_means", "class_kmeans", "class_samples"])
def test_training_starts_from_prototypes_of_the_data(dataset, init):
    config = tiny(
        head={"name": "Prototypes", "per_class": 2, "init": init},
        learning_rate={"name": "constant", "peak": 0.0},
        training={"num_epochs": 1},
    )
    (model,) = build.networks(config, dataset)
    embedded = training.embeddings(model, dataset.train)
    expected = getattr(models, init)(
        embedded, dataset.train.labels, num_classes=3, per_class=2, seed=0
    )
    fitted = build.fit(config, build.networks(config, dataset), dataset)
    images = jnp.asarray(as_float(dataset.test.images))
    x = np.asarray(model.embed(images))
    distances = ((x[:, None] - expected[None]) ** 2).sum(-1)
    nearest = distances.reshape(len(x), 3, 2).min(-1)
    np.testing.assert_allclose(
        -fitted.classifier.scores(images), nearest, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("objective", "head", "right"),
    [("softmax", "Prototypes", "Softmax"), ("glvq", "Softmax", "Prototypes")],
)
def test_an_objective_needs_its_head(objective, head, right):
    config = tiny(objective={"name": objective}, head={"name": head})
    with pytest.raises(ValueError, match=f"set config.head.name={right}"):
        build.check(config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": {"name": "sgd", "momentum": 3.0}}, r"momentum=3.0 .*\[0, 1\]"),
        ({"learning_rate": {"name": "constant", "peak": -1.0}}, "learning_rate=-1"),
        ({"training": {"batch_size": 0}}, "batch_size=0"),
        ({"training": {"input_noise": -1.0}}, "input_noise=-1"),
        ({"training": {"average_decay": 1.0}}, "average_decay=1"),
        ({"encoder": {"name": "MLP", "dtype": "int8"}}, "'float32', 'bfloat16'"),
        ({"head": {"name": "Prototypes", "init": "zeros"}}, "'zeros' is not in"),
        ({"objective": {"name": "sng", "tau_end": -1.0}}, "tau_end=-1"),
        (
            {"objective": {"name": "glvq", "phi": {"name": "sigmoid", "beta": 0.0}}},
            "beta=0",
        ),
        ({"evaluation": {"epsilons": "a"}}, "'a' is no number"),
        (
            {"evaluation": {"epsilons": "8", "attacks": {"f": {"name": "fgsm"}}}},
            r"epsilon=8.0 is outside \[0, 1\]",
        ),
        ({"evaluation": {"attacks": {"f": {"name": "fgsm"}}}}, "no epsilons"),
        ({"evaluation": {"batch_size": 0}}, "evaluation.batch_size=0"),
        ({"evaluation": {"noise_images": -1}}, "evaluation.noise_images=-1"),
        ({"training": {"replicas_at_once": -1}}, "replicas_at_once=-1"),
        (
            {"evaluation": {"attacks": {"p": {"name": "pgd", "num_steps": 0}}}},
            "num_steps=0",
        ),
    ],
)
def test_values_out_of_range_are_found_before_any_work(changed, message):
    with pytest.raises(ValueError, match=message):
        build.check(tiny(**changed))


def test_evaluation_takes_so_many_examples(dataset):
    config = tiny(
        training={"num_epochs": 2},
        evaluation={
            "epsilons": "0.1",
            "num_examples": 7,
            "attacks": {"sign": {"name": "fgsm"}},
            "noise_images": 5,
            "fooling_images": 3,
            "diagnosed_examples": 4,
        },
        num_seeds=2,
    )
    fitted = build.fit(config, build.networks(config, dataset), dataset)
    found = list(build.evaluate(config, dataset, fitted))
    records = [each for each in found if isinstance(each, evaluation.Record)]
    findings = [each for each in found if isinstance(each, evaluation.Finding)]
    assert {record.n for record in records} == {7}
    rows = [("none", "none"), ("sign", "own"), ("sign", "margin"), ("sign", "worst")]
    assert [(r.classifier["seed"], r.attack, r.loss) for r in records] == [
        (seed, *row) for seed in (0, 1) for row in rows
    ]
    assert records[0].classifier["objective"] == "sng"
    assert records[1].parameters == {"name": "fgsm"}
    sizes = {"clean": 7, "noise": 5, "fooling": 3, "hidden_gradient": 4}
    for kind, size in sizes.items():
        of_kind = [f for f in findings if f.kind == kind]
        assert [(f.classifier["seed"], f.n) for f in of_kind] == [(0, size), (1, size)]
