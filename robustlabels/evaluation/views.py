"""What a net looks like from inside: its outputs, where it looks, its features."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from robustlabels import analysis, parallel
from robustlabels._stopping import Stop, never
from robustlabels.data import Split, as_float
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.records import Finding, provenance
from robustlabels.objective import Classifier, Objective

__all__ = ["features", "has_maps", "outputs", "saliency"]

_DEPTHS = 3
_PERPLEXITY = 30.0

Images = dict[str, np.ndarray]
Predict = Callable[[Any], tuple[Any, Mapping[str, Any]]]


def outputs(
    predict: Predict,
    classifier: Classifier,
    split: Split,
    *,
    threshold: float = 3.5,
    shown: int = 8,
    identity: Mapping[str, Any],
    split_name: str = "test",
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, Images]:
    """Arrays that a net predicts, and how many are accepted as what they should be.

    Accepted is an output with a loss below a threshold, the second rule of Chen et al.
    (2021), `losses.accepted`; it asks nothing of the other labels.

    Args:
      predict: images -> (outputs, activations by name).
      classifier: of the same net, whose loss is that of label arrays.
      split: images and class ids.
      threshold: in units of the loss.
      shown: examples of which the outputs are kept: the first ones.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.
      mesh: from `parallel.make_mesh`.
      batch_size: examples a call.
      stop: asked before each batch.

    Raises:
      ValueError: for an empty split.
      Stopped: when asked to stop.

    >>> from robustlabels import objective
    >>> def predict(x):
    ...     return x.reshape(len(x), -1), {}
    >>> regression = objective.label_regression(np.eye(2, dtype=np.float32))
    >>> classifier = objective.bind(
    ...     regression.at({}, 1.0), lambda x: predict(x)[0]
    ... )
    >>> images = np.eye(2, dtype=np.float32).reshape(2, 1, 2, 1)
    >>> split = Split(images, np.array([0, 0], np.int32))
    >>> finding, arrays = outputs(
    ...     predict, classifier, split, identity={}, mesh=parallel.make_mesh()
    ... )
    >>> print(finding.values["mean_loss"], arrays["decisions"])
    0.25 [0 1]
    """
    began = time.monotonic()
    answers = batchwise(
        _answering(mesh),
        classifier,
        len(split.labels),
        lambda index: (as_float(split.images[index]), split.labels[index]),
        what="comparing outputs",
        mesh=mesh,
        batch_size=batch_size,
        stop=stop,
    )
    loss, decisions = answers["loss"], answers["decision"]
    accepted = loss < threshold
    first = np.arange(min(shown, len(split.labels)))
    images = as_float(split.images[first])
    given, _ = jax.jit(predict)(jnp.asarray(images))
    finding = _finding(
        "outputs",
        identity,
        split_name,
        began,
        n=len(split.labels),
        parameters={"threshold": threshold},
        values={
            "accepted": float(accepted.mean()),
            "accepted_and_right": float(
                (accepted & (decisions == split.labels)).mean()
            ),
            "mean_loss": float(loss.mean()),
        },
    )
    return finding, {
        "images": np.asarray(images),
        "labels": split.labels[first],
        "decisions": decisions[first],
        "losses": loss[first],
        "outputs": np.asarray(given),
    }


@functools.cache
def _answering(mesh: Mesh) -> Callable:
    def answer(classifier, images, labels):
        decision = jnp.argmax(classifier.scores(images), axis=-1)
        return {"loss": classifier.loss(images, labels), "decision": decision}

    return jax.jit(parallel.per_example(answer, mesh))


def saliency(
    predict: Predict,
    objective: Objective,
    split: Split,
    *,
    shown: int = 8,
    identity: Mapping[str, Any],
    split_name: str = "test",
) -> tuple[Finding, Images]:
    """Grad-CAM of the decisions on the first examples, at three depths of a net.

    Args:
      predict: as of `outputs`, not jitted.
      objective: gives the scores.
      split: images and class ids.
      shown: examples.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.

    Raises:
      ValueError: for a net without activations that have rows, columns and channels.

    >>> from robustlabels import objective
    >>> def predict(x):
    ...     return x.mean(axis=(1, 2)), {"pixels": x}
    >>> images = np.array([[0.0, 1.0], [0.0, 0.5]], np.float32).reshape(1, 2, 2, 1)
    >>> split = Split(images.repeat(2, axis=-1), np.array([0], np.int32))
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> finding, arrays = saliency(predict, softmax, split, identity={})
    >>> print(finding.values["layers"], arrays["maps"][0, 0].tolist())
    ['pixels'] [[0.0, 1.0], [0.0, 0.5]]
    """
    began = time.monotonic()
    first = np.arange(min(shown, len(split.labels)))
    images = jnp.asarray(as_float(split.images[first]))
    given, activations = jax.jit(predict)(images)
    decisions = jnp.argmax(objective.scores(given), axis=-1)
    layers = depths({name: x.shape for name, x in activations.items()})
    if not layers:
        raise ValueError(
            "no activation of the net has rows, columns and channels, and Grad-CAM "
            "needs them: choose a net with convolutions."
        )
    maps = [
        analysis.grad_cam(predict, objective.scores, images, decisions, layer=layer)
        for layer in layers
    ]
    finding = _finding(
        "saliency",
        identity,
        split_name,
        began,
        n=len(first),
        parameters={},
        values={"layers": layers},
    )
    return finding, {
        "images": np.asarray(images),
        "labels": split.labels[first],
        "decisions": np.asarray(decisions),
        "maps": np.stack([np.asarray(each) for each in maps]),
    }


def has_maps(predict: Predict, split: Split) -> bool:
    """Whether a net names an activation that `saliency` can use.

    Args:
      predict: as of `saliency`.
      split: images.

    >>> split = Split(np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int32))
    >>> has_maps(lambda x: (x, {"pixels": x}), split)
    True
    """
    image = jnp.asarray(as_float(split.images[np.arange(1)]))
    _, activations = jax.eval_shape(predict, image)
    return bool(depths({name: x.shape for name, x in activations.items()}))


def depths(shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The layers at a third, two thirds and the end of those that have channels.

    Args:
      shapes: of the activations by name, in the order of the net.

    >>> depths({"a": (1, 8, 8, 4), "b": (1, 4, 4, 8), "embedding": (1, 8)})
    ['a', 'b']
    """
    names = [name for name, shape in shapes.items() if len(shape) == 4]
    ends = {-(-len(names) * i // _DEPTHS) for i in range(1, _DEPTHS + 1)}
    return [names[end - 1] for end in sorted(ends) if end]


def features(
    snapshots: Sequence[tuple[int, Float[np.ndarray, "n features"]]],
    labels: Int[np.ndarray, " n"],
    *,
    identity: Mapping[str, Any],
    split_name: str = "validation",
) -> tuple[Finding, Images]:
    """Embeddings in two dimensions, by t-SNE, at moments of training.

    Args:
      snapshots: epochs, and embeddings of the same images after each of them.
      labels: of the images.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.

    >>> same = np.ones((3, 4), np.float32)
    >>> finding, arrays = features([(0, same)], np.array([0, 1, 2]), identity={})
    >>> print(finding.values, arrays["points"].shape)
    {'epochs': [0]} (1, 3, 2)
    """
    began = time.monotonic()
    points = [_in_two_dimensions(embeddings) for _, embeddings in snapshots]
    epochs = [epoch for epoch, _ in snapshots]
    finding = _finding(
        "features",
        identity,
        split_name,
        began,
        n=len(labels),
        parameters={"method": "t-SNE", "perplexity": _PERPLEXITY},
        values={"epochs": epochs},
    )
    return finding, {
        "epochs": np.array(epochs),
        "points": np.stack(points),
        "labels": np.asarray(labels),
    }


def _in_two_dimensions(
    features: Float[np.ndarray, "n features"],
) -> Float[np.ndarray, "n 2"]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if not np.ptp(features, axis=0).any():  # the same for every image
        return np.zeros((len(features), 2), np.float32)
    perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
    projection = TSNE(perplexity=perplexity, init="pca", random_state=0)
    with threadpool_limits(limits=1):  # threads that wait for each other cost more
        return projection.fit_transform(features).astype(np.float32)


def _finding(
    kind: str, identity: Mapping[str, Any], split_name: str, began: float, **rest: Any
) -> Finding:
    """A finding that was begun at a time; its images come when it is written."""
    return Finding(
        kind=kind,
        classifier=dict(identity),
        split=split_name,
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
        **rest,
    )
