"""One training step, and whole stretches of them in one program."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Array, Bool, Float, Int, Key

from robustlabels import parallel
from robustlabels.data import Augmentation, as_float, augment
from robustlabels.objective import Family

__all__ = ["Batch", "Metrics", "TrainState", "init_state", "make_step", "run_stretch"]


class TrainState(NamedTuple):
    """All that changes while training.

    Attributes:
      step: how many steps were taken.
      params: {"model": ..., "objective": ...}, what is learned.
      statistics: the model's other variables: batch statistics and constants.
      optimizer: the state of the optimiser.
      average: exponential moving average of the model's params and statistics; the
        same as they are where none is kept.
    """

    step: Int[Array, ""]
    params: Any
    statistics: Any
    optimizer: Any
    average: Any


class Batch(NamedTuple):
    """Examples, and which of them count: the others only fill up the batch."""

    images: Array
    labels: Int[Array, " batch"]
    mask: Bool[Array, " batch"]


class Metrics(NamedTuple):
    """Means over the examples of a batch that count."""

    loss: Float[Array, ""]
    accuracy: Float[Array, ""]


_AS_THEY_ARE = Augmentation()

Step = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Metrics]]


def masked_mean(
    values: Float[Array, " batch"] | Bool[Array, " batch"], mask: Bool[Array, " batch"]
) -> Float[Array, ""]:
    """Mean of the values that count.

    >>> print(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    return jnp.sum(jnp.where(mask, values, 0.0)) / jnp.sum(mask)


def predict(
    graphdef: nnx.GraphDef, params: Any, statistics: Any, x: Float[Array, "batch ..."]
) -> Array:
    """Outputs of a model that was split into its three parts, as in evaluation.

    `Partial(predict, graphdef, params, statistics)` is a function of images and a
    pytree of the weights at once: what `objective.bind` wants.
    """
    outputs, _ = nnx.merge(graphdef, params, statistics, copy=True)(x)
    return outputs


def init_state(
    model: nnx.Module,
    family: Family,
    optimizer: optax.GradientTransformation,
    key: Key[Array, ""],
    *,
    average_decay: float = 0.0,
) -> tuple[nnx.GraphDef, TrainState]:
    """Splits a model into its structure and a state to train.

    Args:
      model: images to (outputs, activations).
      family: its `init` gives what is learned beside the model.
      optimizer: its state starts here.
      key: for the family.
      average_decay: whether an average has to be kept: 0 keeps none.

    >>> from robustlabels import models, objective
    >>> rngs = nnx.Rngs(0)
    >>> model = models.Network(
    ...     models.MLP((8, 8, 1), widths=(4,), rngs=rngs),
    ...     models.Softmax(4, 3, rngs=rngs), mean=(0.0,), std=(1.0,),
    ... )
    >>> _, state = init_state(
    ...     model, objective.softmax(), optax.sgd(0.1), jax.random.key(0)
    ... )
    >>> print(state.step)
    0
    """
    graphdef, params, statistics = nnx.split(model, nnx.Param, ...)
    trained = {"model": params, "objective": family.init(key)}
    average = (params, statistics) if average_decay else ()
    state = TrainState(
        jnp.zeros((), jnp.int32), trained, statistics, optimizer.init(trained), average
    )
    # Every leaf gets a buffer of its own, for all of them are donated.
    return graphdef, jax.tree.map(jnp.copy, state)


def make_step(
    graphdef: nnx.GraphDef,
    family: Family,
    optimizer: optax.GradientTransformation,
    *,
    num_steps: int,
    augmentation: Augmentation = _AS_THEY_ARE,
    input_noise: float = 0.0,
    average_decay: float = 0.0,
) -> Step:
    """The training step, a pure function of (state, batch, key).

    Args:
      graphdef: structure of the model.
      family: the objectives along training.
      optimizer: of the mean loss plus the family's penalty.
      num_steps: length of the training: progress runs from 0 to 1 over it.
      augmentation: what may happen to the images before.
      input_noise: standard deviation of Gaussian noise on the images, in pixels.
      average_decay: of the moving average, in [0, 1); 0 keeps none.
    """

    def step(state: TrainState, batch: Batch, key: Key[Array, ""]):
        key = jax.random.fold_in(key, state.step)
        noise_key, augment_key = jax.random.split(key)
        images = as_float(augment(augment_key, batch.images, augmentation))
        if input_noise:
            noise = jax.random.normal(noise_key, images.shape, images.dtype)
            images = images + input_noise * noise
        progress = state.step / max(num_steps - 1, 1)

        def total(params):
            model = nnx.merge(graphdef, params["model"], state.statistics, copy=True)
            outputs, _ = model(images, train=True)
            objective = family.at(params["objective"], progress)
            loss = masked_mean(objective.loss(outputs, batch.labels), batch.mask)
            right = jnp.argmax(objective.scores(outputs), axis=-1) == batch.labels
            _, _, statistics = nnx.split(model, nnx.Param, ...)
            penalty = family.penalty(params["objective"])
            metrics = Metrics(loss, masked_mean(right, batch.mask))
            return loss + penalty, (metrics, statistics)

        gradient, (metrics, statistics) = jax.grad(total, has_aux=True)(state.params)
        updates, optimizer_state = optimizer.update(
            gradient, state.optimizer, state.params
        )
        params: Any = optax.apply_updates(state.params, updates)
        average = state.average
        if average_decay:
            average = jax.tree.map(
                lambda old, new: old + (1.0 - average_decay) * (new - old),
                average,
                (params["model"], statistics),
            )
        state = TrainState(state.step + 1, params, statistics, optimizer_state, average)
        return state, metrics

    return step


def run_stretch(
    step: Step,
    state: TrainState,
    images: Array,
    labels: Int[Array, " examples"],
    indices: Int[Array, " steps batch"],
    mask: Bool[Array, " steps batch"],
    key: Key[Array, ""],
    *,
    mesh: Mesh | None = None,
) -> tuple[TrainState, Metrics]:
    """Many steps in one scan over examples that live on the device.

    Args:
      step: from `make_step`.
      state: where training stands.
      images: all training images.
      labels: their class ids.
      indices: the examples of each step's batch.
      mask: which of them count.
      key: of the run; each step folds in its number.
      mesh: every batch is split over its devices; None leaves it where the images are.

    Returns:
      The new state, and the metrics of every step, [steps].
    """

    def body(state, chosen):
        index, counts = chosen
        batch = Batch(images[index], labels[index], counts)
        if mesh is not None:
            batch = Batch(*(parallel.constrain(part, mesh) for part in batch))
        return step(state, batch, key)

    return jax.lax.scan(body, state, (indices, mask))


def evaluated(state: TrainState) -> tuple[Any, Any]:
    """Params and statistics as evaluation uses them: averaged where that is kept."""
    return state.average or (state.params["model"], state.statistics)


def predictor(graphdef: nnx.GraphDef, params: Any, statistics: Any) -> Partial:
    """`predict` with everything but the images bound: a function and a pytree."""
    return Partial(predict, graphdef, params, statistics)
