"""A small classifier of small images, and images it is partly right about."""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from robustlabels import data, objective


def outputs_of(w1, w2, x):
    return jnp.tanh(x.reshape(len(x), -1) @ w1) @ w2


rng = np.random.default_rng(0)
weights = [rng.normal(size=shape).astype(np.float32) for shape in ((16, 8), (8, 3))]
predict = Partial(outputs_of, *map(jnp.asarray, weights))
classifier = objective.bind(objective.softmax().at({}, 1.0), predict)


def with_functions(classifier, **functions):
    """The same functions of images, but for those that are given."""
    fields = {name: getattr(classifier, name) for name in objective.Objective._fields}
    of_images = objective.Objective(**(fields | functions))
    return objective.bind(of_images, as_they_are)


def as_they_are(x):
    return x


images = rng.integers(0, 256, (23, 4, 4, 1)).astype(np.uint8)
decisions = np.argmax(
    np.tanh(images.reshape(23, -1) / 255 @ weights[0]) @ weights[1], axis=1
)
# Right about all but every fifth.
labels = np.where(np.arange(23) % 5 == 4, (decisions + 1) % 3, decisions)
split = data.Split(images, labels.astype(np.int32))
batch = jnp.asarray(images / np.float32(255)), jnp.asarray(split.labels)
