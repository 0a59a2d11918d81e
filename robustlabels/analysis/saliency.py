"""Where in an image a decision comes from."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Float, Int

__all__ = ["activation_gradient", "grad_cam"]

Predict = Callable[[Array], tuple[Array, Mapping[str, Array]]]


def activation_gradient(
    predict: Predict,
    score: Callable[[Array], Float[Array, ""]],
    x: Float[Array, "batch ..."],
    *,
    layer: str,
) -> tuple[Float[Array, "batch ..."], Float[Array, "batch ..."]]:
    """An activation, and the gradient of a number in it, of any model that names it.

    The program is traced once, and run again from the activation on: the model itself
    needs no hook.

    Args:
      predict: images -> (outputs, activations by name); not jitted as a whole, for then
        nothing between its inputs and outputs can be seen.
      score: (outputs) -> the number.
      x: images.
      layer: name of the activation.

    Raises:
      ValueError: for a layer that is not there, or that the number does not depend on.

    >>> def predict(x):
    ...     hidden = 2 * x
    ...     return hidden.sum(-1), {"hidden": hidden}
    >>> x = jnp.ones((1, 2))
    >>> activation, slope = activation_gradient(predict, jnp.sum, x, layer="hidden")
    >>> print(activation, slope)
    [[2. 2.]] [[1. 1.]]
    """

    def traced(x):
        outputs, activations = predict(x)
        if layer not in activations:
            raise ValueError(
                f"layer={layer!r} is not there; choose one of "
                f"{', '.join(map(repr, activations))}."
            )
        return activations[layer], score(outputs)

    closed = jax.make_jaxpr(traced)(x)
    place, _ = closed.jaxpr.outvars
    activation, _ = jax.jit(core.jaxpr_as_fun(closed))(x)
    if not _depends(closed.jaxpr, place):
        raise ValueError(
            f"the score does not depend on the layer {layer!r}, as it is seen from "
            "outside: give a function that is not jitted, and a layer that is used."
        )
    slope = jax.jit(jax.grad(_rest(closed, place)))(activation, x)
    return activation, slope


def _depends(jaxpr: Any, place: Any) -> bool:
    """Whether the second result of a program depends on a variable."""
    reached = {place}
    for equation in jaxpr.eqns:
        if any(
            v in reached for v in equation.invars if not isinstance(v, core.Literal)
        ):
            reached.update(equation.outvars)
    return jaxpr.outvars[1] in reached


def _rest(closed: Any, place: Any) -> Callable[[Array, Array], Array]:
    """(value, x) -> the second result of a program, if a variable had that value."""
    jaxpr = closed.jaxpr

    def renamed(variable):
        return core.Var(variable.aval) if variable is place else variable

    equations = [
        equation.replace(outvars=list(map(renamed, equation.outvars)))
        for equation in jaxpr.eqns
    ]
    rest = core.Jaxpr(
        jaxpr.constvars,
        [place, *map(renamed, jaxpr.invars)],
        [jaxpr.outvars[1]],
        equations,
        jaxpr.effects,
        jaxpr.debug_info.with_unknown_names(),
    )
    run = core.jaxpr_as_fun(core.ClosedJaxpr(rest, closed.consts))
    return lambda value, x: run(value, x)[0]


def grad_cam(
    predict: Predict,
    scores: Callable[[Array], Float[Array, " batch classes"]],
    x: Float[Array, " batch height width channels"],
    labels: Int[Array, " batch"],
    *,
    layer: str,
) -> Float[Array, " batch height width"]:
    """Grad-CAM, Selvaraju et al. (2017), equations 1 and 2, as large as the images.

    A layer's channels, weighed by the mean of the score's gradient in each, where that
    is positive; between 0 and 1 of the largest of the image, or 0 all over.

    Args:
      predict: images -> (outputs, activations by name); see `activation_gradient`.
      scores: (outputs) -> [batch, classes].
      x: images.
      labels: the classes that are asked about.
      layer: name of an activation [batch, rows, columns, channels].

    Raises:
      ValueError: for a layer that is not there, or no map of channels.
    """

    def score(outputs):
        of_class = scores(outputs)
        return jnp.take_along_axis(of_class, labels[:, None], axis=-1).sum()

    activation, slope = activation_gradient(predict, score, x, layer=layer)
    if activation.ndim != 4:
        raise ValueError(
            f"layer={layer!r} has the shape {activation.shape[1:]}, and Grad-CAM needs "
            "rows, columns and channels: choose a convolution."
        )
    weights = slope.mean(axis=(1, 2), keepdims=True)
    found = jax.nn.relu((weights * activation).sum(axis=-1))
    largest = found.max(axis=(1, 2), keepdims=True)
    found = found / jnp.where(largest > 0, largest, 1.0)
    return jax.image.resize(found, x.shape[:3], "bilinear")
