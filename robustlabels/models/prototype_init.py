"""Where prototypes start: means, clusters or examples of the classes' embeddings.

All return [num_classes * per_class, features] in the order of
`Prototypes.prototype_labels`, class after class.
"""

import numpy as np
from jaxtyping import Array, Float, Float32, Int

from robustlabels import _validate

__all__ = ["class_kmeans", "class_means", "class_samples"]


def class_means(
    embeddings: Float[Array | np.ndarray, " examples features"],
    labels: Int[Array | np.ndarray, " examples"],
    *,
    num_classes: int,
    per_class: int = 1,
    seed: int = 0,
    jitter: float = 1e-2,
) -> Float32[np.ndarray, " prototypes features"]:
    """The mean of each class; with several prototypes, each moved a little from it.

    Args:
      embeddings: embeddings of training examples.
      labels: their class ids, in [0, num_classes).
      num_classes: classes; each needs at least one example.
      per_class: prototypes of each class, at least 1.
      seed: of the random moves.
      jitter: standard deviation of a move, in units of the class's own standard
        deviation of that feature, at least 0; unused with one prototype per class.

    Raises:
      ValueError: for a class without an example, and for a value out of range.

    >>> class_means(np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 1]), num_classes=2)
    array([[1.],
           [5.]], dtype=float32)
    """
    fix = "It is relative to the standard deviation within a class: 0.01 is usual."
    _validate.in_range(0.0, float("inf"), jitter=jitter, fix=fix)
    rng = np.random.default_rng(seed)

    def means(members):
        mean = np.repeat(members.mean(axis=0, keepdims=True), per_class, axis=0)
        if per_class == 1:
            return mean
        spread = members.std(axis=0, keepdims=True)
        return mean + jitter * spread * rng.standard_normal(mean.shape)

    return _per_class(means, embeddings, labels, num_classes, per_class, needed=1)


def class_kmeans(
    embeddings: Float[Array | np.ndarray, " examples features"],
    labels: Int[Array | np.ndarray, " examples"],
    *,
    num_classes: int,
    per_class: int = 1,
    seed: int = 0,
) -> Float32[np.ndarray, " prototypes features"]:
    """The k-means centres of each class, by scikit-learn (best of 10 starts).

    Args:
      embeddings: embeddings of training examples.
      labels: their class ids, in [0, num_classes).
      num_classes: classes; each needs at least `per_class` examples.
      per_class: prototypes of each class, at least 1.
      seed: of the starts.

    Raises:
      ValueError: for a class with too few examples, and for a value out of range.

    >>> points = np.array([[0.0], [0.0], [4.0], [9.0], [9.0]])
    >>> labels = np.array([0, 0, 0, 1, 1])
    >>> class_kmeans(points[:4], labels[:4], num_classes=2, per_class=2)
    Traceback (most recent call last):
    ValueError: class 1 has 1 example and needs 2; give more embeddings.
    """
    from sklearn.cluster import KMeans

    def centres(members):
        kmeans = KMeans(per_class, n_init=10, random_state=seed)
        return kmeans.fit(members).cluster_centers_

    return _per_class(
        centres, embeddings, labels, num_classes, per_class, needed=per_class
    )


def class_samples(
    embeddings: Float[Array | np.ndarray, " examples features"],
    labels: Int[Array | np.ndarray, " examples"],
    *,
    num_classes: int,
    per_class: int = 1,
    seed: int = 0,
) -> Float32[np.ndarray, " prototypes features"]:
    """Random examples of each class, no example twice.

    Args:
      embeddings: embeddings of training examples.
      labels: their class ids, in [0, num_classes).
      num_classes: classes; each needs at least `per_class` examples.
      per_class: prototypes of each class, at least 1.
      seed: of the choice.

    Raises:
      ValueError: for a class with too few examples, and for a value out of range.

    >>> class_samples(np.array([[3.0], [5.0]]), np.array([1, 0]), num_classes=2)
    array([[5.],
           [3.]], dtype=float32)
    """
    rng = np.random.default_rng(seed)

    def examples(members):
        return rng.choice(members, per_class, replace=False)

    return _per_class(
        examples, embeddings, labels, num_classes, per_class, needed=per_class
    )


def _per_class(choose, embeddings, labels, num_classes, per_class, *, needed):
    """`choose(embeddings of a class) -> [per_class, features]`, class after class."""
    _validate.count(num_classes=num_classes, per_class=per_class)
    embeddings, labels = np.asarray(embeddings, np.float64), np.asarray(labels)
    fix = f"Class ids run from 0 to num_classes - 1, with num_classes={num_classes}."
    _validate.in_range(0.0, num_classes - 1.0, labels=labels, fix=fix)
    prototypes = []
    for label in range(num_classes):
        members = embeddings[labels == label]
        if len(members) < needed:
            examples = "1 example" if len(members) == 1 else f"{len(members)} examples"
            raise ValueError(
                f"class {label} has {examples} and needs {needed}; "
                "give more embeddings."
            )
        prototypes.append(choose(members))
    return np.concatenate(prototypes).astype(np.float32)
