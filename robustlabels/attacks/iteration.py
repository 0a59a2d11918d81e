"""An attack as an iteration, and the loop that runs it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from robustlabels._composed import around

__all__ = ["Iteration", "LossFn", "run", "targeted"]

LossFn = Callable[[Array, Array], Array]


class Iteration(NamedTuple):
    """An attack in steps, as an Optax transformation is an optimiser in steps.

    Every leaf of the state has the batch in front: a state can be cut, spread over
    devices and put together again, example by example.

    Attributes:
      init: (x, y) -> state.
      step: (state) -> state.
      result: (state) -> what the attack returns.
      num_steps: how many steps the attack takes at most.
      finished: (state) -> [batch], who changes no more; None if all take all steps.
    """

    init: Callable
    step: Callable
    result: Callable
    num_steps: int
    finished: Callable | None = None


def run(
    iteration: Iteration, x: Float[Array, "batch ..."], y: Int[Array, " batch"]
) -> Any:
    """Runs an iteration from start to end; no gradient flows through it.

    It ends early once all examples are finished. A single step stays outside of any
    loop, where XLA's CPU convolutions are fastest.

    Args:
      iteration: the attack.
      x: images.
      y: class ids.

    >>> from robustlabels import attacks
    >>> iteration = attacks.pgd_iteration(
    ...     lambda x, y: x.sum(-1), epsilon=0.25, num_steps=2, step_size=0.25
    ... )
    >>> print(run(iteration, jnp.array([[0.5, 0.9]]), jnp.array([0])))
    [[0.75 1.  ]]
    """
    state = iteration.init(x, y)
    finished = iteration.finished
    if iteration.num_steps == 1:
        state = iteration.step(state)
    elif finished is not None:

        def goes_on(carry):
            taken, state = carry
            return (taken < iteration.num_steps) & ~jnp.all(finished(state))

        def body(carry):
            taken, state = carry
            return taken + 1, iteration.step(state)

        _, state = jax.lax.while_loop(goes_on, body, (0, state))
    elif iteration.num_steps > 1:
        state = jax.lax.fori_loop(
            0, iteration.num_steps, lambda _, state: iteration.step(state), state
        )
    return jax.lax.stop_gradient(iteration.result(state))


def targeted(loss_fn: LossFn) -> LossFn:
    """The loss that an attack ascends to *reach* the class ids it is given.

    Args:
      loss_fn: (x, y) -> [batch].

    >>> towards = targeted(lambda x, y: x.sum(-1))
    >>> print(towards(jnp.array([[1.0, 2.0]]), jnp.array([0])))
    [-3.]
    """
    return around(_negated, loss_fn)


def _negated(loss_fn, x, y):
    return -loss_fn(x, y)
