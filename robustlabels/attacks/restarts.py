"""An attack begun anew: from other random starts, or towards other classes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from robustlabels import _validate
from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration

__all__ = ["nth_wrong_class", "restarted"]


class Ranked(NamedTuple):
    """What a run of an attack returns, and the loss by which runs are compared."""

    result: Any
    loss: Float[Array, " batch"]


class RestartedState(NamedTuple):
    """The run under way, what every run begins with, and the best that has ended.

    Attributes:
      inner: state of the attack that is under way.
      best: of the runs that have ended; of loss -inf where none has.
      x: clean images.
      y: class ids.
      key: one an example.
      sizes: what else an example has of its own.
      steps: how many were taken, over all runs.
    """

    inner: Any
    best: Ranked
    x: Float[Array, "batch ..."]
    y: Int[Array, " batch"]
    key: Key[Array, " batch"]
    sizes: dict[str, Array]
    steps: Int[Array, " batch"]


def restarted(
    make: Callable[..., Iteration],
    loss_fn: Callable[[Any, Array], Array],
    *,
    num_restarts: int,
    key: Key[Array, "..."],
    labels_of: Callable[[Array, Array, Array], Any] | None = None,
    **sizes: Any,
) -> Iteration:
    """An attack that is run several times, as one iteration; its result is the best.

    With labels that depend on the restart it is a multi-targeted attack, such as APGD-T
    of Croce & Hein (2020).

    Args:
      make: (key=, **sizes) -> the attack as an iteration. Every run takes all of its
        steps, and calls `make` and `init` again.
      loss_fn: (result, y) -> [batch], by which the runs are compared, the one under way
        included; the margin puts what is decided wrongly first.
      num_restarts: how many runs, at least 1.
      key: one key, or one an example; with one, example i uses it folded with i. Run r
        is made with each folded with r.
      labels_of: (x, y, restart) -> what `init` of the attack is given for y: any pytree
        with the batch in front; restart is [batch], counted from 0.
      **sizes: what an example has of its own, such as epsilon: numbers, [batch], or
        arrays that broadcast against an image.

    Raises:
      ValueError: for no restart, an attack without steps, or what `make` refuses.

    Guarantees: the same example gives the same result in any batch when it has its own
    key and sizes.

    >>> from robustlabels import attacks
    >>> def loss_fn(x, y):
    ...     return jnp.sum(jnp.abs(x - 0.5), axis=-1)
    >>> def make(key, epsilon):
    ...     return attacks.pgd_iteration(
    ...         loss_fn, epsilon=epsilon, num_steps=5, step_size=epsilon, key=key
    ...     )
    >>> iteration = restarted(
    ...     make, loss_fn, num_restarts=9, key=jax.random.key(0), epsilon=0.25
    ... )
    >>> print(attacks.run(iteration, jnp.array([[0.4, 0.8]]), jnp.array([0])))
    [[0.15 1.  ]]
    """
    _validate.count(num_restarts=num_restarts)
    attack = make(key=key, **sizes)
    _validate.count(num_steps=attack.num_steps)

    def begun(x, y, keys, sizes, restart):
        keys = jax.vmap(jax.random.fold_in)(keys, restart)
        labels = y if labels_of is None else labels_of(x, y, restart)
        return make(key=keys, **sizes).init(x, labels)

    def ranked(inner, y):
        result = attack.result(inner)
        return Ranked(result, loss_fn(result, y))

    def best_of(state):
        now = ranked(state.inner, state.y)
        return geometry.choose(now.loss > state.best.loss, now, state.best)

    def init(x, y):
        keys = geometry.per_example_keys(key, len(x))
        own = {k: geometry.per_image(v, x, name=k) for k, v in sizes.items()}
        steps = jnp.zeros_like(y, jnp.int32)
        inner = begun(x, y, keys, own, steps)
        start = ranked(inner, y)
        best = start._replace(loss=jnp.full_like(start.loss, -jnp.inf))
        return RestartedState(inner, best, x, y, keys, own, steps)

    def begin_again(state, ended):
        restart = state.steps // attack.num_steps
        again = begun(state.x, state.y, state.key, state.sizes, restart)
        return state._replace(
            inner=geometry.choose(ended, again, state.inner),
            best=geometry.choose(ended, best_of(state), state.best),
        )

    def step(state):
        ended = (state.steps > 0) & (state.steps % attack.num_steps == 0)
        state = jax.lax.cond(
            jnp.any(ended), begin_again, lambda state, _: state, state, ended
        )
        return state._replace(inner=attack.step(state.inner), steps=state.steps + 1)

    def result(state):
        return best_of(state).result

    return Iteration(init, step, result, num_restarts * attack.num_steps)


def nth_wrong_class(
    scores: Float[Array, "batch classes"],
    y: Int[Array, " batch"],
    n: Int[Array, " batch"],
) -> Int[Array, " batch"]:
    """The wrong class of the n-th largest score, for `labels_of` in `restarted`.

    Args:
      scores: the larger, the more the class is believed; at least two classes.
      y: class ids.
      n: counted from 0, the best wrong class; after the worst it is the best again.

    >>> scores = jnp.array([[1.0, 4.0, 3.0, 2.0]])
    >>> print(nth_wrong_class(scores, jnp.array([1]), jnp.array([1])))
    [3]
    """
    own = jnp.arange(scores.shape[-1])[None, :] == y[:, None]
    best_first = jnp.argsort(jnp.where(own, -jnp.inf, scores), descending=True)
    column = n % (scores.shape[-1] - 1)
    return jnp.take_along_axis(best_first, column[:, None], axis=-1)[:, 0]
