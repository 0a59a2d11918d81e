"""An attack whose epsilon is open, and an ensemble of them."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from robustlabels import attacks
from robustlabels.attacks import Iteration
from robustlabels.objective import Classifier

__all__ = ["Attack", "Ensemble", "Stage"]


class Attack(NamedTuple):
    """An attack whose epsilon is open.

    Attributes:
      iteration: (loss_fn, scores_fn, *, epsilon, key) -> `attacks.Iteration`; epsilon
        may be traced, key is one key or one an example.
      follows_loss: whether the loss matters; noise has none to follow.
      unit_range: whether epsilon is a change of a pixel, in [0, 1].
      targeted: whether each example is led towards another class, drawn at random.
      unit: what epsilon counts: "pixel", or "std" for standard deviations of each
        channel of the training images, which is a pixel of a normalised image.
      minimum: norm in which it searches for the nearest image that is decided wrongly,
        which has no epsilon; None for an attack within a ball.
    """

    iteration: Callable[..., Iteration]
    follows_loss: bool
    unit_range: bool
    targeted: bool = False
    unit: str = "pixel"
    minimum: str | None = None

    def in_pixels(self, std: Float[np.ndarray, " channels"]) -> "Attack":
        """The same attack with its epsilon turned into pixels.

        Args:
          std: of each channel, in pixels.

        >>> import jax.numpy as jnp
        >>> from robustlabels.evaluation import budgets
        >>> x, y = jnp.zeros((1, 2)), jnp.array([0])
        >>> attack = budgets.fgsm(unit="std").in_pixels(np.array([0.5, 0.25]))
        >>> print(attack(lambda x, y: x.sum(-1), x, y, epsilon=1.0))
        [[0.5  0.25]]
        """
        if self.unit == "pixel":
            return self

        def iteration(loss_fn, scores_fn, *, epsilon, key):
            axes = [1] * max(np.ndim(epsilon) - 1, 0)
            in_pixels = epsilon * std.reshape(*axes, -1)
            return self.iteration(loss_fn, scores_fn, epsilon=in_pixels, key=key)

        return self._replace(iteration=iteration, unit="pixel")

    def __call__(
        self,
        loss_fn: Callable[[Array, Array], Array],
        x: Float[Array, "batch ..."],
        y: Int[Array, " batch"],
        *,
        epsilon: Any,
        key: Key[Array, "..."] | None = None,
        scores_fn: Callable[[Array], Array] | None = None,
    ) -> Float[Array, "batch ..."]:
        """Runs it from start to end, as `stands` and `robustness_curve` do.

        >>> import jax.numpy as jnp
        >>> from robustlabels.evaluation import budgets
        >>> x, y = jnp.array([[0.5, 0.9]]), jnp.array([0])
        >>> print(budgets.fgsm()(lambda x, y: x.sum(-1), x, y, epsilon=0.25))
        [[0.75 1.  ]]
        """
        iteration = self.iteration(loss_fn, scores_fn, epsilon=epsilon, key=key)
        found = attacks.run(iteration, x, y)
        return found.x_adv if self.minimum else found


class Stage(NamedTuple):
    """One attack of an ensemble.

    Attributes:
      attack: what happens.
      loss_of: (classifier) -> the loss that is ascended.
      gradient: name of the loss whose gradient is followed; None for a black box.
    """

    attack: Attack
    loss_of: Callable[[Classifier], Callable]
    gradient: str | None


class Ensemble(NamedTuple):
    """Attacks one after another, each on what still stands; the worst case counts.

    Attributes:
      stages: by name, in order.
    """

    stages: Mapping[str, Stage]

    @property
    def unit_range(self) -> bool:
        """Whether epsilon is a change of a pixel, as of an `Attack`."""
        return all(stage.attack.unit_range for stage in self.stages.values())

    def in_pixels(self, std: Float[np.ndarray, " channels"]) -> "Ensemble":
        """The same attacks with their epsilons turned into pixels."""
        return Ensemble(
            {
                name: stage._replace(attack=stage.attack.in_pixels(std))
                for name, stage in self.stages.items()
            }
        )
