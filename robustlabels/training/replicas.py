"""Replicas of one model, trained side by side in one program.

Everything that changes while training carries the replicas in front, one of them too.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from robustlabels import parallel
from robustlabels.data import Dataset, Split, as_float, filled_batches
from robustlabels.objective import Family
from robustlabels.training.step import (
    Metrics,
    Step,
    TrainState,
    evaluated,
    init_state,
    masked_mean,
    predictor,
    run_stretch,
)

_RESIDENT = 2**31  # bytes of images: a larger split is not put on the devices
_PIECE = 2**28  # bytes of images that are brought to them at a time instead


class Programs(NamedTuple):
    """The compiled halves of an epoch; all arguments and results carry replicas.

    Attributes:
      run: (state, order, mask, keys) -> (state, metrics of every step); the state is
        donated.
      candidate: (state) -> the model as it would be kept: params, statistics, and what
        the objective learned.
      validate: (candidate) -> [replicas, 2], mean loss and error on the validation
        split; one replica after another, for then another number of them cannot change
        the rounding.
      keep: (better, candidate, best) -> best; the old best is donated.
    """

    run: Callable[..., tuple[TrainState, Metrics]]
    candidate: Callable[[TrainState], Any]
    validate: Callable[[Any], np.ndarray]
    keep: Callable[..., Any]


def stacked(
    models: Sequence[nnx.Module],
    family: Family,
    optimizer: optax.GradientTransformation,
    keys: Key[Array, " replicas"],
    *,
    average_decay: float,
) -> tuple[nnx.GraphDef, TrainState]:
    """The structure that all models share, and their states, replicas in front.

    Raises:
      ValueError: if the models differ in more than their weights.
    """
    parts = [
        init_state(model, family, optimizer, key, average_decay=average_decay)
        for model, key in zip(models, keys, strict=True)
    ]
    (graphdef, first), *others = parts
    for replica, (structure, state) in enumerate(others, start=1):
        if structure != graphdef or _shapes(state) != _shapes(first):
            raise ValueError(
                f"model {replica} has another structure than model 0: replicas differ "
                "in their weights alone."
            )
    return graphdef, stack([state for _, state in parts])


def _shapes(tree: Any) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def stack(trees: Sequence[Any]) -> Any:
    """Pytrees of one structure as one, with the trees as a new axis in front."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def programs(
    graphdef: nnx.GraphDef,
    family: Family,
    step_by: Callable[[Array], Step],
    rates: Float[Array, " steps"],
    dataset: Dataset,
    *,
    eval_batch_size: int,
    at_once: int,
    mesh: Mesh,
) -> Programs:
    """Compiles training and validation of replicas whose data live on the mesh.

    Args:
      graphdef: structure of the model.
      family: the objectives along training.
      step_by: (rates) -> step of one replica, from `make_step`.
      rates: the learning rate of each step; an argument of the program, so that one
        compile serves all of a search.
      dataset: its training and validation images go to every device: once, or, of a
        split of more than 2 GiB, some steps at a time, while the devices are at the
        steps before. The numbers are the same.
      eval_batch_size: examples a step of validation.
      at_once: how many replicas are vmapped; 0 is all of them, or, on a CPU, one after
        another, for a vmapped convolution is several times slower there.
      mesh: every batch is split over it.
    """
    replicated = parallel.replicate(jnp.zeros(()), mesh).sharding

    @functools.partial(jax.jit, donate_argnums=0, out_shardings=replicated)
    def run(state, order, mask, keys, train, rates):
        images, labels = train
        step = step_by(rates)

        def one(state, order, mask, key):
            return run_stretch(step, state, images, labels, order, mask, key, mesh=mesh)

        return _over_replicas(one, at_once)(state, order, mask, keys)

    judge = functools.partial(_judge, graphdef, family, mesh)
    validate = _validation(judge, dataset.validation, eval_batch_size, mesh)

    def validate_all(candidate):
        size = len(jax.tree.leaves(candidate)[0])
        one_by_one = (jax.tree.map(lambda x, r=r: x[r], candidate) for r in range(size))
        return np.array(jax.device_get(validate(one_by_one)), np.float64)

    @functools.partial(jax.jit, donate_argnums=2, out_shardings=replicated)
    def keep(better, candidate, best):
        def choose(new, old):
            return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        return jax.tree.map(choose, candidate, best)

    return Programs(
        run=_training(run, dataset.train, parallel.replicate(rates, mesh), mesh),
        candidate=lambda state: (*evaluated(state), state.params["objective"]),
        validate=validate_all,
        keep=keep,
    )


