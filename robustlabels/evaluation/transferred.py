"""Adversarial images of one classifier, fed to others: Szegedy et al. (2014)."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from robustlabels import parallel
from robustlabels._stopping import Stop, never
from robustlabels.attacks.nearest import root_mean_square
from robustlabels.data import Split, as_float
from robustlabels.evaluation._batchwise import batchwise
from robustlabels.evaluation.budgets import Attack
from robustlabels.evaluation.programs import correct, of_images, over
from robustlabels.objective import Classifier

__all__ = ["Transfer", "amplified", "craft", "noisy", "transfer_matrix"]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """Errors of every model on the images made for every model.

    Attributes:
      names: of the models, in the order of all rows and columns.
      n: number of images.
      clean: error of each model without any change.
      rms: mean over the images made for each model of the root mean square change.
      errors: by the size of the change, "as found" or a root mean square, a row for
        each model that images were made for, a column for each that they are fed to.
      noise: likewise of Gaussian noise, the error of each model.
    """

    names: tuple[str, ...]
    n: int
    clean: tuple[float, ...]
    rms: tuple[float, ...]
    errors: dict[str, list[list[float]]]
    noise: dict[str, list[float]]


def craft(
    attack: Attack,
    loss_of: Callable[[Classifier], Callable],
    classifier: Classifier,
    split: Split,
    *,
    epsilon: float,
    key: Key[Array, ""],
    mesh: Mesh,
    towards: Int[np.ndarray, " n"] | None = None,
    batch_size: int = 1000,
    stop: Stop = never,
) -> Float[np.ndarray, "n ..."]:
    """Attacks every image, also those that are wrong already.

    Args:
      attack: from `budgets`.
      loss_of: (classifier) -> the loss that is ascended.
      classifier: what the images are made for, a pytree of arrays.
      split: images and class ids.
      epsilon: how far the attack may go; a search for the nearest image has none.
      key: example i draws from this key folded with i.
      mesh: the devices that share a batch.
      towards: class ids that the loss is given instead of the true ones.
      batch_size: images that are attacked at a time.
      stop: asked before each batch whether to stop.

    Returns:
      The images in [0, 1]; clean ones where a search found nothing.

    Raises:
      Stopped: if asked to stop.
    """
    given = split.labels if towards is None else towards

    def attacked(shared, x, towards, index):
        classifier, key = shared
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, index)
        return attack(
            loss_of(classifier),
            x,
            towards,
            epsilon=epsilon,
            key=keys,
            scores_fn=classifier.scores,
        )

    def arguments(index):
        return as_float(split.images[index]), given[index], index

    return batchwise(
        jax.jit(parallel.per_example(attacked, mesh)),
        (classifier, key),
        len(split.labels),
        arguments,
        what="making images",
        mesh=mesh,
        batch_size=batch_size,
        stop=stop,
    )


def amplified(
    x_adv: Float[Array | np.ndarray, "batch ..."],
    x: Float[Array | np.ndarray, "batch ..."],
    *,
    rms: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Float[Array, "batch ..."]:
    """The same change at another size, then clipped: section 4.2 of the paper.

    Args:
      x_adv: changed images.
      x: clean images.
      rms: root mean square of the change, in pixels, before clipping.
      bounds: range of a pixel.

    Guarantees: images that were not changed stay.

    >>> x_adv = jnp.array([[0.5, 0.6]])
    >>> print(amplified(x_adv, jnp.array([[0.5, 0.5]]), rms=0.2))
    [[0.5        0.78284276]]
    """
    size = root_mean_square(x_adv, x).reshape(-1, *[1] * (x.ndim - 1))
    unit = (x_adv - x) / jnp.where(size > 0, size, 1.0)
    return jnp.clip(x + rms * unit, *bounds)


def noisy(
    x: Float[np.ndarray, "n ..."], *, rms: float, seed: int
) -> Float[np.ndarray, "n ..."]:
    """Gaussian noise of a standard deviation, then clipped: what an attack has to beat.

    Args:
      x: images in [0, 1].
      rms: standard deviation, in pixels.
      seed: of the noise.

    >>> print(noisy(np.full((1, 2), 0.5, np.float32), rms=0.0, seed=0))
    [[0.5 0.5]]
    """
    noise = np.random.default_rng(seed).normal(size=x.shape).astype(np.float32)
    return np.clip(x + np.float32(rms) * noise, 0, 1)


def transfer_matrix(
    classifiers: Mapping[str, Classifier],
    split: Split,
    images: Mapping[str, Float[np.ndarray, "n ..."]],
    *,
    rms: Sequence[float] = (),
    seed: int = 0,
    mesh: Mesh,
    batch_size: int = 1000,
) -> Transfer:
    """Feeds images that were made for each model to all of them.

    Args:
      classifiers: by name.
      split: the clean images and their class ids.
      images: by the name of the model that they were made for, in the split's order.
      rms: sizes that changes are amplified to, beside those that were found.
      seed: of the noise.
      mesh: the devices that share a batch.
      batch_size: images a call.

    >>> from robustlabels import objective
    >>> softmax = objective.softmax().at({}, 1.0)
    >>> classifier = objective.bind(softmax, lambda x: x[:, 0, 0])
    >>> clean = np.array([0.6, 0.4], np.float32).reshape(1, 1, 1, 2)
    >>> split = Split(clean, np.zeros(1, np.int32))
    >>> made = {"a": clean[..., ::-1]}
    >>> mesh = parallel.make_mesh()
    >>> transfer_matrix({"a": classifier}, split, made, mesh=mesh).errors
    {'as found': [[1.0]]}
    """
    clean = np.asarray(as_float(split.images[:]))
    program = of_images(correct, mesh)

    def errors(shown: Array | np.ndarray) -> list[float]:
        fed = Split(np.asarray(shown, np.float32), split.labels)
        return [
            1 - float(over(program, c, fed, mesh=mesh, batch_size=batch_size).mean())
            for c in classifiers.values()
        ]

    made = [images[name] for name in classifiers]
    sizes = {f"{size:g}": size for size in rms}
    return Transfer(
        names=tuple(classifiers),
        n=len(clean),
        clean=tuple(errors(clean)),
        rms=tuple(float(root_mean_square(x_adv, clean).mean()) for x_adv in made),
        errors={"as found": [errors(x_adv) for x_adv in made]}
        | {
            written: [errors(amplified(x_adv, clean, rms=size)) for x_adv in made]
            for written, size in sizes.items()
        },
        noise={
            written: errors(noisy(clean, rms=size, seed=seed))
            for written, size in sizes.items()
        },
    )
