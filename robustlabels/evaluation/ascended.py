"""The losses that attacks ascend, by the names that records know them by."""

from collections.abc import Callable, Iterable

import jax
import numpy as np
from jaxtyping import Int32

from robustlabels import _validate
from robustlabels.attacks import targeted
from robustlabels.data import Split
from robustlabels.objective import Classifier

__all__ = [
    "LOSSES",
    "ROWS",
    "STAGES",
    "check_losses",
    "loss_of",
    "num_classes",
    "random_others",
]

_TARGET_SEED = 444  # as in the code of Chen et al. (2021), of another generator


LOSSES: dict[str, Callable[[Classifier], Callable]] = {
    "own": lambda classifier: classifier.loss,
    "margin": lambda classifier: classifier.margin,
    "cross_entropy": lambda classifier: classifier.cross_entropy,
    "dlr": lambda classifier: classifier.dlr,
}
STAGES = ("apgd-ce", "apgd-t", "fab-t", "square", "apgd-own", "apgd-margin")
# In the order of tables; the stages are of an ensemble, and noise follows none.
ROWS = (*LOSSES, *STAGES, "worst", "none")


def check_losses(names: Iterable[str]) -> None:
    """Raises unless the names are of losses, each there once, with the margin.

    Raises:
      ValueError: naming what is unknown or missing.

    >>> check_losses(["own"])
    Traceback (most recent call last):
    ValueError: losses=('own',) lacks 'margin': without an attack on the decision \
itself an accuracy says little.
    """
    names = tuple(names)
    for name in names:
        _validate.one_of(LOSSES, loss=name)
    if len(set(names)) < len(names):
        raise ValueError(f"losses={names} names a loss twice.")
    if "margin" not in names:
        raise ValueError(
            f"losses={names} lacks 'margin': without an attack on the decision itself "
            "an accuracy says little."
        )


def loss_of(loss: str, *, is_targeted: bool) -> Callable[[Classifier], Callable]:
    """What an attack ascends: (classifier) -> (x, y) -> [batch].

    Args:
      loss: a name of `LOSSES`; the own loss for "none", which nothing follows.
      is_targeted: whether the loss leads towards the class ids it is given.
    """
    made = LOSSES.get(loss, LOSSES["own"])
    if not is_targeted:
        return made
    return lambda classifier: targeted(made(classifier))


def num_classes(classifier: Classifier, split: Split) -> int:
    """How many classes a classifier decides between.

    Args:
      classifier: any.
      split: gives the shape of an image.
    """
    image = jax.ShapeDtypeStruct((1, *split.images.shape[1:]), np.float32)
    return jax.eval_shape(lambda c, x: c.scores(x), classifier, image).shape[-1]


def random_others(
    labels: Int32[np.ndarray, " n"], num_classes: int
) -> Int32[np.ndarray, " n"]:
    """Another class for each example, for attacks towards a class.

    Args:
      labels: class ids.
      num_classes: at least 2.

    Guarantees: each other class is as likely; the same ones for every classifier, and
    those of the first examples whatever follows.

    >>> random_others(np.zeros(4, np.int32), 2)
    array([1, 1, 1, 1], dtype=int32)
    """
    rng = np.random.default_rng(_TARGET_SEED)
    steps = rng.integers(1, num_classes, len(labels), dtype=np.int32)
    return (labels + steps) % np.int32(num_classes)
