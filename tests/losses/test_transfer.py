"""Transfer functions against NumPy and their derivatives against closed forms."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robustlabels import losses

X = np.linspace(-1, 1, 11).astype(np.float32)


def logistic(x):
    return 1 / (1 + np.exp(-x))


CASES = {
    "identity": (losses.identity, {}, lambda x: x),
    "exponential": (losses.exponential, {"gamma": 2.0}, lambda x: np.exp(2 * x)),
    "sigmoid": (losses.sigmoid, {"beta": 10.0}, lambda x: logistic(10 * x)),
    "softplus": (losses.softplus, {"beta": 3.0}, lambda x: np.log1p(np.exp(3 * x))),
    "swish": (losses.swish, {"beta": 1.2}, lambda x: x * logistic(1.2 * x)),
}


@pytest.mark.parametrize(("phi", "bound", "expected"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
def test_values_match_numpy_and_increase(phi, bound, expected, transform):
    result = transform(lambda x: phi(x, **bound))(jnp.array(X))
    chex.assert_trees_all_close(result, expected(X).astype(np.float32), rtol=1e-5)
    assert np.all(np.diff(result) > 0)


@pytest.mark.parametrize("name", ["exponential", "sigmoid", "softplus", "swish"])
@pytest.mark.parametrize("slope", [0.0, -1.0])
def test_a_slope_that_is_not_positive_is_refused(name, slope):
    parameter = "gamma" if name == "exponential" else "beta"
    with pytest.raises(ValueError, match=f"{parameter}={slope} is outside"):
        getattr(losses, name)(jnp.array(X), **{parameter: slope})
