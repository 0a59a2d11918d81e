"""Embeddings of a whole split, as prototypes are initialised from them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float32

from robustlabels.data import Split, as_float, filled_batches
from robustlabels.models import Network

__all__ = ["embeddings"]


def embeddings(
    model: Network, split: Split, *, batch_size: int = 1000
) -> Float32[np.ndarray, " examples features"]:
    """Embeddings with batch statistics; the model is left as it is.

    Before training the running averages of batch normalisation know nothing yet, so
    each batch is normalised by itself; the last one is filled up from the start.

    Args:
      model: its encoder is used.
      split: images.
      batch_size: examples a call.

    Raises:
      ValueError: for a batch size below 1, or an empty split.
    """
    graphdef, state = nnx.split(model)

    @jax.jit
    def embed(state, images):
        merged = nnx.merge(graphdef, state, copy=True)
        return merged.embed(jnp.asarray(as_float(images)), train=True)

    size = len(split.labels)
    index, _ = filled_batches(np.arange(size), batch_size)
    parts = [np.asarray(embed(state, jnp.asarray(split.images[i]))) for i in index]
    return np.concatenate(parts)[:size]
