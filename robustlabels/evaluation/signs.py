"""What attacks that are compared say about hidden gradients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool

__all__ = ["signs_of"]

_LEVEL = 0.01  # Of a sign test, and the share of examples that is no accident.


def signs_of(
    standing: Mapping[str, Bool[np.ndarray, " n"]],
    *,
    num_steps: int,
    num_queries: int,
    num_restarts: int,
) -> list[dict[str, Any]]:
    """Each sign: its name, whether it is seen, figures, and what that means.

    Args:
      standing: which examples stand against each attack of `Diagnosis`.
      num_steps: of PGD.
      num_queries: of the Square attack.
      num_restarts: random starts, the first included.
    """
    own = standing["own"]
    restarted, at_large = standing["restarts"], standing["at_large_epsilon"]
    scaled = {name: standing[name] for name in ("times_1024", "times_1/1024")}
    differ = {f"differ_{k}": int(np.sum(own != v)) for k, v in scaled.items()}
    return [
        _better(
            "targeted_beats_untargeted",
            "PGD towards the runner-up class",
            "PGD without a target",
            "the loss does not lead to the nearest wrong class",
            targeted=standing["targeted"],
            untargeted=own,
        ),
        _better(
            "more_steps_weaker",
            f"{num_steps} steps",
            f"{4 * num_steps} steps of a quarter the size",
            "gradients lead astray, and only a coarse step jumps out",
            coarse=own,
            fine=standing["fine"],
        ),
        _better(
            "more_steps_stronger",
            f"{4 * num_steps} steps",
            f"{num_steps} steps",
            "the attack has not come to its end",
            more=standing["more"],
            fewer=own,
        ),
        _sign(
            "restarts_matter",
            np.mean(own & ~restarted) > _LEVEL,
            f"{_percent(restarted)} stand against {num_restarts} random starts of PGD, "
            f"{_percent(own)} against the first",
            "one random start alone is too optimistic",
            one=np.mean(own),
            all=np.mean(restarted),
        ),
        _sign(
            "stands_at_large_epsilon",
            at_large.any() and np.mean(at_large) > _LEVEL,
            f"Of the {len(at_large)} images that an all-grey one is not decided like, "
            f"{np.sum(at_large)} stand at epsilon 0.5, where each can become it",
            "the attack fails where it cannot but succeed",
            accuracy=np.mean(at_large) if len(at_large) else 0.0,
        ),
        _sign(
            "scaling_changes_result",
            max(differ.values()) > _LEVEL * len(own),
            f"{_percent(scaled['times_1024'])} stand where the loss is multiplied by "
            f"1024, {_percent(scaled['times_1/1024'])} where it is divided by 1024, "
            f"{_percent(own)} where it is left alone",
            "gradients are lost in rounding",
            times_1=np.mean(own),
            **{name: np.mean(flags) for name, flags in scaled.items()},
            **differ,
        ),
        _better(
            "margin_beats_own",
            "PGD along the margin",
            "PGD along the own loss",
            "the own loss hides where it hurts",
            margin=standing["margin"],
            own=own,
        ),
        _better(
            "black_box_beats_white_box",
            f"{num_queries} queries of the Square attack",
            "PGD along both losses",
            "gradients do not lead where random search does",
            black_box=standing["square"],
            white_box=own & standing["margin"],
        ),
    ]


def _better(
    name: str, first: str, second: str, meaning: str, **stands: np.ndarray
) -> dict[str, Any]:
    """The sign that the first of two attacks fells significantly more examples.

    By a one-sided sign test on the examples that fall to one of them alone.
    """
    from scipy.stats import binomtest

    (one, a), (other, b) = stands.items()
    alone, not_alone = int(np.sum(~a & b)), int(np.sum(a & ~b))
    discordant = alone + not_alone
    p = 1.0
    if discordant:
        p = float(binomtest(alone, discordant, alternative="greater").pvalue)
    return _sign(
        name,
        p < _LEVEL,
        f"{_percent(a)} stand against {first}, {_percent(b)} against {second}",
        meaning,
        **{one: np.mean(a), other: np.mean(b)},
        **{f"only_{one}": alone, f"only_{other}": not_alone, "p": p},
    )


def _sign(
    name: str, yes: bool | np.bool_, finding: str, meaning: str, **figures: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "yes": bool(yes),
        "figures": {key: float(value) for key, value in figures.items()},
        "sentence": f"{finding}: {meaning if yes else 'as it should be'}.",
    }


def _percent(flags: Bool[np.ndarray, " n"]) -> str:
    return f"{100 * np.mean(flags):.1f} %"
