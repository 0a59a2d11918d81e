"""Single Fourier attacks: the one plane wave that a classifier is most sensitive to."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from robustlabels.attacks import geometry
from robustlabels.attacks.iteration import Iteration, LossFn, run
from robustlabels.attacks.nearest import is_adversarial

__all__ = [
    "fourier_errors",
    "fourier_frequencies",
    "fourier_pattern",
    "single_fourier",
    "single_fourier_iteration",
]

Frequency = Sequence[int] | Int[Array | np.ndarray, " 2"]
Frequencies = Int[Array | np.ndarray, "frequencies 2"]


class SingleFourierState(NamedTuple):
    """The best wave so far, its loss, and how many frequencies were tried."""

    x_adv: Float[Array, "batch height width ..."]
    loss: Float[Array, " batch"]
    x: Float[Array, "batch height width ..."]
    y: Int[Array, " batch"]
    epsilon: Float[Array, "batch ..."]
    tried: Int[Array, " batch"]


def fourier_frequencies(shape: Sequence[int]) -> Frequencies:
    """One frequency (l, m) of each conjugate pair (l, m), (-l, -m), row by row.

    Args:
      shape: (height, width) of an image.

    >>> print(fourier_frequencies((2, 3)).tolist())
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    height, width = shape
    index = np.arange(height * width)
    row, column = np.divmod(index, width)
    conjugate = (-row % height) * width + (-column % width)
    return np.stack([row, column], axis=-1)[index <= conjugate]


