"""Objectives of logits: cross-entropy with other targets, and with corrections.

All decide and are sure alike: logits are scores, the largest probability speaks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from robustlabels import _validate, losses
from robustlabels.losses.mixing import MARGINS
from robustlabels.objective.core import Family, Objective, constant, family

__all__ = [
    "backward_corrected",
    "forward_corrected",
    "gmcel",
    "infogain",
    "label_smoothing",
    "largest_probability",
    "logit_scores",
    "mcel",
    "sg_mcel",
    "softmax",
]

_PARAMETRIZATIONS = "sigmoid", "clamp"
# So that the logarithm of a similarity of zero can be learned from.
_LEAST_MASS = 1e-6


def softmax() -> Family:
    """Cross-entropy of a softmax: logits are scores, the largest probability speaks.

    >>> objective = softmax().at({}, 0.0)
    >>> print(objective.confidence(jnp.array([[0.0, 0.0]])))
    [0.5]
    """
    return constant(_of_logits(Partial(losses.cross_entropy)))


def label_smoothing(num_classes: int, *, smoothing: float = 0.1) -> Family:
    """Cross-entropy with smoothed labels; see `losses.smoothed_targets`.

    Args:
      num_classes: at least 2.
      smoothing: in [0, 1].

    Raises:
      ValueError: for a value out of range.

    >>> objective = label_smoothing(2, smoothing=0.2).at({}, 0.0)
    >>> print(objective.loss(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.6931472]
    """
    return constant(_soft(losses.smoothed_targets(num_classes, smoothing)))


def infogain(class_counts: Any) -> Family:
    """Cross-entropy that weighs rare classes more; see `losses.infogain_targets`.

    Args:
      class_counts: [classes], training examples of each.

    Raises:
      ValueError: for a class without examples.

    >>> objective = infogain([1, 2]).at({}, 0.0)
    >>> print(objective.loss(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.3465736]
    """
    return constant(_soft(losses.infogain_targets(jnp.asarray(class_counts))))


def mcel(similarity: Any, *, epsilon: float = 0.2) -> Family:
    """Mixed cross-entropy: ε of a target goes to similar classes, Negi et al. (2018).

    With the uniform similarity it is label smoothing.

    Args:
      similarity: [classes, classes], from `robustlabels.similarity`.
      epsilon: in [0, 1/2]; 0 is cross-entropy.

    Raises:
      ValueError: for a value out of range.

    >>> objective = mcel([[0.0, 1.0], [1.0, 0.0]], epsilon=0.2).at({}, 0.0)
    >>> print(objective.loss(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.6931472]
    """
    similarity = jnp.asarray(similarity, jnp.float32)
    return constant(_soft(losses.mcel_targets(similarity, epsilon)))


def sg_mcel(
    similarity: Any,
    *,
    epsilon: float = 0.2,
    parametrization: str = "sigmoid",
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    p: float = 2.0,
) -> Family:
    """MCEL with a learned ε for each class: SG-MCEL, Negi et al. (2018), eq. 6 and 10.

    The data term is linear in ε and pulls it to 0, plain cross-entropy, once a class is
    learned; beyond 0 it has no lower bound. So ε is kept within [0, 1/2], and β is what
    keeps it off 0. The paper names no weights: those here are ours, and enough for ten
    classes. The pull on a class is its share of the examples: the fewer classes, the
    larger β has to be; of five or less, at β = 1, ε collapses.

    Args:
      similarity: [classes, classes], from `robustlabels.similarity`.
      epsilon: of all classes at first, in (0, 1/2).
      parametrization: "sigmoid", ε = sigmoid(θ) / 2; or "clamp", where ε itself is
        learned and penalised as printed, and the targets are made of ε within [0, 1/2].
      alpha: weight of the penalty on row sums; see `losses.sg_mcel_penalty`.
      beta: weight of what pulls ε to 1/2.
      gamma: weight of what pulls ε to 0.
      p: power of the last two, at least 1.

    Raises:
      ValueError: for a value out of range.

    >>> family = sg_mcel([[0.0, 1.0], [1.0, 0.0]], epsilon=0.25)
    >>> params = family.init(jax.random.key(0))
    >>> print(family.learned(params)["epsilon"], family.penalty(params))
    [0.25 0.25] 0.25
    """
    _validate.one_of(_PARAMETRIZATIONS, parametrization=parametrization)
    _check_start(epsilon)
    similarity = jnp.asarray(similarity, jnp.float32)
    if parametrization == "sigmoid":
        used = penalized = Partial(_half_sigmoid)
        start = float(np.log(2 * epsilon) - np.log(1 - 2 * epsilon))
    else:
        used, penalized, start = Partial(_clamped), Partial(_itself), epsilon
    weights = {"alpha": alpha, "beta": beta, "gamma": gamma, "p": p}
    penalty = Partial(losses.sg_mcel_penalty, similarity=similarity, **weights)
    return _checked(
        family(
            Partial(_sg_mcel_at, used, similarity),
            init=Partial(_filled, jnp.full(len(similarity), start, jnp.float32)),
            penalty=Partial(_penalty, penalty, penalized),
            learned=Partial(_sg_mcel_learned, used, penalized),
        )
    )


def gmcel(
    similarity: Any,
    *,
    epsilon: float = 0.2,
    margin: str = "equality",
    c: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    eta: float = 1.0,
    p: float = 2.0,
) -> Family:
    """MCEL with a learned mixing matrix E: GMCEL, Negi et al. (2018), eq. 8 and 11.

    E starts as the targets of MCEL, its rows are softmaxes. The data term is linear in
    E: without penalties each row ends with all its mass on one class. β and γ pull it
    the other way, to the uniform matrix; the printed margin keeps Eᵢᵢ near 1 - ε, the
    hinge only keeps it the largest.

    Args:
      similarity: [classes, classes], from `robustlabels.similarity`.
      epsilon: share of the other classes at first, in (0, 1/2).
      margin: "equality" or "hinge"; see `losses.gmcel_penalty`.
      c: the margin of all classes, in [0, 1]. None is, for "equality", the one that is
        met by Eᵢᵢ = 1 - ε; for "hinge" the paper's (1/2 - ε) / 2.
      alpha: weight of the penalty on row sums, which are one here.
      beta: weight of what pulls entries to 1; with `gamma`, to the uniform matrix.
      gamma: weight of what pulls entries to 0.
      eta: weight of the margin.
      p: power of `beta`'s and `gamma`'s terms, at least 1.

    Raises:
      ValueError: for a value out of range.

    >>> family = gmcel([[0.0, 1.0], [1.0, 0.0]], epsilon=0.25)
    >>> learned = family.learned(family.init(jax.random.key(0)))
    >>> print(learned["epsilon"].round(3))
    [0.25 0.25]
    """
    _validate.one_of(MARGINS, margin=margin)
    _check_start(epsilon)
    similarity = jnp.asarray(similarity, jnp.float32)
    if c is None:
        others = len(similarity) - 1
        met = 1 - epsilon - epsilon / others
        c = met if margin == "equality" else (0.5 - epsilon) / 2
    start = losses.mcel_targets(similarity, epsilon)
    weights = {"alpha": alpha, "beta": beta, "gamma": gamma, "eta": eta, "p": p}
    penalty = Partial(_GMCEL_PENALTIES[margin], c=c, **weights)
    return _checked(
        family(
            Partial(_gmcel_at),
            init=Partial(_filled, jnp.log(jnp.maximum(start, _LEAST_MASS))),
            penalty=Partial(_penalty, penalty, Partial(losses.gmcel_targets)),
            learned=Partial(_gmcel_learned),
        )
    )


def forward_corrected(noise_matrix: Any) -> Family:
    """Cross-entropy under known label noise; see `losses.forward_corrected`.

    Args:
      noise_matrix: [classes, classes], row i the distribution of the labels that class
        i is given.

    Raises:
      ValueError: for rows that are no distributions.

    >>> objective = forward_corrected([[0.75, 0.25], [0.25, 0.75]]).at({}, 0.0)
    >>> print(objective.loss(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.6931472]
    """
    matrix = jnp.asarray(_noise_matrix(noise_matrix), jnp.float32)
    loss = Partial(losses.forward_corrected, noise_matrix=matrix)
    return constant(_of_logits(loss))


def backward_corrected(noise_matrix: Any) -> Family:
    """Cross-entropy under known label noise; see `losses.backward_corrected`.

    Args:
      noise_matrix: as in `forward_corrected`, and invertible.

    Raises:
      ValueError: for rows that are no distributions, or a singular matrix.

    >>> objective = backward_corrected([[0.75, 0.25], [0.25, 0.75]]).at({}, 0.0)
    >>> print(objective.loss(jnp.array([[0.0, 0.0]]), jnp.array([1])))
    [0.6931472]
    """
    return constant(_soft(losses.backward_targets(_noise_matrix(noise_matrix))))


def _of_logits(loss: Partial) -> Objective:
    return Objective(
        loss=loss,
        scores=Partial(logit_scores),
        confidence=Partial(largest_probability),
    )


def _soft(targets: Array) -> Objective:
    return _of_logits(Partial(losses.soft_target_cross_entropy, targets=targets))


def _noise_matrix(matrix: Any) -> np.ndarray:
    return losses.check_noise_matrix(matrix, num_classes=len(matrix))


def _check_start(epsilon: float) -> None:
    fix = "Learning starts inside of (0, 1/2): 0.2 is usual."
    _validate.in_range(1e-6, 0.5 - 1e-6, epsilon=epsilon, fix=fix)


def _checked(made: Family) -> Family:
    """The family, once its penalty was computed: that refuses what is out of range."""
    made.penalty(made.init(jax.random.key(0)))
    return made


def _filled(theta, key):
    del key
    return {"theta": theta}


def _penalty(penalty, mixing, params):
    return penalty(mixing(params["theta"]))


def _itself(theta):
    return theta


def _clamped(theta):
    return jnp.clip(theta, 0.0, 0.5)


def _half_sigmoid(theta):
    return 0.5 * jax.nn.sigmoid(theta)


def _sg_mcel_at(used, similarity, params, progress):
    del progress
    return _soft(losses.sg_mcel_targets(similarity, used(params["theta"])))


def _sg_mcel_learned(used, penalized, params):
    theta = params["theta"]
    return {"epsilon": used(theta), "penalized_epsilon": penalized(theta)}


def _gmcel_at(params, progress):
    del progress
    return _soft(losses.gmcel_targets(params["theta"]))


def _gmcel_learned(params):
    return {"epsilon": 1.0 - jnp.diagonal(losses.gmcel_targets(params["theta"]))}


def _equality_penalty(mixing, **weights):
    return losses.gmcel_penalty(mixing, margin="equality", **weights)


def _hinge_penalty(mixing, **weights):
    return losses.gmcel_penalty(mixing, margin="hinge", **weights)


_GMCEL_PENALTIES = {"equality": _equality_penalty, "hinge": _hinge_penalty}


def logit_scores(
    outputs: Float[Array, " batch classes"],
) -> Float[Array, " batch classes"]:
    """Logits are scores as they are.

    >>> print(logit_scores(jnp.array([[2.0, 1.0]])))
    [[2. 1.]]
    """
    return outputs


def largest_probability(
    outputs: Float[Array, " batch classes"],
) -> Float[Array, " batch"]:
    """Largest softmax probability of logits, in [1 / classes, 1].

    >>> print(largest_probability(jnp.array([[0.0, 0.0]])))
    [0.5]
    """
    return jnp.exp(jnp.max(outputs, axis=-1) - jax.nn.logsumexp(outputs, axis=-1))
