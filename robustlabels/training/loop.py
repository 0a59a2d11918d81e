"""Training from start to end: epochs, validation, the best model, checkpoints."""

import math
import operator
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from robustlabels import _validate, parallel
from robustlabels._progress import Progress
from robustlabels._stopping import Stop, Stopped, never
from robustlabels.data import Augmentation, Dataset
from robustlabels.objective import Family, bind
from robustlabels.training import replicas
from robustlabels.training.checkpoints import Checkpoints
from robustlabels.training.epochs import Epochs
from robustlabels.training.folder import RunFolder
from robustlabels.training.optimizers import apart
from robustlabels.training.snapshots import Snapshots, moments
from robustlabels.training.standing import Fitted, Standing
from robustlabels.training.step import Step, make_step, predictor

__all__ = ["check_options", "fit", "restore"]


def fit(
    model: nnx.Module | Sequence[nnx.Module],
    family: Family,
    dataset: Dataset,
    *,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation],
    schedule: Callable[[int], optax.Schedule],
    num_epochs: int = 100,
    batch_size: int = 100,
    passes: int = 1,
    crop_padding: int = 0,
    flip: bool = False,
    cutout: int = 0,
    input_noise: float = 0.0,
    average_decay: float = 0.0,
    objective_learning_rate: float = 0.01,
    patience: int = 0,
    stretch: int = 500,
    eval_batch_size: int = 1000,
    checkpoint_seconds: float = 60.0,
    replicas_at_once: int = 0,
    snapshots: int = 0,
    seed: int = 0,
    workdir: str | pathlib.Path | None = None,
    mesh: Mesh | None = None,
    stop: Stop = never,
) -> Fitted:
    """Trains a model on a data set and keeps what was best on its validation split.

    The data live on the device, or above 2 GiB come there some steps at a time, and
    whole stretches of steps run in one program. Each epoch visits every example once,
    or as many times as `passes` says, in an order of its own; the last batch is filled
    up with examples that do not count (but do enter batch statistics). Best is the
    smallest validation error, then the smallest loss under the objective of the end of
    training, so that epochs compare; the untrained model is epoch 0.

    Several models are replicas, trained in one program: replica r has the seed `seed` +
    r, an order, a best epoch and an end of its own, as if it were trained alone.

    A folder with checkpoints of the same training goes on from the newest, and ends as
    if it had never been interrupted.

    Args:
      model: images to (outputs, activations), such as `models.Network`; or several that
        differ in their weights alone.
      family: the loss and the decision along training.
      dataset: images and class ids in three splits.
      optimizer: makes an optimiser of a learning rate schedule.
      schedule: makes a learning rate schedule of the number of steps.
      num_epochs: at least 1.
      batch_size: examples a step, at least 1; at most the whole split is used.
      passes: how many times an epoch visits each example; 0 is as many as make an epoch
        of a fraction of the data as long as one of all: equal steps, not equal epochs.
      crop_padding: of random crops, see `data.Augmentation`; 0 crops nothing.
      flip: whether images are flipped at random.
      cutout: side in pixels of what is blackened at random; 0 is nothing.
      input_noise: standard deviation of Gaussian noise on training images, in pixels.
      average_decay: of an exponential moving average of the weights, in [0, 1), which
        then is what is validated and kept; 0 keeps none.
      objective_learning_rate: constant rate of the same optimiser for what the
        objective learns beside the model, if it does; weight decay spares that.
      patience: stop after so many epochs without a better one; 0 never stops.
      stretch: most steps in one program, between two signs of progress.
      eval_batch_size: examples a step of validation.
      checkpoint_seconds: least time between two checkpoints but for the last one.
      replicas_at_once: how many replicas are vmapped; 0 is all of them, or, on a CPU,
        one after another, for vmapped convolutions are several times slower there.
      snapshots: at how many moments of the training what the first replica makes of
        some validation images, its "embedding", is kept in the folder, to be looked
        at; 0 is never.
      seed: of batch order, noise, and what the objective learns.
      workdir: folder for metrics and checkpoints; None writes nothing.
      mesh: from `parallel.make_mesh`, every batch is split over it; None is all
        devices.
      stop: asked after each stretch whether to end early.

    Raises:
      ValueError: for a value out of range, models that differ in more than weights, or
        a folder of another training.
      Diverged: when a training or validation loss is not finite, naming step and
        learning rate; the last good checkpoint stays.
      Stopped: if `stop` says so, once a checkpoint is written.
      OSError: if a checkpoint cannot be written; the one before stays.

    Guarantees: the same arguments, machine and number of devices give the same numbers,
    whether training was interrupted or not; a replica's are those of its own training,
    to the bit where replicas run one after another.
    """
    check_options(
        num_epochs=num_epochs,
        batch_size=batch_size,
        passes=passes,
        crop_padding=crop_padding,
        flip=flip,
        cutout=cutout,
        input_noise=input_noise,
        average_decay=average_decay,
        objective_learning_rate=objective_learning_rate,
        patience=patience,
        stretch=stretch,
        eval_batch_size=eval_batch_size,
        checkpoint_seconds=checkpoint_seconds,
        replicas_at_once=replicas_at_once,
        snapshots=snapshots,
    )
    if not len(dataset.validation.labels):
        raise ValueError(
            "the validation split is empty, and the best epoch is chosen on it: set "
            "validation_fraction above 0."
        )
    models = _models(model)
    seeds = range(seed, seed + len(models))
    size = len(dataset.train.labels)
    batch_size = min(batch_size, size)
    passes = passes or round(1 / dataset.train_fraction)
    steps_per_epoch = math.ceil(size * passes / batch_size)
    num_steps = num_epochs * steps_per_epoch
    learning_rate = schedule(num_steps)
    learns = bool(family.init(jax.random.key(seed)))

    def transformation(rate: optax.Schedule) -> optax.GradientTransformation:
        if not learns:
            return optimizer(rate)
        own = optimizer(optax.constant_schedule(objective_learning_rate))
        return apart(optimizer(rate), own)

    mesh = mesh or parallel.make_mesh()
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
    graphdef, state = replicas.stacked(
        models,
        family,
        transformation(learning_rate),
        keys,
        average_decay=average_decay,
    )
    state = parallel.replicate(state, mesh)
    augmentation = Augmentation(crop_padding, flip, cutout)

    def step_by(rates: Float[Array, " steps"]) -> Step:
        return make_step(
            graphdef,
            family,
            transformation(lambda count: rates[count]),
            num_steps=num_steps,
            augmentation=augmentation,
            input_noise=input_noise,
            average_decay=average_decay,
        )

    programs = replicas.programs(
        graphdef,
        family,
        step_by,
        jnp.asarray(jax.vmap(learning_rate)(jnp.arange(num_steps))),
        dataset,
        eval_batch_size=eval_batch_size,
        at_once=replicas_at_once,
        mesh=mesh,
    )
    epochs = Epochs(
        programs=programs,
        seeds=seeds,
        keys=keys,
        num_examples=size,
        passes=passes,
        batch_size=batch_size,
        num_epochs=num_epochs,
        stretch=stretch,
        patience=patience,
        learning_rate=learning_rate,
        learned=family.learned,
    )
    settings = {
        "num_epochs": num_epochs,
        "batch_size": batch_size,
        "passes": passes,
        "augmentation": list(augmentation),
        "input_noise": input_noise,
        "average_decay": average_decay,
        "objective_learning_rate": objective_learning_rate,
        "patience": patience,
        "seeds": list(seeds),
        "examples": size,
    }
    kept = Snapshots(
        workdir, moments(snapshots, num_epochs), graphdef, dataset.validation
    )
    with RunFolder(workdir, settings, seeds) as folder:
        start = folder.open(state, programs.candidate(state))
        if start is None:
            start = epochs.start(state)
            kept.take(0, programs.candidate(start.state))
            folder.save(start)
        progress = folder.enter_context(
            Progress(total=num_steps, what="training", unit="steps", done=start.step)
        )
        position, saved = start, time.monotonic()
        for position in epochs.onwards(start, folder.write, progress.advance):
            epoch, begun = divmod(position.step, steps_per_epoch)
            if not begun:
                kept.take(epoch, programs.candidate(position.state))
            over = epochs.over(position)
            asked = not over and stop()
            if over or asked or time.monotonic() - saved >= checkpoint_seconds:
                folder.save(position, wait=asked)
                saved = time.monotonic()
            if asked:
                raise Stopped(f"training stopped at step {position.step}/{num_steps}")
    return _fitted(graphdef, family, position.best, position.standings)


