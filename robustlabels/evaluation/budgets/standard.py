"""The ensemble that a robust figure should be quoted under."""

from robustlabels.evaluation.ascended import LOSSES
from robustlabels.evaluation.budgets.attack import Attack, Ensemble, Stage
from robustlabels.evaluation.budgets.nearest import fab_targeted
from robustlabels.evaluation.budgets.within import apgd, apgd_targeted, square

__all__ = ["standard"]


def standard(
    *,
    norm: str = "linf",
    num_steps: int = 100,
    num_targets: int = 9,
    num_queries: int = 5000,
) -> Ensemble:
    """AutoAttack, Croce & Hein (2020), and Auto-PGD along two more losses.

    APGD by cross-entropy, APGD-T, FAB-T and Square, each on what the ones before left
    standing, as published but for what counts in FAB-T, see `fab_targeted`; then APGD
    along the classifier's own loss and along the margin, for outputs that are no
    logits. Cross-entropy is of scores that are brought to one spread, for scores may be
    distances.

    Args:
      norm: "linf" or "l2".
      num_steps: of Auto-PGD and FAB, at least 1; 100 as published.
      num_targets: of APGD-T and FAB-T; 9 as published.
      num_queries: of Square; 5000 as published.

    Raises:
      ValueError: for a value out of range.

    >>> print(*standard().stages)
    apgd-ce apgd-t fab-t square apgd-own apgd-margin
    """
    steps = {"norm": norm, "num_steps": num_steps}
    along = apgd(**steps)

    def by(loss: str) -> Stage:
        return Stage(along, LOSSES[loss], loss)

    def scores_of(attack: Attack, gradient: str | None) -> Stage:
        return Stage(attack, LOSSES["margin"], gradient)

    return Ensemble(
        {
            "apgd-ce": by("cross_entropy"),
            "apgd-t": scores_of(apgd_targeted(num_targets=num_targets, **steps), "dlr"),
            "fab-t": scores_of(
                fab_targeted(num_targets=num_targets, **steps), "margin"
            ),
            "square": scores_of(square(norm=norm, num_steps=num_queries), None),
            "apgd-own": by("own"),
            "apgd-margin": by("margin"),
        }
    )
