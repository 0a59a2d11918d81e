"""The smallest of some entries, with a derivative that is fast and right."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

__all__ = ["smallest"]


@jax.custom_jvp
def smallest(
    values: Float[Array, "*batch entries"], candidates: Bool[Array, "*batch entries"]
) -> Float[Array, "*batch"]:
    """Smallest entry of each row among the candidates; infinity where there is none.

    The value of `jnp.min`, but of equals the first takes the whole derivative, which
    costs a third of `jnp.min`'s. It also is right where that can be wrong: on CPU, XLA
    may compute `values` twice with different rounding, once for the minimum and once
    for the comparison with it, and then no entry equals the minimum. Here both read
    one array.

    Args:
      values: what is compared.
      candidates: which entries count.

    >>> print(smallest(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[False, True, True]])))
    [2.]
    """
    return jnp.min(values, axis=-1, where=candidates, initial=jnp.inf)


@smallest.defjvp
def _smallest_jvp(primals, tangents):
    values, candidates = primals
    values = jax.lax.optimization_barrier(jnp.where(candidates, values, jnp.inf))
    least = jnp.min(values, axis=-1)
    # Floats, exact up to 2**24, because XLA:CPU is slow at minima of integers.
    column = jax.lax.broadcasted_iota(jnp.float32, values.shape, values.ndim - 1)
    hit = values == least[..., None]
    index = jnp.min(column, axis=-1, where=hit, initial=values.shape[-1] - 1)
    index = index.astype(jnp.int32)[..., None]
    return least, jnp.take_along_axis(tangents[0], index, axis=-1)[..., 0]
