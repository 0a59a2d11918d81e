"""Matrices of label noise, by the name a config knows them by; see `losses`."""

import numpy as np
from jaxtyping import Float64

from robustlabels import losses
from robustlabels.data import Dataset
from robustlabels.matrices.files import read_matrix
from robustlabels.matrices.trained import (
    Restore,
    probabilities,
    restored,
)

__all__ = ["estimated", "file", "known"]

Matrix = Float64[np.ndarray, "classes classes"]


def known(dataset: Dataset, restore: Restore) -> Matrix:
    """The noise that `data.swap_rate` has put into the training split, counted.

    Args:
      dataset: its training labels, clean and as given.
      restore: unused.
    """
    del restore
    counts = np.zeros((dataset.num_classes,) * 2)
    np.add.at(counts, (dataset.clean_labels, dataset.train.labels), 1)
    return counts / counts.sum(axis=1, keepdims=True)


def estimated(
    dataset: Dataset,
    restore: Restore,
    *,
    run: str = "",
    percentile: float = 97.0,
    batch_size: int = 1000,
) -> Matrix:
    """From what a run on the noisy labels says of the training images.

    Args:
      dataset: its training images are used.
      restore: the folder of a run to its model.
      run: the folder of a run on the same data set, by cross-entropy.
      percentile: as of `losses.estimate_noise_matrix`.
      batch_size: examples at a time.

    Raises:
      ValueError: for a value out of range, or a run of other classes.
    """
    classifier = restored(restore, run, dataset).classifier
    says = probabilities(classifier, dataset.train, batch_size=batch_size)
    return losses.estimate_noise_matrix(says, percentile=percentile)


def file(dataset: Dataset, restore: Restore, *, path: str) -> Matrix:
    """The user's own matrix.

    Args:
      dataset: its classes, in order, are the rows and columns.
      restore: unused.
      path: .npy, or text with a row a line, each the distribution of the labels that a
        class is given.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: for a matrix of another form, or of another number of classes.
    """
    del restore
    matrix = read_matrix(path)
    return losses.check_noise_matrix(matrix, num_classes=dataset.num_classes)
