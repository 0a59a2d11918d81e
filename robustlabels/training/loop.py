"""Training from start to end: epochs, validation, the best model, checkpoints."""

import contextlib
import functools
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Bool, Int

from robustlabels import _validate
from robustlabels._progress import Progress
from robustlabels.data import Dataset, Split, as_float, filled_batches
from robustlabels.objective import Classifier, Family, bind
from robustlabels.training.checkpoints import Checkpoints
from robustlabels.training.metrics import MetricsWriter
from robustlabels.training.step import (
    TrainState,
    evaluated,
    init_state,
    make_step,
    masked_mean,
    predictor,
    run_stretch,
)

__all__ = ["Diverged", "Fitted", "Standing", "check_options", "fit", "restore"]


class Diverged(RuntimeError):
    """The training or the validation loss is no number any more."""


class Standing(NamedTuple):
    """Where training stands and what was best so far; JSON can hold it."""

    epoch: int
    best_epoch: int
    validation_error: float
    validation_loss: float


class Fitted(NamedTuple):
    """What training found best on validation.

    Attributes:
      classifier: the best model under the objective of the end of training.
      standing: epochs taken, the best of them, and its validation figures.
    """

    classifier: Classifier
    standing: Standing


def fit(
    model: nnx.Module,
    family: Family,
    dataset: Dataset,
    *,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    schedule: Callable[[int], optax.Schedule],
    num_epochs: int = 100,
    batch_size: int = 100,
    input_noise: float = 0.0,
    average_decay: float = 0.0,
    patience: int = 0,
    stretch: int = 500,
    eval_batch_size: int = 1000,
    checkpoint_seconds: float = 60.0,
    seed: int = 0,
    workdir: str | pathlib.Path | None = None,
) -> Fitted:
    """Trains a model on a data set and keeps what was best on its validation split.

    The data live on the device and whole stretches of steps run in one program. Each
    epoch visits every example once, in an order of its own; the last batch is filled
    up with examples that do not count (but do enter batch statistics). Best is the
    smallest validation error, then the smallest loss under the objective of the end of
    training, so that epochs compare; the untrained model is epoch 0.

    Args:
      model: images to (outputs, activations), such as `models.Network`.
      family: the loss and the decision along training.
      dataset: images and class ids in three splits.
      optimizer: makes an optimiser of a learning rate schedule.
      schedule: makes a learning rate schedule of the number of steps.
      num_epochs: at least 1.
      batch_size: examples a step, at least 1; at most the whole split is used.
      input_noise: standard deviation of Gaussian noise on training images, in pixels.
      average_decay: of an exponential moving average of the weights, in [0, 1), which
        then is what is validated and kept; 0 keeps none.
      patience: stop after so many epochs without a better one; 0 never stops.
      stretch: most steps in one program, between two signs of progress.
      eval_batch_size: examples a step of validation.
      checkpoint_seconds: least time between two checkpoints but for the last one.
      seed: of batch order, noise, and what the objective learns.
      workdir: folder for metrics and checkpoints; None writes nothing.

    Raises:
      ValueError: for a value out of range.
      Diverged: when a training or validation loss is not finite, naming step and
        learning rate; the last good checkpoint stays.

    Guarantees: the same arguments and machine give the same numbers.
    """
    check_options(
        num_epochs=num_epochs,
        batch_size=batch_size,
        input_noise=input_noise,
        average_decay=average_decay,
        patience=patience,
        stretch=stretch,
        eval_batch_size=eval_batch_size,
        checkpoint_seconds=checkpoint_seconds,
    )
    if not len(dataset.validation.labels):
        raise ValueError(
            "the validation split is empty, and the best epoch is chosen on it: set "
            "validation_fraction above 0."
        )
    batch_size = min(batch_size, len(dataset.train.labels))
    steps_per_epoch = math.ceil(len(dataset.train.labels) / batch_size)
    num_steps = num_epochs * steps_per_epoch
    learning_rate = schedule(num_steps)
    transformation = optimizer(learning_rate)
    key = jax.random.key(seed)
    graphdef, state = init_state(
        model, family, transformation, key, average_decay=average_decay
    )
    step = make_step(
        graphdef,
        family,
        transformation,
        num_steps=num_steps,
        input_noise=input_noise,
        average_decay=average_decay,
    )
    run = jax.jit(functools.partial(run_stretch, step), donate_argnums=0)
    images, labels = jax.device_put((dataset.train.images, dataset.train.labels))
    validate = _validator(graphdef, family, dataset.validation, eval_batch_size)

    best = jax.tree.map(jnp.copy, (*evaluated(state), state.params["objective"]))
    loss, error = map(float, validate(*best))
    standing = Standing(0, 0, error, loss)
    with contextlib.ExitStack() as stack:
        progress = Progress(total=num_steps, what="training", unit="steps")
        stack.enter_context(progress)
        write, save = _writers(stack, workdir)
        save(state, best, standing)
        saved = time.monotonic()
        for epoch in range(1, num_epochs + 1):
            began, losses, accuracies = time.monotonic(), [], []
            order, mask = _batches(len(labels), batch_size, (seed, epoch))
            for start in range(0, steps_per_epoch, stretch):
                part = slice(start, start + stretch)
                state, metrics = run(
                    state, images, labels, order[part], mask[part], key
                )
                losses.append(np.asarray(metrics.loss))
                accuracies.append(np.asarray(metrics.accuracy))
                first = (epoch - 1) * steps_per_epoch + start
                _stop_if_diverged(losses[-1], first, learning_rate)
                progress.advance(
                    len(losses[-1]), epoch=str(epoch), loss=float(losses[-1][-1])
                )
            candidate = (*evaluated(state), state.params["objective"])
            loss, error = map(float, validate(*candidate))
            last = epoch * steps_per_epoch - 1
            _stop_if_diverged(np.array([loss]), last, learning_rate, "validation loss")
            better = (error, loss) < standing[2:]
            standing = standing._replace(epoch=epoch)
            if better:
                best = jax.tree.map(jnp.copy, candidate)
                standing = Standing(epoch, epoch, error, loss)
            elapsed = time.monotonic() - began
            write(
                last + 1,
                {
                    "epoch": epoch,
                    "train_loss": _mean(losses, mask),
                    "train_accuracy": _mean(accuracies, mask),
                    "validation_loss": loss,
                    "validation_error": error,
                    "learning_rate": _rate(learning_rate, last),
                    "examples_per_second": len(labels) / elapsed,
                },
            )
            stop = patience and epoch - standing.best_epoch >= patience
            due = time.monotonic() - saved >= checkpoint_seconds
            if due or stop or epoch == num_epochs:
                save(state, best, standing)
                saved = time.monotonic()
            if stop:
                break
    return Fitted(_classifier(graphdef, family, best), standing)