def restore(
    model: nnx.Module | Sequence[nnx.Module],
    family: Family,
    workdir: str | pathlib.Path,
) -> Fitted:
    """The best models of the newest checkpoint of a run.

    Args:
      model: of the same structure as the trained one, or as many as there are replicas;
        their weights are not used.
      family: of the run.
      workdir: the run's folder.

    Raises:
      FileNotFoundError: if it holds no checkpoint.
      ValueError: if the checkpoint is of another model.
    """
    parts = [nnx.split(each, nnx.Param, ...) for each in _models(model)]
    (graphdef, *_), *_ = parts
    learned = family.init(jax.random.key(0))
    like = replicas.stack([(*part[1:], learned) for part in parts])
    with Checkpoints(pathlib.Path(workdir) / "checkpoints") as checkpoints:
        best, standing = checkpoints.best(like)
    standings = tuple(Standing(**entry) for entry in standing["replicas"])
    return _fitted(graphdef, family, best, standings)


def _models(model: nnx.Module | Sequence[nnx.Module]) -> list[nnx.Module]:
    models = [model] if isinstance(model, nnx.Module) else list(model)
    _validate.count(**{"the number of models": len(models)})
    return models


def _fitted(
    graphdef: nnx.GraphDef, family: Family, best: Any, standings: tuple[Standing, ...]
) -> Fitted:
    models, objectives, classifiers = [], [], []
    for replica in range(len(standings)):
        parts = jax.tree.map(operator.itemgetter(replica), best)
        params, statistics, learned = parts
        models.append(nnx.merge(graphdef, params, statistics, copy=True))
        objectives.append(family.at(learned, 1.0))
        predict = predictor(graphdef, params, statistics)
        classifiers.append(bind(objectives[-1], predict))
    return Fitted(tuple(models), tuple(objectives), tuple(classifiers), standings)


def check_options(
    *,
    num_epochs: int,
    batch_size: int,
    passes: int,
    crop_padding: int,
    flip: bool,
    cutout: int,
    input_noise: float,
    average_decay: float,
    objective_learning_rate: float,
    patience: int,
    stretch: int,
    eval_batch_size: int,
    checkpoint_seconds: float,
    replicas_at_once: int,
    snapshots: int,
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
    _validate.count(
        minimum=0, patience=patience, passes=passes, replicas_at_once=replicas_at_once
    )
    moments(snapshots, num_epochs)
    Augmentation(crop_padding, flip, cutout).check()
    _validate.in_range(0.0, math.inf, input_noise=input_noise, fix="The paper: 0.5.")
    _validate.in_range(
        0.0, 1.0 - 1e-9, average_decay=average_decay, fix="0.999 is usual; 0 is none."
    )
    _validate.in_range(
        0.0,
        math.inf,
        objective_learning_rate=objective_learning_rate,
        fix="0.01 is usual; 0 leaves what the objective learns as it starts.",
    )
    _validate.in_range(
        0.0, math.inf, checkpoint_seconds=checkpoint_seconds, fix="60 is usual."
    )
