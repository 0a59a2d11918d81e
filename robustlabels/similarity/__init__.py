"""How similar classes are, for losses that share a label's mass among other classes.

A similarity is a matrix [classes, classes] of float64; row i says how the mass of class
i is shared: no entry is negative, the diagonal is zero, and rows sum to one.
"""

from robustlabels.similarity.lda import lda_similarity
from robustlabels.similarity.stochastic import (
    asymmetry,
    check_similarity,
    confusion_similarity,
    uniform_similarity,
)

__all__ = [
    "asymmetry",
    "check_similarity",
    "confusion_similarity",
    "lda_similarity",
    "uniform_similarity",
]