def restore(model: nnx.Module, family: Family, workdir: str | pathlib.Path) -> Fitted:
    """The best model of the newest checkpoint of a run.

    Args:
      model: of the same structure as the trained one; its weights are not used.
      family: as in training.
      workdir: the run's folder.

    Raises:
      FileNotFoundError: if the run has no checkpoint.
      ValueError: if the checkpoint is of another model.
    """
    graphdef, params, statistics = nnx.split(model, nnx.Param, ...)
    like = (params, statistics, family.init(jax.random.key(0)))
    with Checkpoints(pathlib.Path(workdir) / "checkpoints") as checkpoints:
        best, standing = checkpoints.best(like)
    return Fitted(_classifier(graphdef, family, best), Standing(**standing))


def _classifier(graphdef: nnx.GraphDef, family: Family, best: Any) -> Classifier:
    params, statistics, learned = best
    predict = predictor(graphdef, params, statistics)
    return bind(family.at(learned, 1.0), predict)


def check_options(
    *,
    num_epochs: int,
    batch_size: int,
    input_noise: float,
    average_decay: float,
    patience: int,
    stretch: int,
    eval_batch_size: int,
    checkpoint_seconds: float,
) -> None:
    """Raises for an option of `fit` that is out of range.

    Raises:
      ValueError: naming the value, the range and the fix.
    """
    _validate.count(
        num_epochs=num_epochs,
        batch_size=batch_size,
        stretch=stretch,
        eval_batch_size=eval_batch_size,
    )
    _validate.count(minimum=0, patience=patience)
    _validate.in_range(0.0, math.inf, input_noise=input_noise, fix="The paper: 0.5.")
    _validate.in_range(
        0.0, 1.0 - 1e-9, average_decay=average_decay, fix="0.999 is usual; 0 is none."
    )
    _validate.in_range(
        0.0, math.inf, checkpoint_seconds=checkpoint_seconds, fix="60 is usual."
    )


def _batches(
    size: int, batch_size: int, seed: tuple[int, int]
) -> tuple[Int[np.ndarray, "steps batch"], Bool[np.ndarray, "steps batch"]]:
    """An epoch's order in batches, and which entries count."""
    order = np.random.default_rng(seed).permutation(size).astype(np.int32)
    return filled_batches(order, batch_size)


def _mean(per_step: list[np.ndarray], mask: Bool[np.ndarray, "steps batch"]) -> float:
    """Mean over examples of means over batches."""
    return float(np.average(np.concatenate(per_step), weights=mask.sum(axis=1)))


def _rate(schedule: optax.Schedule, step: int) -> float:
    return float(np.asarray(schedule(step)))


def _stop_if_diverged(
    losses: np.ndarray, first: int, schedule: optax.Schedule, what: str = "loss"
) -> None:
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        step = first + int(bad[0])
        raise Diverged(
            f"training diverged: the {what} is {losses[bad[0]]} at step {step}, where "
            f"the learning rate is {_rate(schedule, step):.3g}. Use a smaller one or a "
            "warm-up; checkpoints of a good model were kept."
        )


def _validator(
    graphdef: nnx.GraphDef, family: Family, split: Split, batch_size: int
) -> Callable[[Any, Any, Any], tuple[jax.Array, jax.Array]]:
    """(params, statistics, learned) -> mean loss and error on a split, in one call."""
    index, mask = filled_batches(np.arange(len(split.labels)), batch_size)
    images, labels = jax.device_put((split.images[index], split.labels[index]))

    @jax.jit
    def validate(params, statistics, learned):
        predict = predictor(graphdef, params, statistics)
        objective = family.at(learned, 1.0)

        def figures(batch):
            images, labels = batch
            outputs = predict(as_float(images))
            wrong = jnp.argmax(objective.scores(outputs), axis=-1) != labels
            return objective.loss(outputs, labels), wrong

        loss, wrong = jax.lax.map(figures, (images, labels))
        flat = jnp.asarray(mask.reshape(-1))
        return masked_mean(loss.reshape(-1), flat), masked_mean(wrong.reshape(-1), flat)

    return validate


def _writers(
    stack: contextlib.ExitStack, workdir: str | pathlib.Path | None
) -> tuple[Callable, Callable]:
    """Functions that write metrics and checkpoints, or nothing without a folder."""
    if workdir is None:
        return (lambda step, figures: None), (lambda state, best, standing: None)
    writer = stack.enter_context(MetricsWriter(workdir))
    folder = pathlib.Path(workdir) / "checkpoints"
    checkpoints = stack.enter_context(Checkpoints(folder))

    def save(state: TrainState, best: Any, standing: Standing) -> None:
        checkpoints.save(int(state.step), state, best, standing._asdict())

    return writer.write, save
