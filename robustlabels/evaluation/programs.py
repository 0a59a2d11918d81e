"""What runs on the devices: an attack on a batch of slots, ten steps at a time.

A slot holds one example at one epsilon and knows of no other slot, so that examples at
different epsilons and different steps share a batch. Everything but the shapes and the
attack is an argument: one compile serves all epsilons, examples and weights.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int, Key

from robustlabels import parallel
from robustlabels.attacks import Iteration
from robustlabels.attacks.nearest import MinimumDistortion
from robustlabels.data import Split
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.budgets import Attack
from robustlabels.objective import Classifier

__all__ = [
    "JUDGED_EVERY",
    "Examples",
    "Judged",
    "Programs",
    "Shared",
    "correct",
    "make_programs",
    "of_images",
    "over",
]

JUDGED_EVERY = 10  # steps


class Shared(NamedTuple):
    """What all slots need.

    Attributes:
      classifier: what is attacked.
      key: example i draws from this key folded with i.
      levels: 255. An argument, because XLA replaces the division by a constant by a
        product, whose pixels are not those of NumPy.
    """

    classifier: Classifier
    key: Key[Array, ""]
    levels: Any


class Examples(NamedTuple):
    """What each slot holds.

    Attributes:
      x: clean images in [0, 1].
      y: true class ids, which decisions are judged by.
      towards: class ids that the loss is given.
      index: of the example in its split.
      epsilon: how far the attack may go.
    """

    x: Float[Array, "slots ..."]
    y: Int[Array, " slots"]
    towards: Int[Array, " slots"]
    index: Int[Array, " slots"]
    epsilon: Float[Array, " slots"]


class Judged(NamedTuple):
    """What the attacked images came to; details are 0 where nobody asked.

    Attributes:
      wrong: whether an example is decided wrongly now.
      finished: whether the attack changes it no more.
      decision: class id.
      confidence: of the decision.
      distances: [slots, 4] from the clean image: how many values changed, L1, L2, Linf.
      survives_rounding: whether it is still wrong in 8 bits a pixel.
    """

    wrong: Bool[Array, " slots"]
    finished: Bool[Array, " slots"]
    decision: Int[Array, " slots"]
    confidence: Float[Array, " slots"]
    distances: Float[Array, "slots 4"]
    survives_rounding: Bool[Array, " slots"]


class Programs(NamedTuple):
    """Jitted functions of slots, each compiled once.

    Attributes:
      num_steps: of the attack.
      minimum: norm in which it searches for the nearest image; None within a ball.
      chunk: how many of them `advance` takes.
      place: (shared, images) -> x, uint8 on the [0, 1] scale.
      begin: (shared, examples) -> state of the attack before its first step.
      choose: (shared, flags, new, old) -> new where the flag is set; takes old.
      advance: (shared, state, examples, left, asked) -> (state, judged, images) after
        up to `chunk` of the steps that are left, -1 in an idle slot; takes the state.
    """

    num_steps: int
    minimum: str | None
    chunk: int
    place: Callable
    begin: Callable
    choose: Callable
    advance: Callable


def make_programs(
    attack: Attack, loss_of: Callable[[Classifier], Callable], mesh: Mesh
) -> Programs:
    """The programs of an attack that ascends a loss of a classifier.

    Args:
      attack: what happens in a slot.
      loss_of: (classifier) -> the loss function that is ascended.
      mesh: the devices that share the slots.

    >>> from robustlabels.evaluation import budgets
    >>> make_programs(budgets.pgd(), lambda c: c.loss, parallel.make_mesh()).chunk
    10
    """

    def iteration_of(shared, examples):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(shared.key, examples.index)
        return attack.iteration(
            loss_of(shared.classifier),
            shared.classifier.scores,
            epsilon=_per_slot(examples.epsilon, examples.x),
            key=keys,
        )

    def begin(shared, examples):
        return iteration_of(shared, examples).init(examples.x, examples.towards)

    def advance(shared, state, examples, left, asked):
        iteration = iteration_of(shared, examples)
        state = _stepped(iteration, chunk, state, left)
        images = jax.lax.stop_gradient(iteration.result(state))
        active, finished = left >= 0, jnp.zeros_like(asked)
        if iteration.finished is not None:
            finished = iteration.finished(state)
        if isinstance(images, MinimumDistortion):
            # What is found on the way is not the nearest yet.
            images, active = images.x_adv, active & (finished | (left <= chunk))
        return state, _judged(shared, images, examples, active, asked, finished), images

    # Nothing is called to know how many steps there are.
    probe = attack.iteration(len, len, epsilon=0.0, key=jax.random.key(0))
    chunk = min(JUDGED_EVERY, probe.num_steps)
    return Programs(
        num_steps=probe.num_steps,
        minimum=attack.minimum,
        chunk=chunk,
        place=jax.jit(parallel.per_example(_scaled, mesh)),
        begin=jax.jit(parallel.per_example(begin, mesh)),
        choose=jax.jit(parallel.per_example(_chosen, mesh), donate_argnums=3),
        advance=jax.jit(parallel.per_example(advance, mesh), donate_argnums=1),
    )


def of_images(function: Callable, mesh: Mesh) -> Callable:
    """A function (classifier, x, y) of images in [0, 1] as a program for `over`.

    >>> program = of_images(correct, parallel.make_mesh())
    """

    def call(shared, images, labels):
        return function(shared.classifier, _scaled(shared, images), labels)

    return jax.jit(parallel.per_example(call, mesh))


def correct(
    classifier: Classifier, x: Float[Array, "batch ..."], y: Int[Array, " batch"]
) -> Bool[Array, " batch"]:
    """Whether the decision is the class it should be, for `of_images`.

    >>> from robustlabels import objective
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> classifier = objective.bind(softmax, lambda x: x)
    >>> scores = jnp.array([[0.0, 1.0], [3.0, 2.0]])
    >>> print(correct(classifier, scores, jnp.ones(2, int)))
    [ True False]
    """
    return classifier.scores(x).argmax(-1) == y


def over(
    program: Callable,
    classifier: Classifier,
    split: Split,
    *,
    mesh: Mesh,
    batch_size: int,
) -> np.ndarray:
    """What a program from `of_images` finds on each example of a split.

    Args:
      program: the jitted function.
      classifier: its first argument, a pytree of arrays.
      split: images and class ids.
      mesh: that of the program.
      batch_size: examples a call; the last batch is filled up.
    """
    return batchwise(
        program,
        make_shared(classifier, jax.random.key(0)),
        len(split.labels),
        lambda ids: (split.images[ids], split.labels[ids]),
        what="checking images",
        mesh=mesh,
        batch_size=batch_size,
    )


def make_shared(classifier: Classifier, key: Key[Array, ""]) -> Shared:
    """What all slots need, on no device in particular.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: x)
    >>> make_shared(model, jax.random.key(0)).levels
    np.float32(255.0)
    """
    return Shared(classifier, key, np.float32(255))


def _per_slot(values: Array, like: Array) -> Array:
    """[slots] as [slots, 1, ...], which nothing else can be meant by."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def _scaled(shared: Shared, images: Array) -> Array:
    """`data.as_float`, exactly, inside of jit."""
    if images.dtype != np.uint8:
        return images
    return images.astype(jnp.float32) / shared.levels


