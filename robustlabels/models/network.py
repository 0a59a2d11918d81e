"""The model that is trained and attacked: normalisation, encoder, head."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float32

from robustlabels.models.encoders import Activations, Encoder
from robustlabels.models.heads import Head
from robustlabels.models.layers import Normalize


class Network(nnx.Module):
    """Images in [0, 1] to outputs, with every named layer on the way.

    Args:
      encoder: images to embeddings, such as `MLP`.
      head: embeddings to outputs, such as `Softmax`.
      mean: one number per channel that is subtracted from the pixels.
      std: one number per channel that the difference is divided by.

    Raises:
      ValueError: if the head takes embeddings of another size than the encoder gives,
        or `mean` or `std` has another number of entries than the image has channels.

    Guarantees:
      - outputs are float32 whatever the encoder computes in;
      - only `mean`, `std` and the statistics of batch normalisation are no parameters,
        and only the latter change, only with `train=True`;
      - the static half of `nnx.split` is hashable and is the same for every seed.

    >>> from robustlabels.models import MLP, Softmax
    >>> rngs = nnx.Rngs(0)
    >>> encoder = MLP((28, 28, 1), widths=(50, 20), rngs=rngs)
    >>> model = Network(encoder, Softmax(20, 10, rngs=rngs), mean=(0.1,), std=(0.3,))
    >>> outputs, activations = model(jnp.zeros((4, 28, 28, 1)))
    >>> outputs.shape, list(activations)
    ((4, 10), ['dense_1', 'dense_2', 'embedding'])
    """

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        *,
        mean: Sequence[float],
        std: Sequence[float],
    ):
        if encoder.out_features != head.in_features:
            raise ValueError(
                f"the encoder gives {encoder.out_features} features and the head takes "
                f"{head.in_features}; build the head with "
                f"in_features={encoder.out_features}."
            )
        channels = encoder.image_shape[-1]
        if len(mean) != channels:
            raise ValueError(
                f"mean={tuple(mean)} has {len(mean)} entries, the image has {channels} "
                "channels; give one number per channel."
            )
        self.normalize = Normalize(mean, std)
        self.encoder = encoder
        self.head = head

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        state = nnx.state(self, nnx.Param)
        return sum(leaf.size for leaf in jax.tree.leaves(state))

    def __call__(
        self,
        x: Float32[Array, " batch height width channels"],
        *,
        train: bool = False,
    ) -> tuple[Float32[Array, " batch *outputs"], Activations]:
        """Outputs of a batch of images, and the layers by name.

        Args:
          x: images in [0, 1], of the encoder's `image_shape`.
          train: whether batch statistics are used, and their averages updated.

        Raises:
          ValueError: for images of another shape.
        """
        if x.shape[1:] != self.encoder.image_shape:
            raise ValueError(
                f"x holds images of shape {x.shape[1:]}, and this model takes "
                f"{self.encoder.image_shape} (height, width, channels); resize the "
                "images or build the encoder with their shape."
            )
        embedding, activations = self.encoder(self.normalize(x), train=train)
        embedding = embedding.astype(jnp.float32)
        activations = Activations(activations, embedding=embedding)
        return self.head(embedding, train=train), activations

    def embed(
        self,
        x: Float32[Array, " batch height width channels"],
        *,
        train: bool = False,
    ) -> Float32[Array, " batch features"]:
        """The encoder's output in float32; arguments and errors as in the call."""
        return self(x, train=train)[1]["embedding"]
