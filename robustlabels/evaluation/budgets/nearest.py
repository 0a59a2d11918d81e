"""Searches for the nearest image that is decided wrongly: one serves all epsilons."""

from collections.abc import Callable

import jax

from robustlabels import attacks
from robustlabels.evaluation.budgets.attack import Attack

__all__ = [
    "carlini_wagner",
    "ddn",
    "deepfool",
    "fab",
    "fab_targeted",
    "fmn",
    "hop_skip_jump",
    "minimum_distortion",
]


def ddn(
    *,
    num_steps: int = 100,
    gamma: float = 0.05,
    initial_epsilon: float = 1.0,
    levels: int = 0,
) -> Attack:
    """`attacks.ddn`, in L2.

    Args:
      num_steps: at least 1.
      gamma: share by which the radius changes, in [0, 1].
      initial_epsilon: first radius in pixels, positive.
      levels: how many values a pixel may take, such as 256; 0 for any.

    >>> ddn().minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.ddn_iteration(
            loss_fn,
            scores_fn,
            num_steps=num_steps,
            gamma=gamma,
            initial_epsilon=initial_epsilon,
            levels=levels or None,
        ),
        "l2",
        follows_loss=True,
    )


def fmn(*, norm: str = "linf", num_steps: int = 100) -> Attack:
    """`attacks.fmn`, along the margin.

    Args:
      norm: "linf" or "l2".
      num_steps: at least 1.

    >>> fmn(norm="l2").minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.fmn_iteration(
            scores_fn, norm=norm, num_steps=num_steps
        ),
        norm,
    )


def deepfool(
    *,
    norm: str = "l2",
    num_steps: int = 50,
    overshoot: float = 0.02,
    candidates: int = 10,
) -> Attack:
    """`attacks.deepfool`.

    Args:
      norm: "linf" or "l2".
      num_steps: at least 1.
      overshoot: share by which the change is enlarged, at least 0.
      candidates: how many of the best classes are considered, at least 2.

    >>> deepfool().minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.deepfool_iteration(
            scores_fn,
            norm=norm,
            num_steps=num_steps,
            overshoot=overshoot,
            candidates=candidates,
        ),
        norm,
    )


def carlini_wagner(
    *,
    num_steps: int = 1000,
    num_searches: int = 9,
    step_size: float = 0.01,
    confidence: float = 0.0,
) -> Attack:
    """`attacks.carlini_wagner`, in L2.

    Args:
      num_steps: of each run of Adam, at least 1.
      num_searches: how many constants are tried, at least 1.
      step_size: learning rate of Adam, positive.
      confidence: margin that counts as adversarial, at least 0.

    >>> carlini_wagner().minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.carlini_wagner_iteration(
            scores_fn,
            num_steps=num_steps,
            num_searches=num_searches,
            step_size=step_size,
            confidence=confidence,
        ),
        "l2",
    )


def fab(*, norm: str = "linf", num_steps: int = 100, candidates: int = 10) -> Attack:
    """`attacks.fab` from the clean image, across the nearest of the boundaries.

    Args:
      norm: "linf" or "l2".
      num_steps: at least 1.
      candidates: how many of the best classes are considered, at least 2.

    >>> fab(norm="l2").minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.fab_iteration(
            scores_fn, norm=norm, num_steps=num_steps, candidates=candidates
        ),
        norm,
    )


def fab_targeted(
    *, norm: str = "linf", num_steps: int = 100, num_targets: int = 9
) -> Attack:
    """FAB-T, Croce & Hein (2020): towards one after another of the best wrong classes.

    An image counts where it is decided for the class that it is led to; in the
    published code any wrong decision counts.

    Args:
      norm: "linf" or "l2".
      num_steps: for each class, at least 1.
      num_targets: how many classes, those of the largest scores on the clean image.

    >>> fab_targeted(num_targets=3).minimum
    'linf'
    """

    def iteration(loss_fn, scores_fn, key):
        del loss_fn

        def once(*, key):
            del key
            return attacks.fab_iteration(
                scores_fn, norm=norm, num_steps=num_steps, targeted=True
            )

        return attacks.restarted(
            once,
            lambda found, y: -found.distortion,
            num_restarts=num_targets,
            key=key,
            labels_of=lambda x, y, n: attacks.nth_wrong_class(scores_fn(x), y, n),
        )

    return _search(iteration, norm)


def hop_skip_jump(
    *, norm: str = "l2", num_steps: int = 40, num_queries: int = 100
) -> Attack:
    """`attacks.hop_skip_jump`, by decisions alone.

    Args:
      norm: "l2" or "linf".
      num_steps: at least 1.
      num_queries: decisions in the first step; step t takes √t times as many.

    >>> hop_skip_jump().minimum
    'l2'
    """
    return _search(
        lambda loss_fn, scores_fn, key: attacks.hop_skip_jump_iteration(
            scores_fn,
            key=key,
            num_steps=num_steps,
            num_queries=num_queries,
            norm=norm,
        ),
        norm,
    )


def minimum_distortion(
    *,
    num_steps: int = 200,
    num_searches: int = 15,
    num_targets: int = 9,
    targeted: bool = False,
) -> Attack:
    """`attacks.minimum_distortion`, box-constrained L-BFGS in L2.

    Args:
      num_steps: for each class, at least 1.
      num_searches: how many weights of the distance are tried for each class.
      num_targets: how many of the best wrong classes are tried, at least 1.
      targeted: whether it leads towards another class, drawn at random.

    >>> minimum_distortion().minimum
    'l2'
    """

    def make(loss_fn, scores_fn, key):
        del key
        # The search descends the loss of a class, and is given what leads there.
        return attacks.minimum_distortion_iteration(
            attacks.targeted(loss_fn) if targeted else loss_fn,
            scores_fn,
            targeted=targeted,
            num_steps=num_steps,
            num_searches=num_searches,
            num_targets=num_targets,
        )

    return _search(make, "l2", follows_loss=True)._replace(targeted=targeted)


def _search(
    make: Callable[..., attacks.Iteration], norm: str, *, follows_loss: bool = False
) -> Attack:
    """A search as an attack; what is out of range is refused at once."""

    def iteration(loss_fn, scores_fn, *, epsilon, key):
        del epsilon
        return make(loss_fn, scores_fn, key)

    make(len, len, jax.random.key(0))  # Nothing is called yet.
    return Attack(iteration, follows_loss, unit_range=False, minimum=norm)
