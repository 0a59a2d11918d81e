"""A small data set, and networks that learn it in no time."""

import functools

from flax import nnx

from robustlabels import data, models

dataset = data.load(
    "fake",
    num_examples=60,
    num_classes=3,
    image_shape=(4, 4, 1),
    validation_fraction=0.25,
)


@functools.cache
def build(widths=(6,), head=models.Softmax, seed=0, **kw):
    """A network for the data set, an MLP and a head; nobody may change it."""
    rngs = nnx.Rngs(seed)
    return models.Network(
        models.MLP((4, 4, 1), widths=widths, rngs=rngs, **kw),
        head(widths[-1], dataset.num_classes, rngs=rngs),
        mean=dataset.mean.tolist(),
        std=dataset.std.tolist(),
    )
