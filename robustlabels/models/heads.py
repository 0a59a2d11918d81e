"""Heads: embeddings to what an objective takes: logits, distances or labels.

A head is an NNX module with `in_features` and a call
`head(embedding, train=False) -> outputs`.
"""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int32

from robustlabels import _validate
from robustlabels.losses import squared_distances
from robustlabels.models.label_decoder import LabelDecoder

__all__ = ["LabelDecoder", "Prototypes", "Softmax"]


@runtime_checkable
class Head(Protocol):
    """What a `Network` asks of its head."""

    in_features: int

    def __call__(
        self, embedding: Float[Array, " batch features"], *, train: bool = False
    ) -> Float32[Array, " batch *outputs"]:
        """Outputs of a batch of embeddings."""
        ...


class Softmax(nnx.Module):
    """One affine map to logits.

    Args:
      in_features: size of the embedding.
      num_classes: at least 2.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a size that is too small.

    >>> head = Softmax(20, 10, rngs=nnx.Rngs(0))
    >>> head(jnp.zeros((4, 20))).shape
    (4, 10)
    """

    def __init__(self, in_features: int, num_classes: int, *, rngs: nnx.Rngs):
        _validate.count(in_features=in_features)
        _validate.count(minimum=2, num_classes=num_classes)
        self.in_features = in_features
        self.num_classes = num_classes
        self.linear = nnx.Linear(in_features, num_classes, rngs=rngs)

    def __call__(
        self, embedding: Float[Array, " batch features"], *, train: bool = False
    ) -> Float32[Array, " batch classes"]:
        """Logits of a batch of embeddings; `train` changes nothing."""
        return self.linear(embedding.astype(jnp.float32))


class Prototypes(nnx.Module):
    """Squared Euclidean distances to learned prototypes.

    Deep LVQ, de Vries et al. (2016), equation 4. The prototypes are the parameter
    `prototypes`, [num_classes * per_class, in_features]: standard normal at first; set
    them from embeddings, `head.prototypes[...] = class_means(...)`, before training.

    Args:
      in_features: size of the embedding.
      num_classes: at least 2.
      per_class: prototypes of each class, at least 1.
      rngs: random keys; "params" is used.

    Raises:
      ValueError: for a size that is too small.

    >>> head = Prototypes(20, 3, per_class=2, rngs=nnx.Rngs(0))
    >>> head(jnp.zeros((4, 20))).shape
    (4, 6)
    >>> print(head.prototype_labels)
    [0 0 1 1 2 2]
    """

    def __init__(
        self, in_features: int, num_classes: int, *, per_class: int = 1, rngs: nnx.Rngs
    ):
        _validate.count(in_features=in_features, per_class=per_class)
        _validate.count(minimum=2, num_classes=num_classes)
        self.in_features = in_features
        self.num_classes = num_classes
        self.per_class = per_class
        shape = (num_classes * per_class, in_features)
        init = nnx.initializers.normal(1.0)
        self.prototypes = nnx.Param(init(rngs.params(), shape, jnp.float32))

    @property
    def prototype_labels(self) -> Int32[np.ndarray, " prototypes"]:
        """The class of each prototype."""
        return np.repeat(np.arange(self.num_classes, dtype=np.int32), self.per_class)

    def __call__(
        self, embedding: Float[Array, " batch features"], *, train: bool = False
    ) -> Float32[Array, " batch prototypes"]:
        """Squared distances of a batch of embeddings to every prototype.

        `train` changes nothing.
        """
        return squared_distances(embedding.astype(jnp.float32), self.prototypes[...])