def fourier_pattern(
    shape: Sequence[int], frequency: Frequency, *, signed: bool = True
) -> Float[Array, "height width"]:
    """The plane wave of Tsuzuku & Sato (2019) at one frequency, of max-norm 1.

    (1+i) F_l ⊗ F_m + (1-i) F_-l ⊗ F_-m, where F_l(t) = exp(2πi·lt/n), which is
    2√2 cos(2π(l·row / height + m·column / width) + π/4). At (-l, -m) it has the same
    amplitudes, a quarter of a period away.

    Args:
      shape: (height, width) of an image.
      frequency: (l, m), in periods an image; may be traced.
      signed: whether to take the sign of the wave, which is exactly 0 where the wave
        is, instead of scaling the wave itself.

    Guarantees: the spectrum of the wave itself is 0 but at (l, m) and (-l, -m); that of
    its sign is 0 but at odd multiples of them.

    >>> print(fourier_pattern((1, 4), (0, 1)))
    [[ 1. -1. -1.  1.]]
    """
    height, width = shape
    cycles_of_rows = (frequency[0] * jnp.arange(height) % height)[:, None] * width
    cycles_of_columns = (frequency[1] * jnp.arange(width) % width)[None, :] * height
    # The phase in whole steps, `period` to a period: an eighth of one is π/4.
    period = 8 * height * width
    phase = (8 * (cycles_of_rows + cycles_of_columns) + period // 8) % period
    if signed:
        triangle = jnp.abs(phase - period // 2) - period // 4
        return jnp.sign(triangle).astype(jnp.float32)
    wave = jnp.cos(2 * jnp.pi / period * phase)
    return wave / jnp.max(jnp.abs(wave))


def single_fourier(
    loss_fn: LossFn,
    x: Float[Array, "batch height width ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    frequencies: Frequencies | None = None,
    signed: bool = True,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Float[Array, "batch height width ..."]:
    """Single Fourier attack, Tsuzuku & Sato (2019): the wave of the largest loss.

    It tries ±epsilon times the pattern of one frequency after the other, the same in
    all channels, and needs the values of the loss alone.

    Args:
      loss_fn: (x, y) -> [batch], to be ascended.
      x: images within the bounds.
      y: class ids; with `targeted(loss_fn)`, those to be reached.
      epsilon: most a pixel may change: a number, [batch], or an array that broadcasts
        against an image; may be traced.
      frequencies: those to be tried; None for all, `fourier_frequencies`.
      signed: see `fourier_pattern`.
      bounds: range of a pixel; (-inf, inf) leaves the result unclipped.

    Raises:
      ValueError: for images outside of the bounds, or an epsilon wider than they.

    Guarantees: |x_adv - x| ≤ epsilon per pixel; within the bounds; no wave tried has a
    larger loss, and neither has x; the same example gives the same result in any batch.

    >>> x, wave = jnp.full((1, 4, 4, 1), 0.5), fourier_pattern((4, 4), (1, 3))
    >>> x_adv = single_fourier(
    ...     lambda x, y: -jnp.einsum("bhwc,hw->b", x, wave), x, jnp.array([0]),
    ...     epsilon=0.25,
    ... )
    >>> print(bool(jnp.all(x_adv[0, :, :, 0] == 0.5 - 0.25 * wave)))
    True
    """
    if frequencies is None:
        frequencies = fourier_frequencies(x.shape[1:3])
    iteration = single_fourier_iteration(
        loss_fn, frequencies, epsilon=epsilon, signed=signed, bounds=bounds
    )
    return run(iteration, x, y)


def single_fourier_iteration(
    loss_fn: LossFn,
    frequencies: Frequencies,
    *,
    epsilon: Any,
    signed: bool = True,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Iteration:
    """`single_fourier` as an iteration, one frequency and two losses a step.

    >>> iteration = single_fourier_iteration(
    ...     lambda x, y: x[:, 0, 0], fourier_frequencies((2, 2)), epsilon=0.5
    ... )
    >>> state = iteration.init(jnp.zeros((1, 2, 2)), jnp.array([0]))
    >>> print(iteration.num_steps, jax.jit(iteration.step)(state).loss)
    4 [0.5]
    """
    geometry.check_epsilon(epsilon, bounds, "linf")
    frequencies = jnp.asarray(frequencies)

    def init(x, y):
        geometry.check_images(x, bounds)
        radius = geometry.per_image(epsilon, x, name="epsilon")
        tried = jnp.zeros_like(y, jnp.int32)
        return SingleFourierState(x, loss_fn(x, y), x, y, radius, tried)

    def better(state, wave):
        x_adv = jnp.clip(state.x + state.epsilon * wave, *bounds)
        loss = loss_fn(x_adv, state.y)
        x_adv, loss = geometry.choose(
            loss > state.loss, (x_adv, loss), (state.x_adv, state.loss)
        )
        return state._replace(x_adv=x_adv, loss=loss)

    def step(state):
        wave = _waves(frequencies[state.tried], state.x, signed)
        state = better(better(state, wave), -wave)
        return state._replace(tried=state.tried + 1)

    return Iteration(init, step, lambda state: state.x_adv, len(frequencies))


def fourier_errors(
    scores_fn: Callable[[Array], Array],
    x: Float[Array, "batch height width ..."],
    y: Int[Array, " batch"],
    *,
    epsilon: Any,
    signed: bool = True,
    bounds: geometry.Bounds = (0.0, 1.0),
) -> Bool[Array, "batch height width"]:
    """Whether each example is decided wrongly under the wave of each frequency.

    Each wave is one perturbation for all images. The mean over the batch is the heat
    map of Tsuzuku & Sato (2019), and its largest entry the error under their universal
    attack. One frequency of each conjugate pair is tried; its partner has the same
    entry. Frequencies follow one another: no more than one batch is held.

    Args:
      scores_fn: (x) -> [batch, classes]; the largest is the decision.
      x: images within the bounds.
      y: class ids.
      epsilon: as for `single_fourier`.
      signed: see `fourier_pattern`.
      bounds: range of a pixel.

    Raises:
      ValueError: for images outside of the bounds, or an epsilon wider than they.

    Guarantees: entry (l, m) is that of (-l, -m); frequency 0 is at (0, 0).

    >>> errors = fourier_errors(
    ...     lambda x: jnp.stack([x[:, 0, 1], x[:, 0, 0]], axis=-1),
    ...     jnp.full((1, 2, 2), 0.5), jnp.array([0]), epsilon=0.25,
    ... )
    >>> print(errors.astype(int))
    [[[0 1]
      [0 1]]]
    """
    geometry.check_epsilon(epsilon, bounds, "linf")
    geometry.check_images(x, bounds)
    radius = geometry.per_image(epsilon, x, name="epsilon")
    frequencies = fourier_frequencies(x.shape[1:3])

    def wrong_under(frequency):
        wave = _waves(frequency[None], x, signed)
        x_adv = jnp.clip(x + radius * wave, *bounds)
        return is_adversarial(scores_fn(x_adv), y, targeted=False)

    wrong = jax.lax.map(wrong_under, jnp.asarray(frequencies))
    row, column = frequencies.T
    errors = jnp.zeros(x.shape[:3], bool)
    errors = errors.at[:, row, column].set(wrong.T)
    return errors.at[:, -row, -column].set(wrong.T)


def _waves(frequencies, x, signed):
    """The pattern of each frequency, with axes that broadcast against the images."""
    _, height, width, *channels = x.shape
    pattern = functools.partial(fourier_pattern, (height, width), signed=signed)
    waves = jax.vmap(pattern)(frequencies).astype(x.dtype)
    return waves.reshape(-1, height, width, *[1] * len(channels))
