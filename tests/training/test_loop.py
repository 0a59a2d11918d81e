"""Training from start to end, with everything it writes and keeps."""

import functools
import json
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.compilation_cache import compilation_cache
from jax.tree_util import Partial
from small_runs import build, dataset
from tensorboard_events import read_scalars

from robustlabels import data, objective
from robustlabels.training import (
    Diverged,
    Standing,
    fit,
    optimizers,
    restore,
    schedules,
)
from robustlabels.training.replicas import batches

STEPS_PER_EPOCH = 3  # 36 training examples in batches of 16


@pytest.fixture(scope="module")
def train():
    """`fit` on the small data set, with a constant learning rate."""

    def train(
        rate=0.1, *, widths=(6,), norm="none", family=None, data=dataset, **options
    ):
        options = {
            "optimizer": optimizers.sgd,
            "schedule": functools.partial(schedules.constant, rate),
            "batch_size": 16,
            "num_epochs": 3,
            **options,
        }
        model = build(widths=widths, norm=norm)
        return fit(model, family or objective.softmax(), data, **options)

    return train


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "made" / "here"


@pytest.fixture(scope="module")
def fitted(train, workdir):
    """A run that learns for six epochs and unlearns for three; best is in between."""

    def schedule(num_steps):
        assert num_steps == 9 * STEPS_PER_EPOCH
        return lambda step: jnp.where(step < 6 * STEPS_PER_EPOCH, 0.1, -0.1)

    return train(
        num_epochs=9,
        norm="batch",
        schedule=schedule,
        checkpoint_seconds=0.0,
        workdir=workdir,
    )


@pytest.fixture(scope="module")
def lines(fitted, workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def figures_of(classifier, split):
    """Mean loss and error of a classifier, all examples at once."""
    x, y = data.as_float(jnp.asarray(split.images)), jnp.asarray(split.labels)
    wrong = np.argmax(np.asarray(classifier.scores(x)), axis=1) != split.labels
    return float(np.mean(np.asarray(classifier.loss(x, y)))), float(wrong.mean())


def weights(classifier):
    return jax.tree.leaves(classifier)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(
    size=st.integers(1, 60),
    share=st.floats(0, 1),
    seed=st.integers(0, 5),
    epoch=st.integers(1, 5),
)
def test_every_example_counts_once_an_epoch(size, share, seed, epoch):
    batch_size = max(1, round(share * size))
    (order,), (mask,) = batches(size, batch_size, [seed], epoch)
    assert order.shape == mask.shape == (math.ceil(size / batch_size), batch_size)
    np.testing.assert_array_equal(np.sort(order[mask]), np.arange(size))
    filling = order.size - size
    assert mask[:-1].all()
    np.testing.assert_array_equal(
        mask[-1], np.arange(batch_size) < batch_size - filling
    )
    np.testing.assert_array_equal(order[~mask], order.ravel()[:filling])


def test_every_epoch_and_every_seed_has_an_order_of_its_own():
    orders = {
        tuple(order.ravel())
        for epoch in range(1, 4)
        for order in batches(50, 50, range(3), epoch)[0]
    }
    assert len(orders) == 9


def test_it_learns_and_keeps_the_first_of_the_best(fitted, lines):
    assert figures_of(fitted.classifier, dataset.test)[1] <= 0.1
    standings = [(r["validation_error"], r["validation_loss"]) for r in lines]
    assert fitted.standing == Standing(
        9, standings.index(min(standings)) + 1, *min(standings)
    )
    assert 1 < fitted.standing.best_epoch < 9
    assert standings[-1] > min(standings)


def test_the_classifier_is_the_one_that_was_validated(fitted):
    loss, error = figures_of(fitted.classifier, dataset.validation)
    assert error == pytest.approx(fitted.standing.validation_error, abs=1e-7)
    assert loss == pytest.approx(fitted.standing.validation_loss, rel=1e-5)


def test_metrics_are_a_line_an_epoch(lines):
    assert [line["step"] for line in lines] == [3, 6, 9, 12, 15, 18, 21, 24, 27]
    assert [line["epoch"] for line in lines] == list(range(1, 10))
    rates = [line["learning_rate"] for line in lines]
    np.testing.assert_allclose(rates, [0.1] * 6 + [-0.1] * 3)
    for line in lines:
        assert list(line) == [
            "step",
            "seed",
            "epoch",
            "train_loss",
            "train_accuracy",
            "validation_loss",
            "validation_error",
            "learning_rate",
            "examples_per_second",
        ]
        assert line["examples_per_second"] > 0
    assert lines[5]["train_loss"] < 0.5 * lines[0]["train_loss"]
    assert lines[5]["train_accuracy"] > lines[0]["train_accuracy"]


def test_tensorboard_shows_the_same(lines, fitted, workdir):
    shown = read_scalars(workdir)
    assert shown.keys() == lines[0].keys() - {"step"}
    for name, points in shown.items():
        assert [step for step, _ in points] == [line["step"] for line in lines]
        expected = [line[name] for line in lines]
        np.testing.assert_allclose([v for _, v in points], expected, rtol=1e-6)


def test_a_restored_classifier_is_the_same_to_the_bit(fitted, workdir):
    restored = restore(build(norm="batch", seed=9), objective.softmax(), workdir)
    assert restored.standing == fitted.standing
    chex.assert_trees_all_equal(
        weights(restored.classifier), weights(fitted.classifier)
    )
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 4, 4, 1)), jnp.float32)
    np.testing.assert_array_equal(
        restored.classifier.scores(x), fitted.classifier.scores(x)
    )