def batches(
    size: int, batch_size: int, seeds: Sequence[int], epoch: int, passes: int = 1
) -> tuple[
    Int[np.ndarray, "replicas steps batch"], Bool[np.ndarray, "replicas steps batch"]
]:
    """An epoch's order of each seed in batches, and which entries count.

    Each pass through the examples has an order of its own.
    """
    numbers = range((epoch - 1) * passes + 1, epoch * passes + 1)
    parts = []
    for seed in seeds:
        orders = [np.random.default_rng((seed, n)).permutation(size) for n in numbers]
        order = np.concatenate(orders).astype(np.int32)
        parts.append(filled_batches(order, batch_size))
    orders, masks = zip(*parts, strict=True)
    return np.stack(orders), np.stack(masks)


def _over_replicas(function: Callable, at_once: int) -> Callable:
    """A function of one replica as one of all of them."""
    if at_once == 0 and jax.default_backend() == "cpu":
        at_once = 1

    def over(*stacks):
        size = len(jax.tree.leaves(stacks)[0])
        width = min(at_once or size, size)
        return jax.lax.map(
            lambda replica: function(*replica),
            stacks,
            batch_size=None if width == 1 else width,
        )

    return over


def _training(run: Callable, split: Split, rates: Array, mesh: Mesh) -> Callable:
    """`run` of a state, orders, masks and keys, with the examples at hand."""
    if _nbytes(split) <= _RESIDENT:
        train = _placed(split, np.s_[:], mesh)
        return lambda *arguments: run(*arguments, train, rates)

    def run_pieces(state, order, mask, keys):
        found = []
        step_bytes = order[:, 0].size * _nbytes(split) // len(split.labels)
        size = max(1, _PIECE // step_bytes)
        for start in range(0, order.shape[1], size):
            part = np.s_[:, start : start + size]
            ids = order[part]
            examples = _placed(split, ids.reshape(-1), mesh)
            jax.block_until_ready(found[-1:])  # at most two pieces are on the devices
            places = np.arange(ids.size, dtype=ids.dtype).reshape(ids.shape)
            state, metrics = run(state, places, mask[part], keys, examples, rates)
            found.append(metrics)
        return state, jax.tree.map(lambda *m: jnp.concatenate(m, axis=1), *found)

    return run_pieces


def _validation(judge: Callable, split: Split, batch_size: int, mesh: Mesh) -> Callable:
    """(models) -> mean loss and error of each on a split, see `_judge`."""
    index, counts = filled_batches(np.arange(len(split.labels)), batch_size)

    def means(loss, wrong):
        mask = jnp.asarray(counts.reshape(-1))
        return tuple(masked_mean(each.reshape(-1), mask) for each in (loss, wrong))

    if _nbytes(split) <= _RESIDENT:
        held_out = _placed(split, index, mesh)

        @jax.jit
        def validate(candidate, batches):
            return means(*jax.lax.map(judge(candidate), batches))

        return lambda candidates: [validate(each, held_out) for each in candidates]

    judge_batch = jax.jit(lambda candidate, batch: judge(candidate)(batch))
    means_of_batches = jax.jit(lambda batches: means(*map(jnp.stack, batches)))

    def validate_batches(candidates):
        candidates, found = list(candidates), []
        for ids in index:
            batch = _placed(split, ids, mesh)
            jax.block_until_ready(found[-1:])  # at most two batches are on the devices
            found.append([judge_batch(each, batch) for each in candidates])
        by_model = zip(*found, strict=True)
        return [means_of_batches(list(zip(*each, strict=True))) for each in by_model]

    return validate_batches


def _placed(split: Split, index: Any, mesh: Mesh) -> tuple[Array, Array]:
    """Images and class ids on every device."""
    return parallel.replicate((split.images[index], split.labels[index]), mesh)


def _nbytes(split: Split) -> int:
    """What the images take in memory."""
    return math.prod(split.images.shape) * split.images.dtype.itemsize


def _judge(
    graphdef: nnx.GraphDef, family: Family, mesh: Mesh, candidate: Any
) -> Callable:
    """(images, labels) -> loss of each under the end's objective, and who is wrong."""
    params, statistics, learned = candidate
    predict = predictor(graphdef, params, statistics)
    objective = family.at(learned, 1.0)

    def judged(batch):
        images, labels = (parallel.constrain(part, mesh) for part in batch)
        outputs = predict(as_float(images))
        wrong = jnp.argmax(objective.scores(outputs), axis=-1) != labels
        return objective.loss(outputs, labels), wrong

    return judged
