"""Checks of what is attacked, before a number is believed: sentences, or an error."""

from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from robustlabels.data import Rows, Split, as_float
from robustlabels.objective import Classifier

__all__ = [
    "epsilon_warnings",
    "image_warnings",
    "input_warnings",
    "repetition_warnings",
    "score_warnings",
]

_GREY_LEVEL = 1 / 255
Images = (
    UInt8[np.ndarray, "n h w c"] | Float[np.ndarray, "n h w c"] | UInt8[Rows, "n h w c"]
)


def input_warnings(
    classifier: Classifier,
    split: Split,
    epsilons: Mapping[str, float],
    *,
    num_examples: int = 1000,
) -> list[str]:
    """All warnings of this module: what makes numbers of these inputs doubtful.

    Args:
      classifier: what is attacked, a pytree of arrays.
      split: all of its images are checked.
      epsilons: as written to their values; may be empty.
      num_examples: of how many of the first images the scores are checked.

    Raises:
      ValueError: for pixels outside of [0, 1], and for scores that are NaN.

    >>> from robustlabels import objective
    >>> model = objective.bind(
    ...     objective.softmax().at({}, 1.0), lambda x: jax.nn.softmax(x[:, 0, 0])
    ... )
    >>> images = np.full((1, 1, 1, 2), 0.5, np.float32)
    >>> print(*input_warnings(model, Split(images, np.array([0], np.int32)), {}))
    The scores look like probabilities of a softmax: their gradients vanish where the \
classifier is sure. Give logits.
    """
    warnings = image_warnings(split.images)
    x = as_float(split.images[:num_examples])
    scores = np.asarray(_scores(classifier, x), np.float32)
    warnings += score_warnings(scores)
    again = np.asarray(_scores(classifier, x), np.float32)
    some = np.asarray(_scores(classifier, x[: (len(x) + 1) // 2]), np.float32)
    warnings += repetition_warnings(scores, again, some)
    return warnings + epsilon_warnings(split.images, epsilons)


@jax.jit
def _scores(classifier: Classifier, x: Array) -> Array:
    return classifier.scores(x)


def image_warnings(images: Images) -> list[str]:
    """A warning of images that are as good as black.

    Args:
      images: uint8 in 0..255, or floats in [0, 1].

    Raises:
      ValueError: for pixels outside of [0, 1], NaN included.

    >>> print(*image_warnings(np.ones((1, 2, 2, 1), np.uint8)))
    The largest pixel is 0.00392 on the scale [0, 1]: was it divided by 255 twice, or \
stored as uint8 in 0..1? Store uint8 in 0..255 or floats in [0, 1].
    """
    if isinstance(images, Rows):  # bytes, and the first of them speak for all
        images = images[:100]
    extremes = as_float(np.stack([images.min(), images.max()])).tolist()
    for pixel in extremes:
        if not -1e-6 <= pixel <= 1 + 1e-6:
            raise ValueError(
                f"a pixel is {pixel:g}, outside of [0, 1]. Divide bytes by 255, and "
                "leave normalisation to the model."
            )
    if extremes[1] > _GREY_LEVEL * (1 + 1e-6):
        return []
    return [
        f"The largest pixel is {extremes[1]:.3g} on the scale [0, 1]: was it divided "
        "by 255 twice, or stored as uint8 in 0..1? Store uint8 in 0..255 or floats in "
        "[0, 1]."
    ]


def score_warnings(scores: Float[np.ndarray, "n classes"]) -> list[str]:
    """A warning of scores that are probabilities.

    Args:
      scores: of some images.

    Raises:
      ValueError: for scores that are NaN.

    >>> score_warnings(np.array([[3.0, -1.0]]))
    []
    """
    bad = np.flatnonzero(np.isnan(scores).any(axis=1))
    if bad.size:
        raise ValueError(
            f"the scores of {len(bad)} of {len(scores)} images are NaN, the first of "
            f"image {bad[0]}. Did the training diverge? Lower the learning "
            "rate and train again."
        )
    sums = scores.sum(axis=1)
    if np.any(scores < 0) or np.any(np.abs(sums - 1) > 1e-3):
        return []
    return [
        "The scores look like probabilities of a softmax: their gradients vanish where "
        "the classifier is sure. Give logits."
    ]


def repetition_warnings(
    scores: Float[np.ndarray, "n classes"],
    again: Float[np.ndarray, "n classes"],
    some: Float[np.ndarray, "k classes"],
) -> list[str]:
    """A warning of scores that an image does not have on its own: AutoAttack's checks.

    Args:
      scores: of some images.
      again: of the same images, in another call.
      some: of the first of them without the others.

    >>> scores = np.array([[3.0, 1.0], [1.0, 2.0]])
    >>> repetition_warnings(scores, scores, scores[:1])
    []
    """
    slack = 1e-2 * np.ptp(scores, axis=1, keepdims=True) + 1e-6
    warnings = []
    if np.any(np.abs(again - scores) > slack):
        warnings.append(
            "The scores of an image differ from call to call: the classifier is "
            "random, and attacks that believe a gradient once are too weak. Average "
            "over its randomness, or fix its key."
        )
    elif np.any(np.abs(some - scores[: len(some)]) > slack[: len(some)]):
        warnings.append(
            "The scores of an image depend on the other images of its batch: is batch "
            "norm in training mode? Call eval() on the model first."
        )
    return warnings


def epsilon_warnings(images: Images, epsilons: Mapping[str, float]) -> list[str]:
    """A warning of epsilons that are too small to change a pixel of 8 bits.

    Args:
      images: uint8 in 0..255, or floats in [0, 1].
      epsilons: as written to their values.

    >>> print(*epsilon_warnings(np.zeros((1, 1, 1, 1), np.uint8), {"0.0003": 0.0003}))
    epsilon=0.0003 is less than one grey level, 1/255: was it divided by 255 twice? \
Write 8/255 for 8 grey levels.
    """
    written = max(epsilons, key=lambda name: epsilons[name], default="0")
    largest = epsilons.get(written, 0.0)
    if not 0 < largest < 0.5 * _GREY_LEVEL or not _are_of_8_bits(images):
        return []
    return [
        f"epsilon={written} is less than one grey level, 1/255: was it divided by 255 "
        "twice? Write 8/255 for 8 grey levels."
    ]


def _are_of_8_bits(images: Images) -> bool:
    """Whether the first images, which speak for all, are whole steps of 1/255."""
    if images.dtype == np.uint8:
        return True
    levels = images[:100] * 255
    return bool(np.all(np.abs(levels - np.round(levels)) < 1e-3))