def test_the_newest_two_checkpoints_stay(fitted, workdir):
    folders = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    assert folders == [8 * STEPS_PER_EPOCH, 9 * STEPS_PER_EPOCH]


def test_the_last_state_is_kept_as_it_was(train, workdir, fitted, tmp_path):
    """The buffers that a checkpoint in the making reads are donated meanwhile."""
    import orbax.checkpoint as ocp

    again = train(
        num_epochs=9,
        norm="batch",
        schedule=lambda n: lambda step: jnp.where(step < 18, 0.1, -0.1),
        workdir=tmp_path,
    )
    chex.assert_trees_all_equal(weights(again.classifier), weights(fitted.classifier))
    stored = []
    for folder in (workdir, tmp_path):
        with ocp.CheckpointManager(folder / "checkpoints") as manager:
            args = ocp.args.Composite(last=ocp.args.StandardRestore())
            stored.append(manager.restore(27, args=args)["last"])
    np.testing.assert_array_equal(stored[0]["step"], [27])
    chex.assert_trees_all_equal(*stored)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["0", "27"]


def test_another_model_is_refused_with_what_differs(fitted, workdir):
    for other, message in (
        (
            build(widths=(7,), norm="batch"),
            r"linear.kernel.* is \(1, 16, 6\) there and",
        ),
        (build(widths=(6, 6), norm="batch"), r"dense\.1.* is missing there"),
        (build(), r"linear.bias.* is missing there and \(1, 6\) here"),
    ):
        with pytest.raises(
            ValueError, match=f"another model: .*{message}.*settings of"
        ):
            restore(other, objective.softmax(), workdir)


def test_a_run_without_checkpoints_is_named_and_nothing_made(tmp_path):
    folder = tmp_path / "typo"
    with pytest.raises(
        FileNotFoundError, match=r"typo/checkpoints holds no .*train fir"
    ):
        restore(build(), objective.softmax(), folder)
    assert not folder.exists()


def test_a_folder_of_another_training_is_refused_and_stays(fitted, workdir, train):
    for option, message in (
        ({}, "num_epochs=9, and num_epochs=3 would be another one: choose another"),
        ({"num_epochs": 9, "seed": 1}, r"seeds=\[0\], and seeds=\[1\]"),
        ({"num_epochs": 9, "batch_size": 9}, "batch_size=16, and batch_size=9"),
    ):
        with pytest.raises(ValueError, match=message):
            train(norm="batch", workdir=workdir, **option)
    restored = restore(build(norm="batch"), objective.softmax(), workdir)
    assert restored.standing == fitted.standing


CHANGED = {"input_noise": 0.2, "crop_padding": 1, "flip": True, "cutout": 2}


@pytest.fixture(scope="module")
def plain(train):
    return train(**CHANGED)


def test_the_same_run_gives_the_same_bits_and_another_seed_others(train, plain):
    again = train(**CHANGED)
    assert again.standing == plain.standing
    chex.assert_trees_all_equal(weights(again.classifier), weights(plain.classifier))
    other = train(**CHANGED, seed=1)
    assert other.standing.validation_loss != plain.standing.validation_loss


