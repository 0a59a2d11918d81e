"""How sure a classifier is: of its data, of noise, and of images made to fool it.

Every measurement is one compile a mesh and a shape: classifiers of one structure, such
as replicas of a run with other weights, share it. Neither the batch size nor the number
of devices changes a result.
"""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from robustlabels import _validate, attacks, parallel
from robustlabels._stopping import Stop, never
from robustlabels.data import Split, as_float
from robustlabels.evaluation import calibration
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.records import Finding, interval, provenance
from robustlabels.objective import Classifier

__all__ = ["answering", "clean", "fooling", "noise"]

_MOST_EXAMPLES = 10
_TOP = (1, 3, 5)


def clean(
    classifier: Classifier,
    split: Split,
    *,
    class_names: Sequence[str],
    identity: Mapping[str, Any],
    split_name: str = "test",
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, dict[str, np.ndarray]]:
    """Accuracy, calibration and confusion of a split.

    Args:
      classifier: what is measured, a pytree of arrays.
      split: images and class ids.
      class_names: one name a class id.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split.
      mesh: from `parallel.make_mesh`.
      batch_size: examples a call.
      stop: asked before each batch.

    Returns:
      The finding, and of each example whether it is decided correctly, `right`, its
      `confidence` and its `negative_log_likelihood`.

    Raises:
      ValueError: for an empty split, and for confidences that are NaN.
      Stopped: when asked to stop.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: x[:, 0, 0])
    >>> images = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32).reshape(2, 1, 1, 2)
    >>> finding, arrays = clean(
    ...     model,
    ...     Split(images, np.array([0, 0], np.int32)),
    ...     class_names=["cat", "dog"],
    ...     identity={},
    ...     mesh=parallel.make_mesh(),
    ... )
    >>> print(arrays["right"], finding.values["confusion"])
    [ True False] [[1, 1], [0, 0]]
    """
    began = time.monotonic()
    answers = batchwise(
        answering(mesh),
        classifier,
        len(split.labels),
        lambda index: (as_float(split.images[index]),),
        what="deciding",
        mesh=mesh,
        batch_size=batch_size,
        stop=stop,
    )
    scores, confidence = answers["scores"], answers["confidence"]
    decisions = np.argmax(scores, axis=1)
    right = decisions == split.labels
    accuracy, low, high = interval(right)
    likelihoods = calibration.negative_log_likelihoods(scores, split.labels)
    diagram = calibration.reliability(confidence, right)
    num_classes = scores.shape[1]
    values = {
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "top_k": {
            str(k): calibration.top_k_accuracy(scores, split.labels, k=k)
            for k in _TOP
            if k < num_classes
        },
        "expected_calibration_error": calibration.expected_calibration_error(
            confidence, right
        ),
        "negative_log_likelihood": float(likelihoods.mean()),
        "brier_score": calibration.brier_score(scores, split.labels),
        "reliability": {
            "edges": diagram.edges.tolist(),
            "counts": diagram.counts.tolist(),
            "confidence": _none_for_nan(diagram.confidence),
            "accuracy": _none_for_nan(diagram.accuracy),
        },
        "confusion": calibration.confusion(
            decisions, split.labels, num_classes=num_classes
        ).tolist(),
        "class_names": list(class_names),
    }
    finding = Finding(
        kind="clean",
        classifier=dict(identity),
        split=split_name,
        parameters={},
        n=len(right),
        values=values | calibration.spread(confidence),
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
    )
    return finding, {
        "right": right,
        "confidence": confidence,
        "negative_log_likelihood": likelihoods.astype(np.float32),
    }


def noise(
    classifier: Classifier,
    shape: Sequence[int],
    *,
    key: Key[Array, ""],
    identity: Mapping[str, Any],
    split_name: str = "test",
    num_images: int = 10_000,
    low: float = -10.0,
    high: float = 10.0,
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, dict[str, np.ndarray]]:
    """Confidence in images of uniform noise, far from all data.

    Args:
      classifier: what is measured, a pytree of arrays.
      shape: of one image.
      key: image i is drawn from it, folded with i.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split whose images have this shape.
      num_images: how many.
      low: smallest value of a pixel.
      high: largest value of a pixel.
      mesh: from `parallel.make_mesh`.
      batch_size: images a call.
      stop: asked before each batch.

    Returns:
      The finding, and the `confidence` in each image.

    Raises:
      ValueError: for a range that is empty, and for confidences that are NaN.
      Stopped: when asked to stop.

    >>> from robustlabels import objective
    >>> model = objective.bind(objective.softmax().at({}, 1.0), lambda x: x[:, 0, 0])
    >>> finding, _ = noise(
    ...     model,
    ...     (1, 1, 2),
    ...     key=jax.random.key(0),
    ...     identity={},
    ...     num_images=100,
    ...     mesh=parallel.make_mesh(),
    ... )
    >>> print(round(finding.values["median_confidence"], 1))
    1.0
    """
    began = time.monotonic()
    _validate.count(num_images=num_images)
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"low={low} and high={high} are no range: write -10 and 10.")
    answers = batchwise(
        _answering_noise(mesh, tuple(shape), low, high),
        (classifier, key),
        num_images,
        lambda index: (index,),
        what="deciding noise",
        mesh=mesh,
        batch_size=batch_size,
        stop=stop,
    )
    decisions = np.argmax(answers["scores"], axis=1)
    num_classes = answers["scores"].shape[1]
    values = {"decisions": np.bincount(decisions, minlength=num_classes).tolist()}
    finding = Finding(
        kind="noise",
        classifier=dict(identity),
        split=split_name,
        parameters={"low": low, "high": high},
        n=num_images,
        values=values | calibration.spread(answers["confidence"]),
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
    )
    return finding, {"confidence": answers["confidence"]}