def _chosen(shared, flags: Bool[Array, " slots"], new: Any, old: Any) -> Any:
    del shared
    return jax.tree.map(lambda n, o: jnp.where(_per_slot(flags, n), n, o), new, old)


def _stepped(iteration: Iteration, chunk: int, state: Any, left: Array) -> Any:
    """Up to a chunk of steps; a single one outside of any loop, as in `attacks.run`."""

    def step(i, state):
        after = iteration.step(state)
        if iteration.num_steps % chunk == 0:  # No slot ends within a chunk.
            return after
        return _chosen(None, i < left, after, state)

    if chunk <= 1:
        return step(0, state) if chunk else state
    return jax.lax.fori_loop(0, chunk, step, state)


def _judged(
    shared: Shared,
    images: Array,
    examples: Examples,
    active: Array,
    asked: Array,
    finished: Array,
) -> Judged:
    classifier = shared.classifier
    decision = jnp.argmax(classifier.scores(images), axis=-1).astype(jnp.int32)
    wrong = active & (decision != examples.y)

    def details():
        change = jnp.abs(images - examples.x).reshape(len(images), -1)
        distances = (
            jnp.sum(change > 0, axis=1).astype(change.dtype),
            jnp.sum(change, axis=1),
            jnp.sqrt(jnp.sum(change**2, axis=1)),
            jnp.max(change, axis=1),
        )
        rounded = jnp.round(images * shared.levels) / shared.levels
        still = jnp.argmax(classifier.scores(rounded), axis=-1) != examples.y
        confidence = classifier.confidence(images)
        return decision, confidence, jnp.stack(distances, axis=1), still

    # Most chunks fell nobody, and then half of the work of judging can be spared.
    found = jax.lax.cond(
        jnp.any(wrong | asked),
        details,
        lambda: jax.tree.map(jnp.zeros_like, jax.eval_shape(details)),
    )
    return Judged(wrong, finished, *found)
