"""Class similarities, by the name a config knows them by; see `similarity`."""

import numpy as np
from jaxtyping import Float64

from robustlabels import _validate, similarity
from robustlabels.data import Dataset
from robustlabels.matrices.files import read_matrix
from robustlabels.matrices.trained import (
    Restore,
    activations,
    probabilities,
    restored,
)

__all__ = ["confusion", "file", "lda", "uniform"]

Matrix = Float64[np.ndarray, "classes classes"]


def lda(
    dataset: Dataset,
    restore: Restore,
    *,
    run: str = "",
    layer: str = "embedding",
    labels: str = "given",
    num_directions: int | None = None,
    shrinkage: float = 1e-3,
    centered: bool = True,
    symmetric: bool = False,
    batch_size: int = 1000,
) -> Matrix:
    """Similarity by linear discriminants of the training split, Negi et al., eq. 12.

    Args:
      dataset: its training split is used.
      restore: the folder of a run to its model.
      run: empty for pixels, normalised as a network sees them; or the folder of a run
        whose activations are used.
      layer: of that run's model.
      labels: "given", with whatever noise they have; or "clean".
      num_directions: as of `similarity.lda_similarity`, like all that follows.
      shrinkage: not negative.
      centered: on the mean of all examples.
      symmetric: whether columns are made to sum to one too.
      batch_size: examples at a time.

    Raises:
      ValueError: for a value out of range, or a run of other classes.
    """
    _validate.one_of(("given", "clean"), labels=labels)
    train, scale = dataset.train, dataset.std
    if labels == "clean":
        train = train._replace(labels=dataset.clean_labels)
    features, ids = train.images, train.labels
    if run:
        model = restored(restore, run, dataset).model
        outputs = activations(model, train, layer, batch_size=batch_size)
        features, ids, scale = ((f, train.labels[i]) for f, i in outputs), None, 1.0
    return similarity.lda_similarity(
        features,
        ids,
        num_classes=dataset.num_classes,
        num_directions=num_directions,
        shrinkage=shrinkage,
        centered=centered,
        symmetric=symmetric,
        scale=scale,
        batch_size=batch_size,
    )


def uniform(dataset: Dataset, restore: Restore) -> Matrix:
    """All other classes alike: MCEL with it is label smoothing, and the control."""
    del restore
    return similarity.uniform_similarity(dataset.num_classes)


def confusion(
    dataset: Dataset, restore: Restore, *, run: str = "", batch_size: int = 1000
) -> Matrix:
    """What a run's best model confuses on the validation split.

    Args:
      dataset: its validation split is used.
      restore: the folder of a run to its model.
      run: the folder.
      batch_size: examples at a time.

    Raises:
      ValueError: for an empty validation split, or a run of other classes.
    """
    classifier = restored(restore, run, dataset).classifier
    says = probabilities(classifier, dataset.validation, batch_size=batch_size)
    counts = np.zeros((dataset.num_classes,) * 2)
    np.add.at(counts, (dataset.validation.labels, np.argmax(says, axis=-1)), 1)
    return similarity.confusion_similarity(counts)


def file(dataset: Dataset, restore: Restore, *, path: str) -> Matrix:
    """The user's own similarity.

    Args:
      dataset: its classes, in order, are the rows and columns.
      restore: unused.
      path: .npy, or text with a row a line: zero on the diagonal, rows that sum to one.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for a matrix of another form, or of another number of classes.
    """
    del restore
    matrix = similarity.check_similarity(read_matrix(path))
    if len(matrix) != dataset.num_classes:
        raise ValueError(
            f"path={path} has {len(matrix)} classes; {dataset.name} has "
            f"{dataset.num_classes}."
        )
    return matrix