def fooling(
    classifier: Classifier,
    shape: Sequence[int],
    *,
    key: Key[Array, ""],
    identity: Mapping[str, Any],
    split_name: str = "test",
    num_images: int = 100,
    confidence: float = 0.99,
    num_steps: int = 100,
    step_size: float = 0.5,
    mesh: Mesh,
    batch_size: int = 1000,
    stop: Stop = never,
) -> tuple[Finding, dict[str, np.ndarray]]:
    """`attacks.fooling` from uniform noise in [0, 1], towards every class in turn.

    Args:
      classifier: what is measured, a pytree of arrays; its own loss is descended.
      shape: of one image.
      key: image i is drawn from it, folded with i.
      identity: what the finding says of the classifier.
      split_name: what the finding says of the split whose images have this shape.
      num_images: how many.
      confidence: what has to be exceeded, in [0, 1].
      num_steps: the most steps.
      step_size: length of a step in L2, in pixels.
      mesh: from `parallel.make_mesh`.
      batch_size: images a call.
      stop: asked before each batch.

    Returns:
      The finding, and the first images with their targets, decisions, confidences,
      steps and success.

    Raises:
      ValueError: for a value that `attacks.fooling` refuses, and for confidences that
        are NaN.
      Stopped: when asked to stop.

    >>> from robustlabels import objective
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> model = objective.bind(softmax, lambda x: 9 * x[:, 0, 0])
    >>> finding, images = fooling(
    ...     model,
    ...     (1, 1, 2),
    ...     key=jax.random.key(0),
    ...     identity={},
    ...     num_images=5,
    ...     mesh=parallel.make_mesh(),
    ... )
    >>> print(finding.values["success"], images["targets"])
    1.0 [0 1 0 1 0]
    """
    began = time.monotonic()
    _validate.count(num_images=num_images)
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    num_classes = jax.eval_shape(classifier.scores, image).shape[-1]
    answers = batchwise(
        _fooling(mesh, tuple(shape), confidence, num_steps, step_size),
        (classifier, key),
        num_images,
        lambda index: (index, index % np.int32(num_classes)),
        what="fooling",
        mesh=mesh,
        batch_size=batch_size,
        stop=stop,
    )
    success, steps = answers["success"], answers["steps"]
    share, low, high = interval(success)
    values = {
        "success": share,
        "low": low,
        "high": high,
        "median_steps": float(np.median(steps[success])) if success.any() else None,
    }
    finding = Finding(
        kind="fooling",
        classifier=dict(identity),
        split=split_name,
        parameters={
            "confidence": confidence,
            "num_steps": num_steps,
            "step_size": step_size,
        },
        n=num_images,
        values=values | calibration.spread(answers["confidences"]),
        images=None,
        seconds=time.monotonic() - began,
        provenance=provenance(),
    )
    return finding, {name: array[:_MOST_EXAMPLES] for name, array in answers.items()}


@functools.cache
def answering(mesh: Mesh) -> Callable:
    """(classifier, images) -> "scores" and "confidence", for `batchwise`."""
    return jax.jit(parallel.per_example(_answers, mesh))


@functools.cache
def _answering_noise(
    mesh: Mesh, shape: tuple[int, ...], low: float, high: float
) -> Callable:
    def answer(shared, index):
        classifier, key = shared
        return _answers(classifier, _uniform(key, index, shape, low, high))

    return jax.jit(parallel.per_example(answer, mesh))


@functools.cache
def _fooling(
    mesh: Mesh,
    shape: tuple[int, ...],
    confidence: float,
    num_steps: int,
    step_size: float,
) -> Callable:
    def fool(shared, index, targets):
        classifier, key = shared
        fooled = attacks.fooling(
            classifier.loss,
            classifier.scores,
            classifier.confidence,
            _uniform(key, index, shape, 0.0, 1.0),
            targets,
            confidence=confidence,
            num_steps=num_steps,
            step_size=step_size,
        )
        answers = _answers(classifier, fooled.x)
        return {
            "images": fooled.x,
            "targets": targets,
            "decisions": jnp.argmax(answers["scores"], axis=-1).astype(jnp.int32),
            "confidences": answers["confidence"],
            "steps": fooled.steps,
            "success": fooled.success,
        }

    return jax.jit(parallel.per_example(fool, mesh))


def _answers(classifier: Classifier, x: Array) -> dict[str, Array]:
    answers = {"scores": classifier.scores(x), "confidence": classifier.confidence(x)}
    return {name: array.astype(jnp.float32) for name, array in answers.items()}


def _uniform(
    key: Array, index: Array, shape: tuple[int, ...], low: float, high: float
) -> Array:
    """An image an index, each from a key of its own."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
    draw = functools.partial(jax.random.uniform, shape=shape, minval=low, maxval=high)
    return jax.vmap(draw)(keys)


def _none_for_nan(values: Float[np.ndarray, " bins"]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
