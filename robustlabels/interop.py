"""For users of Foolbox and ART: our attacks in their shape, our models as theirs."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from robustlabels import attacks
from robustlabels.attacks.geometry import into_ball_and_box, per_image
from robustlabels.evaluation import LOSSES, Attack
from robustlabels.objective import Classifier

__all__ = ["call", "to_art", "to_foolbox"]


def call(
    attack: Attack,
    classifier: Classifier,
    x: Float[Array | np.ndarray, "batch ..."],
    y: Int[Array | np.ndarray, " batch"],
    *,
    epsilons: Sequence[float] | float | None,
    loss: str = "own",
    key: Key[Array, ""] | None = None,
) -> tuple[Any, Any, Array]:
    """An attack as Foolbox calls it: raw images, clipped images, and who is fooled.

    Args:
      attack: from `evaluation.budgets`; it is compiled once for all epsilons.
      classifier: what is attacked.
      x: images in [0, 1].
      y: class ids.
      epsilons: a number, a list, or None for what a search for the nearest image finds.
      loss: a name of `evaluation.LOSSES`, for attacks that follow one.
      key: of random attacks; example i uses it folded with i.

    Returns:
      Of one epsilon or None, arrays (raw, clipped, is_adv [batch]); of a list, two
      lists of arrays and is_adv [epsilons, batch]. Raw images of a search are the
      nearest ones, and clipped ones are brought into the ball of each epsilon.

    Raises:
      ValueError: for None with an attack within a ball, and for what it refuses.

    >>> from robustlabels import objective
    >>> from robustlabels.evaluation import budgets
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> classifier = objective.bind(softmax, lambda x: x)
    >>> x, y = jnp.array([[0.6, 0.4], [0.9, 0.1]]), jnp.array([0, 0])
    >>> raw, clipped, is_adv = call(
    ...     budgets.fgsm(), classifier, x, y, epsilons=[0.2, 0.5]
    ... )
    >>> print(is_adv)
    [[ True False]
     [ True  True]]
    """
    x, y = jnp.asarray(x), jnp.asarray(y, jnp.int32)
    key = jax.random.key(0) if key is None else key
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(x)))
    loss_fn = LOSSES[loss](classifier)
    if attack.targeted:
        loss_fn = attacks.targeted(loss_fn)
    if epsilons is None and attack.minimum is None:
        raise ValueError(
            "epsilons=None is for searches for the nearest image, such as "
            "budgets.minimum_distortion(); give this attack a number."
        )

    @jax.jit
    def attacked(epsilon):
        return attack(
            loss_fn, x, y, epsilon=epsilon, key=keys, scores_fn=classifier.scores
        )

    @jax.jit
    def fooled(images):
        return jnp.argmax(classifier.scores(images), axis=-1) != y

    if epsilons is None:
        raw = attacked(0.0)
        return raw, raw, fooled(raw)
    several = np.atleast_1d(np.asarray(epsilons, np.float32))
    if attack.minimum is None:
        raws = clipped = [attacked(epsilon) for epsilon in several]
    else:
        raws = [attacked(0.0)] * len(several)
        clipped = [
            into_ball_and_box(
                raws[0],
                x,
                per_image(epsilon, x, name="epsilon"),
                norm=attack.minimum,
                bounds=(0.0, 1.0),
            )
            for epsilon in several
        ]
    is_adv = jnp.stack([fooled(images) for images in clipped])
    if np.ndim(epsilons) == 0:
        return raws[0], clipped[0], is_adv[0]
    return raws, clipped, is_adv


def to_foolbox(classifier: Classifier) -> Any:
    """A Foolbox model, whose logits are the scores; needs the package `foolbox`.

    Args:
      classifier: of images in [0, 1].

    Raises:
      ImportError: without Foolbox.
    """
    try:
        import foolbox
    except ImportError as error:
        raise ImportError("to_foolbox needs Foolbox: pip install foolbox.") from error
    return foolbox.JAXModel(jax.jit(classifier.scores), bounds=(0, 1))


def to_art(classifier: Classifier, image_shape: Sequence[int], *, loss: str = "own"):
    """An ART classifier; needs the package `adversarial-robustness-toolbox`.

    Args:
      classifier: of images in [0, 1].
      image_shape: (height, width, channels).
      loss: a name of `evaluation.LOSSES`, which attacks of ART ascend.

    Raises:
      ImportError: without ART.
    """
    try:
        # pyrefly: ignore[missing-import]
        from art.experimental.estimators.classification.jax import JaxClassifier
    except ImportError as error:
        raise ImportError(
            "to_art needs ART: pip install adversarial-robustness-toolbox."
        ) from error
    image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    scores = jax.jit(classifier.scores)
    loss_fn = jax.jit(LOSSES[loss](classifier))
    return JaxClassifier(
        model=[],
        predict_func=lambda model, x: np.asarray(scores(x)),
        loss_func=lambda model, x, y: jnp.sum(loss_fn(x, jnp.argmax(y, axis=-1))),
        update_func=lambda model, x, y: model,
        input_shape=tuple(image_shape),
        nb_classes=jax.eval_shape(classifier.scores, image).shape[-1],
        clip_values=(0.0, 1.0),
    )
