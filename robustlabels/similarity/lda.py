"""Class similarity by linear discriminant analysis."""

from typing import Any

import numpy as np
from jaxtyping import Float64

from robustlabels import _validate
from robustlabels.similarity.chunks import in_chunks
from robustlabels.similarity.moments import Moments, add_up
from robustlabels.similarity.stochastic import rows_and_columns_scaled, rows_scaled

__all__ = ["lda_similarity"]

_ROUNDING = 1e-10  # a length that is a smaller share of another one is zero


def lda_similarity(
    features: Any,
    labels: Any = None,
    *,
    num_classes: int,
    num_directions: int | None = None,
    shrinkage: float = 1e-3,
    centered: bool = True,
    symmetric: bool = False,
    scale: Any = 1.0,
    batch_size: int = 1024,
) -> Float64[np.ndarray, "classes classes"]:
    """Similarity of class means along discriminants, Negi et al. (2018), eq. 12.

    Discriminants U are such that Uᵀ S U = I, with S the pooled scatter within classes
    and shrinkage · trace(S) / d on top of its diagonal. With vᵢ the mean of class i
    along them, entry i, j is in proportion to 1 / (1 + exp(1 - cos(vᵢ, vⱼ))), so that
    the entries of a row differ by a factor of at most 4.2: a mild tilt of the uniform
    similarity.

    Examples are read once. Memory is about that of two matrices [d, d] of float64,
    however many they are.

    Args:
      features: [n, *shape] of uint8, float32 or float64, such as the training images
        without augmentation; a memory map is never read as a whole. Or an iterable of
        batches (features, labels) of any sizes.
      labels: [n] class ids, as the network is given them; None for batches.
      num_classes: at least 2, each with an example.
      num_directions: how many discriminants, in 1..num_classes - 1, from the one that
        separates the classes best; None for all. Those that separate none are left out.
      shrinkage: not negative; at 0, S must not be singular.
      centered: whether class means are taken from the mean of all examples; without,
        what all classes have in common brings the similarity close to uniform.
      symmetric: whether rows and columns are scaled, so that columns sum to one too. Of
        three classes nothing is left then: all their entries are 1/2.
      scale: positive, broadcasts against an example; features are divided by it, as a
        network does by the standard deviation of each channel. Only because of the
        shrinkage does it matter.
      batch_size: examples that are added up at a time.

    Raises:
      ValueError: for a value out of range; for features of another type, not finite, or
        more than 32,768; for a class without examples; for a singular S.

    Guarantees: scatter is exact for uint8 and of float64 otherwise; the same numbers
    however the examples are cut into batches; two classes are each other's.

    >>> x = np.array([[0, 1], [1, 0], [5, 1], [6, 1], [5, 4], [6, 4]], np.uint8)
    >>> print(lda_similarity(x, np.array([0, 0, 1, 1, 2, 2]), num_classes=3).round(2))
    [[0.   0.65 0.35]
     [0.47 0.   0.53]
     [0.32 0.68 0.  ]]
    """
    _validate.count(minimum=2, num_classes=num_classes)
    if num_directions is None:
        num_directions = num_classes - 1
    _validate.count(num_directions=num_directions)
    fix = "There are fewer discriminants than classes; None takes all."
    _validate.in_range(1, num_classes - 1, num_directions=num_directions, fix=fix)
    _validate.in_range(0.0, np.inf, shrinkage=shrinkage, fix="1e-3 is usual.")
    shape, chunks = in_chunks(
        features, labels, num_classes=num_classes, size=batch_size
    )
    scale = _spread(scale, shape)
    means = _unit_means(
        add_up(chunks, num_classes), scale, num_directions, shrinkage, centered=centered
    )
    closeness = 1 / (1 + np.exp(1 - means @ means.T))
    np.fill_diagonal(closeness, 0.0)
    return rows_and_columns_scaled(closeness) if symmetric else rows_scaled(closeness)


