"""Matrices over classes that an objective is given, by the name a config knows.

A function of `similarities` or of `noise_matrices` takes a data set and what restores
the trained model of another run, and returns a matrix [classes, classes].
"""

from robustlabels.matrices import noise_matrices, similarities
from robustlabels.matrices.files import keep, kept
from robustlabels.matrices.trained import Trained

__all__ = ["Trained", "keep", "kept", "noise_matrices", "similarities"]
