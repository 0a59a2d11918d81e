"""What a matrix may ask of a model that another run has trained."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from robustlabels.data import Dataset, Split, as_float, filled_batches
from robustlabels.objective import Classifier

__all__ = [
    "Restore",
    "Trained",
    "activations",
    "probabilities",
    "restored",
]


class Trained(NamedTuple):
    """The best model of a run: of its first seed, if it has several.

    Attributes:
      model: images to (outputs, activations).
      classifier: the same with its decision.
      class_names: that it tells apart.
    """

    model: nnx.Module
    classifier: Classifier
    class_names: tuple[str, ...]


Restore = Callable[[str], Trained]


def restored(restore: Restore, run: str, dataset: Dataset) -> Trained:
    """The trained model of a run.

    Args:
      restore: the folder of a run to its model.
      run: the folder.
      dataset: that the model has to go with.

    Raises:
      ValueError: if no run is named, or it tells other classes apart.
    """
    if not run:
        raise ValueError("run='' names no run: give the folder of a trained one.")
    trained = restore(run)
    if trained.class_names != dataset.class_names:
        raise ValueError(
            f"run={run} tells {len(trained.class_names)} classes apart that are not "
            f"those of {dataset.name}: name a run on the same classes."
        )
    return trained


def activations(
    model: Any, split: Split, layer: str, *, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A layer's output for all examples, in batches, and their places in the split.

    Args:
      model: images to (outputs, activations), as in evaluation.
      split: images.
      layer: a name among the activations.
      batch_size: examples a batch.

    Raises:
      ValueError: for an unknown layer; it lists those there are.
    """
    graphdef, state = nnx.split(model)

    @jax.jit
    def layers(state, images):
        return nnx.merge(graphdef, state, copy=True)(as_float(images))[1]

    shape = jax.eval_shape(layers, state, jnp.asarray(split.images[:1]))
    if layer not in shape:
        raise ValueError(
            f"layer={layer!r} is not in this model; choose one of {', '.join(shape)}."
        )
    index, counts = filled_batches(np.arange(len(split.labels)), batch_size)
    for places, count in zip(index, counts, strict=True):
        output = layers(state, jnp.asarray(split.images[places]))[layer]
        yield np.asarray(output, np.float32)[count], places[count]


def probabilities(
    classifier: Classifier, split: Split, *, batch_size: int
) -> np.ndarray:
    """[n, classes], the softmax of a classifier's scores for all examples."""

    @jax.jit
    def says(classifier, images):
        return jax.nn.softmax(classifier.scores(as_float(images)), axis=-1)

    index, counts = filled_batches(np.arange(len(split.labels)), batch_size)
    parts = [
        np.asarray(says(classifier, jnp.asarray(split.images[places])))[count]
        for places, count in zip(index, counts, strict=True)
    ]
    return np.concatenate(parts)
