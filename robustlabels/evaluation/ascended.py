"""The losses that attacks ascend, by the names that records know them by."""

from collections.abc import Callable, Iterable

from robustlabels import _validate
from robustlabels.objective import Classifier

__all__ = ["LOSSES", "ROWS", "check_losses"]


LOSSES: dict[str, Callable[[Classifier], Callable]] = {
    "own": lambda classifier: classifier.loss,
    "margin": lambda classifier: classifier.margin,
    "cross_entropy": lambda classifier: classifier.cross_entropy,
    "dlr": lambda classifier: classifier.dlr,
}
ROWS = (*LOSSES, "worst", "none")  # in the order of tables; noise follows none


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
