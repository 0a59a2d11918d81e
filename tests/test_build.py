"""From a config to objects: names, initial prototypes, what goes with what."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_sections import short

from robustlabels import (
    build,
    evaluation,
    labels,
    losses,
    matrices,
    models,
    objective,
    run,
    similarity,
    training,
)
from robustlabels.data import as_float, load
from robustlabels.sections import complete

LOGITS = {
    "head": {"name": "Softmax"},
    "training": {"num_epochs": 1},
    "evaluation": {"noise_images": 0, "fooling_images": 0, "diagnosed_examples": 0},
}


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


def test_a_head_without_classes_is_not_told_of_any(dataset):
    (model,) = build.networks(
        tiny(head={"name": "LabelDecoder", "shape": (5, 4)}), dataset
    )
    assert isinstance(model.head, models.LabelDecoder)
    assert model.head.shape == (5, 4)


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
    [
        ("softmax", "Prototypes", "Softmax"),
        ("softmax", "LabelDecoder", "Softmax"),
        ("label_regression", "Softmax", "LabelDecoder"),
        ("glvq", "Softmax", "Prototypes"),
    ],
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
        ({**LOGITS, "objective": {"name": "mcel", "epsilon": 0.6}}, "epsilon=0.6"),
        ({**LOGITS, "objective": {"name": "sg_mcel", "p": 0.5}}, "p=0.5 is outside"),
        ({"training": {"objective_learning_rate": -1.0}}, "objective_learning_rate"),
        ({"evaluation": {"epsilons": "a"}}, "'a' is no number"),
        ({"evaluation": {"losses": ("own",)}}, "lacks 'margin'"),
        ({"evaluation": {"losses": ("margin", "hinge")}}, "loss='hinge' is unknown"),
        ({"training": {"crop_padding": -1}}, "crop_padding=-1"),
        ({"training": {"passes": -1}}, "passes=-1"),
        (
            {"evaluation": {"epsilons": "8", "attacks": {"f": {"name": "fgsm"}}}},
            r"epsilon=8.0 is outside \[0, 1\]",
        ),
        ({"evaluation": {"attacks": {"f": {"name": "fgsm"}}}}, "no epsilons"),
        ({"evaluation": {"batch_size": 0}}, "evaluation.batch_size=0"),
        ({"evaluation": {"split": "train"}}, "evaluation.split='train'"),
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


def of_logits(name, **fields):
    return tiny(**LOGITS, objective={"name": name, **fields})


def of_labels(codebook=None, **head):
    """A config that regresses labels of three entries."""
    codebook = codebook or {"name": "uniform", "shape": (3,)}
    return tiny(
        head={"name": "LabelDecoder", "shape": (3,), **head},
        training={"num_epochs": 1},
        evaluation=LOGITS["evaluation"],
        objective={"name": "label_regression", "codebook": codebook},
    )


def targets_of(config, dataset, **options):
    made = build.family(config, dataset, **options)
    return made.at(made.init(jax.random.key(0)), 1.0).loss.keywords["targets"]


@pytest.mark.parametrize("name", objective.__all__)
def test_every_objective_descends_by_its_name(name, dataset):
    if name in ("glvq", "sng"):
        config = tiny(objective={"name": name})
    elif name == "label_regression":
        config = of_labels()
    else:
        config = of_logits(name)
    build.check(config)
    made = build.family(config, dataset)
    outputs = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (4, 3)), jnp.float32)

    def loss(outputs):
        current = made.at(made.init(jax.random.key(0)), 0.5)
        return current.loss(outputs, jnp.array([0, 1, 2, 0])).mean()

    slope = jax.grad(loss)(outputs)
    assert np.all(np.isfinite(slope))
    assert loss(outputs - 0.1 * slope) < loss(outputs)


def test_labels_are_made_once_and_have_the_shape_of_the_head(dataset, tmp_path):
    config = of_labels()
    made = build.family(config, dataset, workdir=tmp_path)
    expected = labels.uniform(3, shape=(3,))
    found = made.at({}, 1.0).loss.keywords["codebook"]
    np.testing.assert_array_equal(found, expected)
    with np.load(tmp_path / "codebook.npz") as kept:
        np.testing.assert_array_equal(kept["matrix"], expected)
    matrices.keep(tmp_path / "codebook.npz", "abc", {}, matrix=np.float32(np.eye(3)))
    made = build.family(config, dataset, workdir=tmp_path)
    found = made.at({}, 1.0).loss.keywords["codebook"]
    np.testing.assert_array_equal(found, np.eye(3))
    np.save(tmp_path / "mine.npy", np.eye(3))
    mine = {"name": "from_file", "path": str(tmp_path / "mine.npy")}
    build.check(of_labels(mine, shape=(4,)))  # nobody knows that file's shape yet
    with pytest.raises(ValueError, match=r"set config\.head\.shape=\(3,\)"):
        build.family(of_labels(mine, shape=(4,)), dataset)
    with pytest.raises(ValueError, match=r"labels have the shape \(3,\), and the head"):
        build.check(of_labels(shape=(3, 3)))
    with pytest.raises(ValueError, match="'softmax' has no label arrays"):
        build.codebook(of_logits("softmax"), dataset)


def test_a_run_may_be_examined_on_its_validation_images(tmp_path):
    config = with_data(of_labels())
    config.evaluation.split = "validation"
    config.evaluation.shown_examples = 3
    config = complete(config)
    found = run.train(config, tmp_path)
    held_out = build.dataset(config).validation
    assert {each.split for each in found} == {"validation"}
    (clean,) = [each for each in found if isinstance(each, evaluation.Record)]
    assert clean.n == len(held_out.labels)
    error = clean.classifier["validation_error"]
    assert clean.value == pytest.approx(1 - error)


def test_a_label_regressor_trains_resumes_and_is_attacked(tmp_path):
    config = with_data(of_labels())
    attack = {"name": "fgsm", "unit": "std", "targeted": True}
    config.evaluation.attacks = {"fgsm": attack}
    config.evaluation.epsilons = "0.1"
    config.evaluation.num_examples = 10
    config.evaluation.losses = ("margin", "dlr")
    config.evaluation.shown_examples = 3
    config.training.snapshots = 2
    config = complete(config)
    found = run.train(config, tmp_path)
    rows = {(r.attack, r.loss) for r in found if isinstance(r, evaluation.Record)}
    ascended = [*config.evaluation.losses, "worst"]
    assert rows == {("none", "none"), *(("fgsm", loss) for loss in ascended)}
    data = build.dataset(config)
    restored = build.restore(config, data, tmp_path)
    images = jnp.asarray(as_float(data.test.images[:10]))
    scores = jax.jit(lambda classifier, x: classifier.scores(x))
    decided = scores(restored.classifier, images).argmax(-1)
    right = np.asarray(decided) == data.test.labels[:10]
    (clean,) = [r.value for r in found if getattr(r, "attack", "") == "none"]
    assert clean == pytest.approx(np.mean(right))
    inside = {f.kind: f for f in found if isinstance(f, evaluation.Finding)}
    assert {"outputs", "features"} <= inside.keys()  # no net with maps, no saliency
    assert inside["outputs"].n == inside["clean"].n == len(data.test.labels)
    assert inside["features"].values["epochs"] == [0, 1]
    assert inside["features"].n == len(data.validation.labels)
    for each in run.evaluate(config, tmp_path):  # what is known is not made again
        if isinstance(each, evaluation.Finding) and each.kind in (
            "outputs",
            "features",
        ):
            assert each.provenance == inside[each.kind].provenance


def test_an_objective_gets_the_similarity_that_is_named(dataset):
    x = np.asarray(as_float(dataset.train.images), np.float64) / dataset.std
    lda = similarity.lda_similarity(x, dataset.train.labels, num_classes=3)
    for name, expected in (
        ("lda", lda),
        ("uniform", similarity.uniform_similarity(3)),
    ):
        config = of_logits("mcel", epsilon=0.3, similarity={"name": name})
        found = targets_of(config, dataset)
        np.testing.assert_allclose(found, losses.mcel_targets(expected, 0.3), rtol=1e-5)


def test_smoothing_infogain_and_corrections_know_the_data():
    data = load("fake", num_classes=3, num_examples=200, swap_rate=0.3)
    found = targets_of(of_logits("label_smoothing", smoothing=0.3), data)
    np.testing.assert_allclose(found, 0.7 * np.eye(3) + 0.1, rtol=1e-6)
    counts = [sum(label == c for label in data.train.labels) for c in range(3)]
    found = targets_of(of_logits("infogain"), data)
    np.testing.assert_allclose(found, np.diag(min(counts) / np.array(counts)))
    noise = np.zeros((3, 3))
    for clean, given in zip(data.clean_labels, data.train.labels, strict=True):
        noise[clean, given] += 1
    noise /= noise.sum(axis=1, keepdims=True)
    assert np.any(noise != np.eye(3))
    found = targets_of(of_logits("backward_corrected"), data)
    np.testing.assert_allclose(found, np.linalg.inv(noise), rtol=1e-5, atol=1e-6)
    made = build.family(of_logits("forward_corrected"), data)
    found = made.at({}, 1.0).loss.keywords["noise_matrix"]
    np.testing.assert_allclose(found, noise, rtol=1e-6)


def test_a_run_keeps_its_matrices_and_what_was_asked_in_the_end(dataset, tmp_path):
    config = of_logits("sg_mcel").copy_and_resolve_references()
    config.num_seeds = 2
    networks = build.networks(config, dataset)
    fitted = build.fit(config, networks, dataset, workdir=tmp_path)
    with np.load(tmp_path / "similarity.npz") as kept:
        assert kept["class_names"].tolist() == list(dataset.class_names)
        np.testing.assert_allclose(kept["matrix"].sum(axis=1), 1)
    with np.load(tmp_path / "targets.npz") as kept:
        assert kept["seeds"].tolist() == [0, 1]
        for found, made in zip(kept["matrix"], fitted.objectives, strict=True):
            np.testing.assert_array_equal(found, made.loss.keywords["targets"])
    # What is kept is used, not made again.
    matrices.keep(
        tmp_path / "similarity.npz",
        dataset.class_names,
        {},
        matrix=similarity.uniform_similarity(3),
    )
    restored = build.restore(config, dataset, tmp_path)
    asked = restored.objectives[0].loss.keywords["targets"]
    assert asked[0, 1] == asked[0, 2]


def test_matrices_come_from_another_run(dataset, tmp_path):
    config = of_logits("softmax")
    run.train(with_data(config), tmp_path / "base")
    trained = {"run": str(tmp_path / "base")}
    (tmp_path / "base" / "report.html").unlink()
    for name, fields in (
        ("mcel", {"similarity": {"name": "lda", **trained}}),
        ("mcel", {"similarity": {"name": "confusion", **trained}}),
        ("forward_corrected", {"noise_matrix": {"name": "estimated", **trained}}),
    ):
        config = with_data(of_logits(name, **fields))
        build.check(config)
        made = build.family(config, build.dataset(config))
        (matrix,) = made.at({}, 1.0).loss.keywords.values()
        np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-5)


def with_data(config):
    sizes = {"num_classes": 3, "num_examples": 200}
    return complete({**config.to_dict(), "data": {"name": "fake", **sizes}})


def test_another_run_has_to_be_there_until_its_matrix_is_kept(tmp_path):
    config = of_logits("mcel", similarity={"name": "lda", "run": "runs/nowhere"})
    message = r"similarity\.run=runs/nowhere holds no run"
    with pytest.raises(FileNotFoundError, match=message):
        build.check(config, tmp_path)
    (tmp_path / "similarity.npz").touch()
    build.check(config, tmp_path)


@pytest.mark.parametrize("noisy", [True, False])
def test_records_say_which_labels_chose_the_epoch(noisy):
    config = with_data(of_logits("softmax"))
    config.data.swap_rate, config.data.noisy_validation = 0.25, noisy
    data = build.dataset(config)
    fitted = build.fit(config, build.networks(config, data), data)
    (record, *_) = build.evaluate(config, data, fitted)
    assert record.classifier["swap_rate"] == 0.25
    assert record.classifier["validation_labels"] == ("swapped" if noisy else "clean")


def test_classes_left_out_of_training_are_evaluated():
    config = with_data(of_logits("softmax"))
    config.data.left_out = (1,)
    config.evaluation.noise_images = config.evaluation.fooling_images = 0
    data = build.dataset(config)
    assert data.num_classes == 2
    fitted = build.fit(config, build.networks(config, data), data)
    found = list(build.evaluate(config, data, fitted))
    (unknown,) = (
        each
        for each in found
        if isinstance(each, evaluation.Finding) and each.kind == "left_out"
    )
    assert unknown.n == len(data.test.labels) + len(data.left_out.labels)
    assert unknown.parameters == {"classes": [1]}
    assert all(each.classifier["left_out"] == [1] for each in found)


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
    assert records[1].parameters == {
        "name": "fgsm",
        "targeted": False,
        "unit": "pixel",
    }
    everything = len(dataset.test.labels)  # so many are attacked, all are decided
    sizes = {"clean": everything, "noise": 5, "fooling": 3, "hidden_gradient": 4}
    for kind, size in sizes.items():
        of_kind = [f for f in findings if f.kind == kind]
        assert [(f.classifier["seed"], f.n) for f in of_kind] == [(0, size), (1, size)]