def _spread(scale: Any, shape: tuple[int, ...]) -> Float64[np.ndarray, " d"]:
    """The scale of each feature."""
    tiny, fix = float(np.finfo(np.float32).tiny), "Features are divided by it."
    _validate.in_range(tiny, np.inf, scale=scale, fix=fix)
    scale = np.asarray(scale, np.float64)
    try:
        return np.broadcast_to(scale, shape).ravel()
    except ValueError:
        raise ValueError(
            f"scale of shape {scale.shape} does not broadcast against an example of "
            f"shape {shape}. Give one number, or one for each channel."
        ) from None


def _unit_means(
    moments: Moments,
    scale: Float64[np.ndarray, " d"],
    num_directions: int,
    shrinkage: float,
    *,
    centered: bool,
) -> Float64[np.ndarray, "classes directions"]:
    """Class means along the discriminants, each of length one, or zero as it was.

    The discriminants span what whitening makes of the differences of the class means
    from the mean of all, so that no eigenvectors of [d, d] are needed.
    """
    from scipy.linalg import get_lapack_funcs

    shares = moments.counts / moments.counts.sum()
    means = np.asarray(moments.sums) / moments.counts[:, None]
    scatter, squares = _scatter(moments, np.sqrt(shares)[:, None] * means, scale)
    middle = shares @ means
    away = means - middle
    away[abs(away) <= _ROUNDING * np.sqrt(squares)] = 0.0

    terms = len(scatter) + np.sqrt(moments.counts.sum())
    rounding = terms * np.finfo(np.float64).eps * squares / scale**2
    factor = _factor(scatter, rounding, shrinkage)
    columns = np.vstack([away, middle + moments.shift]) / scale
    (solve,) = get_lapack_funcs(("trtrs",))
    whitened, _ = solve(factor, columns.T, lower=1)
    away, middle = whitened[:, :-1], whitened[:, -1:]
    basis, spread, _ = np.linalg.svd(away * np.sqrt(shares), full_matrices=False)
    rank = np.count_nonzero(spread > _ROUNDING * spread[0])
    points = away if centered else away + middle
    vectors = basis[:, : min(rank, num_directions)].T @ points
    lengths = np.linalg.norm(vectors, axis=0)
    lengths[lengths <= _ROUNDING * np.linalg.norm(points, axis=0)] = np.inf
    return (vectors / lengths).T


def _scatter(
    moments: Moments,
    weighted_means: Float64[np.ndarray, "classes d"],
    scale: Float64[np.ndarray, " d"],
) -> tuple[Float64[np.ndarray, "d d"], Float64[np.ndarray, " d"]]:
    """Upper triangle of the scatter within classes; mean squares, not scaled.

    The panels are let go of one by one, so that there is room for the scatter.
    """
    d, start = len(scale), 0
    scatter, squares = np.zeros((d, d)), np.zeros(d)
    while moments.panels:
        panel = np.asarray(moments.panels.pop(0)) / moments.counts.sum()
        own = slice(start, start + len(panel))
        squares[own] = panel.diagonal()
        panel -= weighted_means[:, own].T @ weighted_means[:, start:]
        scatter[own, start:] = panel / (scale[own, None] * scale[start:])
        start += len(panel)
    return scatter, squares


def _factor(
    scatter: Float64[np.ndarray, "d d"],
    rounding: Float64[np.ndarray, " d"],
    shrinkage: float,
) -> Float64[np.ndarray, "d d"]:
    """The lower Cholesky factor of the shrunk scatter, in the memory of the scatter.

    What is below the rounding of the diagonal is taken for zero.
    """
    from scipy.linalg import get_lapack_funcs

    diagonal = np.einsum("ii->i", scatter)
    if (diagonal <= rounding).all():
        raise ValueError(
            "features do not vary within any class, so that nothing says how far apart "
            "the means are. Use other features, or confusion_similarity."
        )
    diagonal += shrinkage * diagonal.mean()
    (cholesky,) = get_lapack_funcs(("potrf",))
    factor, failed = cholesky(scatter.T, lower=1, clean=0, overwrite_a=1)
    if failed or (factor.diagonal() ** 2 <= rounding).any():
        raise ValueError(
            f"the scatter within classes is singular at shrinkage={shrinkage}: some "
            "features are constant, or follow from others. Use a larger shrinkage; "
            "1e-3 is usual."
        )
    return factor