def test_short_stretches_give_the_same_bits(train, plain):
    short = train(**CHANGED, stretch=2)
    assert short.standing == plain.standing
    chex.assert_trees_all_equal(weights(short.classifier), weights(plain.classifier))


def test_noise_is_for_training_only_and_without_a_folder_nothing_is_written(
    train, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    noisy = train(0.0, input_noise=3.0, num_epochs=1)
    loss, error = figures_of(noisy.classifier, dataset.validation)
    assert noisy.standing.validation_loss == pytest.approx(loss, rel=1e-5)
    assert noisy.standing.validation_error == pytest.approx(error, abs=1e-7)
    assert list(tmp_path.iterdir()) == []


def test_a_batch_larger_than_the_split_is_the_split(train):
    large, exact = (train(batch_size=size, num_epochs=2) for size in (1000, 36))
    assert large.standing == exact.standing
    chex.assert_trees_all_equal(weights(large.classifier), weights(exact.classifier))


def test_without_learning_figures_are_exact_means(train, tmp_path):
    """Filled batches count no example twice, neither in training nor in validation."""
    still = train(0.0, num_epochs=1, eval_batch_size=5, workdir=tmp_path)
    (line,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    loss, error = figures_of(still.classifier, dataset.train)
    assert line["train_loss"] == pytest.approx(loss, rel=1e-5)
    assert line["train_accuracy"] == pytest.approx(1 - error, rel=1e-6)
    loss, error = figures_of(still.classifier, dataset.validation)
    assert line["validation_loss"] == pytest.approx(loss, rel=1e-5)
    assert line["validation_error"] == pytest.approx(error, abs=1e-7)


def test_augmentation_is_for_training_only(train):
    black = train(0.0, cutout=1000, num_epochs=1)
    still = train(0.0, num_epochs=1)
    assert black.standing == still.standing


def test_an_epoch_of_several_passes_visits_each_example_so_often(train, tmp_path):
    train(0.0, num_epochs=2, passes=3, workdir=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    steps = math.ceil(3 * 36 / 16)
    assert [json.loads(line)["step"] for line in lines] == [steps, 2 * steps]
    (order,), (counts,) = batches(36, 16, [0], 2, 3)
    passes = order[counts].reshape(3, 36)
    assert all(sorted(each) == list(range(36)) for each in passes)
    (before,), (counts,) = batches(36, 16, [0], 1, 3)
    orders = {tuple(each) for each in before[counts].reshape(3, 36)}
    assert len(orders | {tuple(each) for each in passes}) == 6


def test_passes_of_a_fraction_make_equal_steps(train, tmp_path):
    part = dataset._replace(train_fraction=1 / 3)
    train(0.0, num_epochs=1, passes=0, data=part, workdir=tmp_path)
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["step"] == math.ceil(3 * 36 / 16)


def test_patience_stops_and_the_first_of_equals_is_best(train, tmp_path):
    still = train(0.0, num_epochs=9, patience=2, workdir=tmp_path)
    assert still.standing[:2] == (2, 0)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    restored = restore(build(), objective.softmax(), tmp_path)
    assert restored.standing == still.standing


def test_the_average_is_what_is_validated_and_kept(train, plain):
    graphdef, state = nnx.split(build())
    first = nnx.merge(graphdef, state)
    x, y = dataset.validation
    outputs, _ = first(data.as_float(jnp.asarray(x)))
    before = float(
        optax.losses.softmax_cross_entropy_with_integer_labels(outputs, y).mean()
    )
    frozen = train(average_decay=0.999999)
    assert frozen.standing.validation_loss == pytest.approx(before, rel=1e-3)
    assert frozen.standing.validation_loss != before
    assert plain.standing.validation_loss < 0.9 * before
    loss, _ = figures_of(frozen.classifier, dataset.validation)
    assert frozen.standing.validation_loss == pytest.approx(loss, rel=1e-5)


def loss_that_breaks(first, last, progress, outputs, labels):
    """NaN from one progress to another, a cross-entropy before and after."""
    fine = -jnp.take_along_axis(jax.nn.log_softmax(outputs), labels[:, None], 1)[:, 0]
    broken = (progress > first) & (progress < last)
    return jnp.where(broken, jnp.nan, fine)


def family_that_breaks(step, num_steps):
    """Its loss is NaN from a step on, up to but without the end of training."""
    softmax = objective.softmax()
    span = tuple((s - 0.5) / (num_steps - 1) for s in (step, num_steps - 1))

    def at(params, progress):
        loss = Partial(loss_that_breaks, *span, progress)
        return softmax.at(params, progress)._replace(loss=loss)

    return softmax._replace(at=at)


def test_a_loss_that_is_no_number_stops_at_its_step(train, tmp_path):
    """Step 7 is the last of the second epoch: the second of its second stretch."""
    family = family_that_breaks(7, 6 * 4)
    with pytest.raises(Diverged, match=r"loss is nan at step 7, .*rate is 0\.1\. "):
        train(
            family=family,
            num_epochs=6,
            batch_size=9,
            stretch=2,
            checkpoint_seconds=0.0,
            workdir=tmp_path,
        )
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    restored = restore(build(), objective.softmax(), tmp_path)
    assert restored.standing.epoch == 1
    assert all(np.isfinite(leaf).all() for leaf in weights(restored.classifier))


def test_a_learning_rate_that_is_too_large_is_named(train, tmp_path):
    with pytest.raises(
        Diverged, match=r"loss is (nan|inf) at step 1, .* rate is 1e\+30"
    ):
        train(1e30, widths=(6, 6), checkpoint_seconds=0.0, workdir=tmp_path)
    restored = restore(build(widths=(6, 6)), objective.softmax(), tmp_path)
    loss, error = figures_of(restored.classifier, dataset.validation)
    assert restored.standing == Standing(
        0, 0, pytest.approx(error, abs=1e-7), pytest.approx(loss, rel=1e-5)
    )
    assert all(np.isfinite(leaf).all() for leaf in weights(restored.classifier))


def test_a_model_that_breaks_in_the_last_step_of_an_epoch_is_not_kept(train, tmp_path):
    with pytest.raises(
        Diverged, match=r"validation loss is (nan|inf) at step 0, where"
    ):
        train(
            1e30,
            widths=(6, 6),
            batch_size=36,
            checkpoint_seconds=0.0,
            workdir=tmp_path,
        )
    restored = restore(build(widths=(6, 6)), objective.softmax(), tmp_path)
    assert all(np.isfinite(leaf).all() for leaf in weights(restored.classifier))


def test_an_empty_validation_split_is_refused():
    dataset = data.load("fake", image_shape=(4, 4, 1), validation_fraction=0.0)
    with pytest.raises(
        ValueError, match=r"split is empty.*validation_fraction above 0"
    ):
        fit(
            build(),
            objective.softmax(),
            dataset,
            optimizer=optimizers.sgd,
            schedule=functools.partial(schedules.constant, 0.1),
        )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"num_epochs": 0}, "num_epochs=0 is not a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size=0 is not a whole number of at least 1"),
        ({"stretch": 0}, "stretch=0 is not a whole number of at least 1"),
        ({"eval_batch_size": -1}, "eval_batch_size=-1 is not a whole number"),
        ({"patience": -1}, "patience=-1 is not a whole number of at least 0"),
        ({"input_noise": -0.1}, r"input_noise=-0.1 is outside \[0, inf\)"),
        ({"input_noise": math.nan}, "input_noise=nan is outside"),
        ({"average_decay": 1.0}, "average_decay=1.0 is outside .* 0.999 is usual"),
        ({"average_decay": -0.1}, "average_decay=-0.1 is outside"),
        ({"checkpoint_seconds": -1.0}, "checkpoint_seconds=-1.0 is outside"),
    ],
)
def test_bad_options_are_named_before_anything_is_written(
    train, option, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        train(**option, workdir=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def missed(tmp_path):
    """Programs that JAX did not find among those that were compiled before."""
    events = []

    def listen(event, **kwargs):
        del kwargs
        if event == "/jax/compilation_cache/cache_misses":
            events.append(event)

    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = {name: getattr(jax.config, name) for name in names}
    now = dict(zip(names, (str(tmp_path), 0.0), strict=True))
    jax.monitoring.register_event_listener(listen)
    for setting in (now, before):
        for name, value in setting.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        if setting is now:
            yield events
    jax.monitoring.unregister_event_listener(listen)


def test_another_learning_rate_is_no_other_program(train, missed):
    train(schedule=functools.partial(schedules.cosine, 0.1))
    assert missed
    missed.clear()
    train(schedule=functools.partial(schedules.cosine, 0.05))
    assert not missed
